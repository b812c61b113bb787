"""Bond separations: how many bonds lie between two atoms, which decides whether they can clash."""

from __future__ import annotations

from functools import cache

import numpy as np

from bindrae.chem import residues as aa

FAR = 99
"""Separation of atoms that no short path of bonds joins."""
CLASH_SEPARATION = 4
"""Atoms need this many bonds between them (1-5 pairs and beyond) to clash."""
CLASH_TOLERANCE = 0.6
"""Overlap of Bondi radii (A) that is no clash."""


@cache
def residue_separation() -> np.ndarray:
    """Bonds between the atoms of one residue.

    Returns
    -------
    numpy.ndarray
        [21, 14, 14] int64; 0 on the diagonal and between atoms of one ring (a rigid ring cannot clash with itself),
        `FAR` where a slot is empty.
    """
    separation = np.full((aa.N_TYPES, aa.N_SLOTS, aa.N_SLOTS), FAR, dtype=np.int64)
    for kind in range(aa.N_TYPES):
        matrix = separation[kind]
        present = np.flatnonzero(aa.ATOM14_MASK[kind])
        matrix[present, present] = 0
        for a, b in aa.BONDS[kind]:
            matrix[a, b] = matrix[b, a] = 1
        for middle in present:  # Floyd-Warshall
            np.minimum(matrix, matrix[:, middle, None] + matrix[None, middle], out=matrix)
        for ring in aa.ring_slots(kind):
            matrix[np.ix_(ring, ring)] = 0
        matrix[matrix > FAR] = FAR
    return separation


def separation_through_bond(kind_a: np.ndarray, slot_a: int, kind_b: np.ndarray, slot_b: int) -> np.ndarray:
    """Bonds between the atoms of two residues that one bond joins.

    Parameters
    ----------
    kind_a, kind_b : numpy.ndarray
        [...] types of the residues.
    slot_a, slot_b : int
        Slots of the bonded atoms, for instance C and the next residue's N, or SG and SG.

    Returns
    -------
    numpy.ndarray
        [..., 14, 14] int64.
    """
    table = residue_separation()
    to_bond = table[kind_a][..., :, slot_a]
    from_bond = table[kind_b][..., slot_b, :]
    return np.minimum(to_bond[..., :, None] + 1 + from_bond[..., None, :], FAR)
