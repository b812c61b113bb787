"""Contacts of side chains: kinds of atoms, what stands around, and which atoms of candidates come near it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from bindrae.chem import residues as aa
from bindrae.prediction.obstacles import Obstacles
from bindrae.prediction.overlap import close_pairs

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
        """From one arrangement: [N, 14, 3] atoms (A), [N, 14] mask, [N] types. Metals take no part."""
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
    several = (np.bincount(row, minlength=len(aatype)) > 1)[row]
    candidate, slot = np.nonzero(mask & several[:, None] & (np.arange(aa.N_SLOTS) >= _FIRST_MOVING))
    edges = np.array(EDGES)
    for start in range(0, len(candidate), _ATOMS_AT_ONCE):
        v, own = candidate[start : start + _ATOMS_AT_ONCE], slot[start : start + _ATOMS_AT_ONCE]
        i, j, distance = close_pairs(xyz[v, own], around.xyz, EDGES[-1])
        other = around.row[j] != row[v[i]]
        i, j, distance = i[other], j[other], distance[other]
        place = np.searchsorted(edges, distance)  # the upper edge belongs to its bin
        atom = atom_kinds()[1][aatype[row[v[i]]], own[i]]
        yield v[i], (atom * SHAPE[1] + around.kind[j]) * SHAPE[2] + place
