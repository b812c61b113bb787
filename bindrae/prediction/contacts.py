"""What the contacts of a side chain are worth: energies by kinds of atoms and distance.

A network that has seen few structures knows too little of which atoms like each other's company, and is too sure of
what it says. Both are mended by some thousand numbers that are fitted on known structures (`contact_fit`): the worth of
every contact, as in potentials of mean force (Sippl, J. Mol. Biol. 213, 859, 1990), here fitted as the conditional
likelihood of the true side chain among the candidates, and how far the network's own probabilities can be trusted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import safe_open
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.prediction.obstacles import Obstacles

METADATA_KEY = "contacts"
"""Key of the model file's metadata that holds the potential."""

EDGES = (2.8, 3.0, 3.2, 3.4, 3.6, 3.8, 4.0, 4.25, 4.5, 5.0)
"""Upper edges of the distance bins (A); what is farther apart is no contact."""

SIDE_KINDS = (
    "aliphatic C", "aromatic C", "carboxyl C", "guanidinium C", "amide N", "lysine N", "guanidinium N", "ring N",
    "hydroxyl O", "amide O", "carboxylate O", "S",
)  # fmt: skip
"""Kinds of atoms that side chains move, those beyond CB."""
KINDS = (
    *SIDE_KINDS, "backbone N", "CA", "backbone C", "backbone O", "CB", "ligand C", "ligand N", "ligand O",
    "ligand other",
)  # fmt: skip
"""Kinds of atoms around them; the last four are of ligands and other molecules."""

_AROMATIC = ("HIS", "PHE", "TRP", "TYR")
_CARBOXYL = {("ASN", "CG"), ("ASP", "CG"), ("GLN", "CD"), ("GLU", "CD")}
_NITROGEN = {
    "ASN": "amide N", "GLN": "amide N", "LYS": "lysine N", "ARG": "guanidinium N", "HIS": "ring N", "TRP": "ring N",
}  # fmt: skip
_OXYGEN = {
    "SER": "hydroxyl O", "THR": "hydroxyl O", "TYR": "hydroxyl O", "ASN": "amide O", "GLN": "amide O",
    "ASP": "carboxylate O", "GLU": "carboxylate O",
}  # fmt: skip
_BACKBONE = {"N": "backbone N", "CA": "CA", "C": "backbone C", "O": "backbone O", "CB": "CB"}
_FIRST_MOVING = aa.SLOT_CB + 1
_ATOMS_AT_ONCE = 50_000  # moving atoms whose neighbours are listed together


def _kind(residue: str, atom: str) -> str:
    if atom in _BACKBONE:
        return _BACKBONE[atom]
    if atom[0] == "C":
        if residue in _AROMATIC:
            return "aromatic C"
        if (residue, atom) in _CARBOXYL:
            return "carboxyl C"
        return "guanidinium C" if (residue, atom) == ("ARG", "CZ") else "aliphatic C"
    return "S" if atom[0] == "S" else (_NITROGEN if atom[0] == "N" else _OXYGEN)[residue]


@cache
def atom_kinds() -> tuple[np.ndarray, np.ndarray]:
    """Kinds of the protein's atoms.

    Returns
    -------
    kind : numpy.ndarray
        [21, 14] index into `KINDS` of each slot, -1 where a type has no atom.
    moving : numpy.ndarray
        [21, 14] number of each atom beyond CB, from 0 over all types; -1 for others.
    """
    kind = np.full((aa.N_TYPES, aa.N_SLOTS), -1, dtype=np.int64)
    moving = kind.copy()
    count = 0
    for t, names in enumerate(aa.ATOM14_NAMES):
        residue = aa.RESIDUE_NAMES[t] if t != aa.UNKNOWN else ""
        for slot, atom in enumerate(names):
            if atom:
                kind[t, slot] = KINDS.index(_kind(residue, atom))
                if slot >= _FIRST_MOVING:
                    moving[t, slot] = count
                    count += 1
    return kind, moving


def moving_kinds() -> np.ndarray:
    """[M] kind of each moving atom, in the numbering of `atom_kinds`."""
    kind, moving = atom_kinds()
    return kind[moving >= 0]


N_MOVING = int((atom_kinds()[1] >= 0).sum())
SHAPE = (N_MOVING, len(KINDS), len(EDGES))
"""Of the table of energies."""


def obstacle_kinds(radius: np.ndarray) -> np.ndarray:
    """[L] kinds of atoms of ligands and other molecules, told by their van der Waals radius (A)."""
    kinds = np.full(len(radius), KINDS.index("ligand other"))
    for element in "CNO":
        kinds[np.abs(radius - aa.BONDI_RADII[element]) < 5e-3] = KINDS.index(f"ligand {element}")
    return kinds


@dataclass
class Surroundings:
    """Atoms that stand: the chosen side chains with the backbone, and what is no protein."""

    xyz: np.ndarray  # [A, 3] angstrom
    kind: np.ndarray  # [A] index into `KINDS`
    row: np.ndarray  # [A] residue, -1 for what is no protein

    @classmethod
    def of(cls, xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, obstacles: Obstacles) -> Surroundings:
        """From one arrangement: [N, 14, 3] atoms (A), [N, 14] mask, [N] types; metals take no part."""
        organic = obstacles.organic()
        row, slot = np.nonzero(mask)
        return cls(
            np.concatenate([xyz[row, slot], organic.xyz]),
            np.concatenate([atom_kinds()[0][aatype[row], slot], obstacle_kinds(organic.radius)]),
            np.concatenate([row, np.full(len(organic.xyz), -1)]),
        )


def contacts(
    xyz: np.ndarray, mask: np.ndarray, row: np.ndarray, aatype: np.ndarray, around: Surroundings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Contacts of candidates that can turn with atoms of other residues and of other molecules.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [V, 14, 3] (A) and [V, 14] atoms of each candidate.
    row : numpy.ndarray
        [V] residue of each, non-decreasing; the only candidate of a residue has no contacts to be told.
    aatype : numpy.ndarray
        [N].
    around : Surroundings

    Yields
    ------
    candidate, place : numpy.ndarray
        [P] candidate of each contact, and its place in the flat table of `SHAPE`.
    """
    single = (np.bincount(row, minlength=len(aatype)) == 1)[row]
    candidate, slot = np.nonzero(mask & ~single[:, None] & (np.arange(aa.N_SLOTS) >= _FIRST_MOVING))
    tree = cKDTree(around.xyz) if len(around.xyz) else None
    edges = np.array(EDGES)
    for start in range(0, len(candidate) if tree is not None else 0, _ATOMS_AT_ONCE):
        v, s = candidate[start : start + _ATOMS_AT_ONCE], slot[start : start + _ATOMS_AT_ONCE]
        near = cKDTree(xyz[v, s]).sparse_distance_matrix(tree, EDGES[-1], output_type="ndarray")
        i, j = near["i"], near["j"]
        place = np.searchsorted(edges, near["v"])  # the upper edge belongs to its bin
        other = around.row[j] != row[v[i]]
        i, j, place = i[other], j[other], place[other]
        atom = atom_kinds()[1][aatype[row[v[i]]], s[i]]
        yield v[i], (atom * SHAPE[1] + around.kind[j]) * SHAPE[2] + place


@dataclass
class ContactPotential:
    """Energies of contacts, and how far the network is trusted beside them.

    Attributes
    ----------
    table : numpy.ndarray
        [M, K, B] energy of a contact (nats) by moving atom, kind of atom and distance bin, see `SHAPE`.
    trust : numpy.ndarray
        [21] factor of minus the logarithm of the network's probability, by residue type.
    """

    table: np.ndarray
    trust: np.ndarray

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


def read_potential(path: Path) -> ContactPotential | None:
    """The potential in a model file's metadata; None where there is none.

    Raises
    ------
    BindraeError
        When it is damaged or of other kinds of atoms than this version's.
    """
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        return None
    try:
        found = json.loads(text)
        if (found["moving"], tuple(found["kinds"]), tuple(found["edges"])) != (N_MOVING, KINDS, EDGES):
            raise ValueError("other kinds of atoms or distances")
        table = np.frombuffer(base64.b64decode(found["table"]), "<f2").astype(np.float64).reshape(SHAPE)
        trust = np.array(found["trust"], dtype=float)
        if trust.shape != (aa.N_TYPES,) or not (np.isfinite(table).all() and np.isfinite(trust).all()):
            raise ValueError("values that cannot be")
    except (ValueError, KeyError, TypeError) as error:
        raise BindraeError(
            f"{path}: the contact potential in its metadata is damaged ({error!r})",
            "fit it anew: python -m bindrae.prediction.contact_fit",
        ) from None
    return ContactPotential(table, trust)
