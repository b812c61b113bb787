"""Kinds of a protein's atoms, for what stands around a side chain and what is learnt of it."""

from __future__ import annotations

from functools import cache

import numpy as np

from bindrae.chem import residues as aa

SIDE_KINDS = (
    "aliphatic C", "aromatic C", "carboxyl C", "guanidinium C", "amide N", "lysine N", "guanidinium N", "ring N",
    "hydroxyl O", "amide O", "carboxylate O", "S",
)  # fmt: skip
"""Kinds of atoms that side chains move, those beyond CB."""
KINDS = (*SIDE_KINDS, "backbone N", "CA", "backbone C", "backbone O", "CB")
"""Kinds of atoms of a protein."""

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
                if slot > aa.SLOT_CB:
                    moving[t, slot] = count
                    count += 1
    return kind, moving


def moving_kinds() -> np.ndarray:
    """[M] kind of each moving atom, in the numbering of `atom_kinds`."""
    kind, moving = atom_kinds()
    return kind[moving >= 0]


N_MOVING = int((atom_kinds()[1] >= 0).sum())
