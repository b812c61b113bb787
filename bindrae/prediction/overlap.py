"""Which atoms may clash, and how much a pair that stands too close costs; neighbour lists, never N x N."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION, CLASH_TOLERANCE, residue_separation, separation_through_bond

MARGIN = 0.1
"""Atoms are kept this much (A) farther apart than a clash begins, so that rounding makes none."""
REACH = 3.3
"""No two atoms of a protein touch beyond this distance (A); with a ligand's larger atoms, `LIGAND_REACH`."""
LIGAND_REACH = 3.7
CYS = aa.TYPE_OF_NAME["CYS"]
SG = aa.ATOM14_NAMES[CYS].index("SG")
DISULFIDE_ANGSTROM = 2.05


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of slots far enough apart: in one residue, over a peptide bond, and over a disulfide."""
    kinds = np.arange(aa.N_TYPES)
    across = separation_through_bond(kinds[:, None], aa.SLOT_C, kinds[None], aa.SLOT_N)
    bridge = separation_through_bond(np.array(CYS), SG, np.array(CYS), SG)
    return (
        residue_separation() >= CLASH_SEPARATION,
        across >= CLASH_SEPARATION,
        bridge >= CLASH_SEPARATION,
    )


@cache
def pairs_inside(kind: int) -> list[tuple[int, int]]:
    """Slots of a residue type, the smaller first, whose atoms have enough bonds between them to clash."""
    there = np.outer(aa.ATOM14_MASK[kind], aa.ATOM14_MASK[kind])
    a, b = np.nonzero(np.triu(_tables()[0][kind] & there))
    return list(zip(a.tolist(), b.tolist(), strict=True))


def may_clash(
    row_i: np.ndarray, slot_i: np.ndarray, row_j: np.ndarray, slot_j: np.ndarray, aatype: np.ndarray, linked: np.ndarray
) -> np.ndarray:
    """Whether enough bonds lie between the atoms of each pair.

    Of two cysteines the pairs of a disulfide never clash: which ones are bonded is not known beforehand.

    Parameters
    ----------
    row_i, slot_i, row_j, slot_j : numpy.ndarray
        [P] residues and slots.
    aatype, linked : numpy.ndarray
        [N] types and peptide bonds to the next row.

    Returns
    -------
    numpy.ndarray
        [P] bool.
    """
    inside, across, bridge = _tables()
    free = np.ones(len(row_i), dtype=bool)
    same = row_i == row_j
    free[same] = inside[aatype[row_i[same]], slot_i[same], slot_j[same]]
    for a, sa, b, sb in ((row_i, slot_i, row_j, slot_j), (row_j, slot_j, row_i, slot_i)):
        next_to = (b == a + 1) & linked[np.minimum(a, len(linked) - 1)]
        free[next_to] = across[aatype[a[next_to]], aatype[b[next_to]], sa[next_to], sb[next_to]]
    cys = (aatype[row_i] == CYS) & (aatype[row_j] == CYS) & ~same
    free[cys] &= bridge[slot_i[cys], slot_j[cys]]
    return free


def close_pairs(a: np.ndarray, b: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of points of two sets no farther apart than `reach` (A): indices into `a` and `b`, and distances."""
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    found = cKDTree(a).sparse_distance_matrix(cKDTree(b), reach, output_type="ndarray")
    return found["i"], found["j"], found["v"]


def overlap(distance: np.ndarray, radius_i: np.ndarray, radius_j: np.ndarray) -> np.ndarray:
    """How much nearer than allowed a pair stands (A), 0 for one that is not; see `MARGIN`."""
    return np.maximum(radius_i + radius_j - CLASH_TOLERANCE + MARGIN - distance, 0.0)
