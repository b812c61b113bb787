"""What the contacts of a side chain are worth: energies by kinds of atoms and distance.

A network that has seen few structures knows too little of which atoms like each other's company, and is too sure of
what it says. Both are mended by some thousand numbers that are fitted on known structures (`contact_fit`): the worth of
every contact, as in potentials of mean force (Sippl, J. Mol. Biol. 213, 859, 1990), here fitted as the conditional
likelihood of the true side chain among the candidates, and how far the network's own probabilities can be trusted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import safe_open

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.prediction.contacts import EDGES, KINDS, N_MOVING, SHAPE, Surroundings, contacts
from bindrae.prediction.surroundings import SurroundingsNetwork

CONTACTS_KEY, SURROUNDINGS_KEY = "contacts", "surroundings"
"""Keys of the model file's metadata that hold the potential, and the network beside it."""

_Read = TypeVar("_Read")


@dataclass
class ContactPotential:
    """Energies of contacts, and how far the network is trusted beside them.

    Attributes
    ----------
    table : numpy.ndarray
        [M, K, B] energy of a contact (nats) by moving atom, kind of atom and distance bin, see `SHAPE`.
    trust : numpy.ndarray
        [21] factor of minus the logarithm of the network's probability, by residue type.
    surroundings : SurroundingsNetwork or None
        What is added once the others stand where the potential puts them.
    """

    table: np.ndarray
    trust: np.ndarray
    surroundings: SurroundingsNetwork | None = None

    def energies(
        self, xyz: np.ndarray, mask: np.ndarray, row: np.ndarray, aatype: np.ndarray, around: Surroundings
    ) -> np.ndarray:
        """[V] energy (nats) of the contacts of each candidate; see `contacts` for the arguments."""
        total = np.zeros(len(row))
        flat = self.table.ravel()
        for candidate, place in contacts(xyz, mask, row, aatype, around):
            total += np.bincount(candidate, flat[place], len(row))
        return total

    def to_json(self) -> str:
        """For the metadata of a model file; the table in 16 bits."""
        table = base64.b64encode(self.table.astype("<f2").tobytes()).decode()
        about = {"moving": N_MOVING, "kinds": KINDS, "edges": EDGES}
        trust = [round(float(x), 5) for x in self.trust]
        return json.dumps(about | {"table": table, "trust": trust})

    @classmethod
    def from_json(cls, text: str) -> ContactPotential:
        """The potential of `to_json`.

        Raises
        ------
        ValueError, KeyError, TypeError
            When the text is damaged, or of other kinds of atoms.
        """
        found = json.loads(text)
        if (found["moving"], tuple(found["kinds"]), tuple(found["edges"])) != (N_MOVING, KINDS, EDGES):
            raise ValueError("other kinds of atoms or distances")
        table = np.frombuffer(base64.b64decode(found["table"]), "<f2").astype(np.float64).reshape(SHAPE)
        trust = np.array(found["trust"], dtype=float)
        if trust.shape != (aa.N_TYPES,) or not (np.isfinite(table).all() and np.isfinite(trust).all()):
            raise ValueError("values that cannot be")
        return cls(table, trust)


def read_potential(path: Path) -> ContactPotential | None:
    """The potential in a model file's metadata, with the network beside it; None where there is none.

    Raises
    ------
    BindraeError
        When either is damaged or of other kinds of atoms than this version's.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if CONTACTS_KEY not in metadata:
        return None
    potential = _parse(path, metadata[CONTACTS_KEY], ContactPotential.from_json, "contact potential", "contact_fit")
    if SURROUNDINGS_KEY in metadata:
        text = metadata[SURROUNDINGS_KEY]
        potential.surroundings = _parse(
            path, text, SurroundingsNetwork.from_json, "network of surroundings", "surroundings_fit"
        )
    return potential


def _parse(path: Path, text: str, read: Callable[[str], _Read], what: str, module: str) -> _Read:
    try:
        return read(text)
    except (ValueError, KeyError, TypeError) as error:
        raise BindraeError(
            f"{path}: the {what} in its metadata is damaged ({error!r})",
            f"fit it anew: python -m bindrae.prediction.{module}",
        ) from None
