"""The networks that refinement asks beside the model, as they travel in a model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.turns import TurnNetwork


@dataclass(frozen=True)
class RefinementNetworks:
    """What surroundings are worth, and how far chosen side chains should turn."""

    surroundings: SurroundingsNetwork
    turns: TurnNetwork | None = None


def read_networks(path: Path) -> RefinementNetworks | None:
    """The networks in a model file's metadata; None where there are none.

    Raises
    ------
    BindraeError
        When one is damaged or of other sizes than this version's.
    """
    surroundings = SurroundingsNetwork.from_model_file(path)
    return None if surroundings is None else RefinementNetworks(surroundings, TurnNetwork.from_model_file(path))
