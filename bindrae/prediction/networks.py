"""The networks that refinement asks beside the model, as they travel in a model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.turns import TurnNetwork


@dataclass(frozen=True)
class RefinementNetworks:
    """What surroundings are worth, and how far chosen side chains should turn."""

    surroundings: SurroundingsNetwork | None = None
    turns: TurnNetwork | None = None

    def as_stored(self) -> RefinementNetworks:
        """The networks as they are read again: their weights rounded to 16 bits."""
        return RefinementNetworks(
            None if self.surroundings is None else SurroundingsNetwork.from_json(self.surroundings.to_json()),
            None if self.turns is None else TurnNetwork.from_json(self.turns.to_json()),
        )

    def to_metadata(self) -> dict[str, str]:
        """Entries of a model file's metadata, which `read_networks` reads."""
        found = (self.surroundings, self.turns)
        return {network.KEY: network.to_json() for network in found if network is not None}


def read_networks(path: Path) -> RefinementNetworks | None:
    """The networks in a model file's metadata; None where there are none.

    Raises
    ------
    BindraeError
        When one is damaged or of other sizes than this version's.
    """
    surroundings = SurroundingsNetwork.from_model_file(path)
    if surroundings is None:
        return None
    return RefinementNetworks(surroundings, TurnNetwork.from_model_file(path))
