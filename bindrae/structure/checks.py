"""Geometry checks of single residues: bond lengths and angles, the hand of CA, residues on top of one another."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import N_GROUPS, ideal_geometry
from bindrae.structure.vectors import components, cross, dot

BOND_TOLERANCE = 0.3
"""A bond this much (A) off its ideal length is distorted: 29 of 834,363 in CASF-2016 are."""
ANGLE_TOLERANCE = 0.4
"""The same for two atoms with one between them: 34 of 932,672 in CASF-2016."""
OVERLAP = 1.5
"""Two CA closer than this (A) cannot both be there; a cis peptide has 2.9."""
_FRAME = (aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C)
# The ring of proline is closed by chi, so its geometry at torsion 0 says nothing; medians over CASF-2016.
_PROLINE = {("N", "CD"): 1.475, ("CA", "CD"): 2.436, ("N", "CG"): 2.334}


@cache
def _ideal_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bonded slots and slots with one between them: [21, P, 2], ideal distance [21, P], tolerance (0: no pair)."""
    geometry = ideal_geometry()
    pairs: list[list[tuple[int, int, float, float]]] = []
    for kind in range(aa.N_TYPES):
        rotation, translation = [np.eye(3)] * N_GROUPS, [np.zeros(3)] * N_GROUPS
        for group in range(1, N_GROUPS):
            parent = 0 if group <= 2 else group - 1
            rotation[group] = rotation[parent] @ geometry.rotation[kind, group]
            translation[group] = translation[parent] + rotation[parent] @ geometry.translation[kind, group]
        turn, shift = np.array(rotation)[geometry.group[kind]], np.array(translation)[geometry.group[kind]]
        xyz = np.einsum("sij,sj->si", turn, geometry.local[kind]) + shift
        bonded = np.zeros((aa.N_SLOTS, aa.N_SLOTS), dtype=np.int64)
        for a, b in aa.BONDS[kind]:
            bonded[a, b] = bonded[b, a] = 1
        ring = _PROLINE if kind == aa.TYPE_OF_NAME["PRO"] else {}
        names = aa.ATOM14_NAMES[kind]
        found = []
        for a, b in zip(*np.nonzero(np.triu(bonded + bonded @ bonded, 1)), strict=True):
            distance = ring.get((names[a], names[b]), float(np.linalg.norm(xyz[a] - xyz[b])))
            found.append((int(a), int(b), distance, BOND_TOLERANCE if bonded[a, b] else ANGLE_TOLERANCE))
        pairs.append([pair for pair in found if not (ring and {names[pair[0]], names[pair[1]]} == {"C", "CD"})])
    width = max(map(len, pairs))
    table = np.array([row + [(0, 0, 0.0, 0.0)] * (width - len(row)) for row in pairs])
    return table[..., :2].astype(np.int64), table[..., 2].astype(np.float32), table[..., 3].astype(np.float32)


def distorted_atoms(xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """Atoms that make bond lengths or angles impossible.

    An atom in the wrong place spoils every pair it belongs to. Of a residue's impossible pairs, the atom with the most
    is blamed, then the next, until none is left; of two equally bad ones the one farther along the side chain.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] and [N, 14] heavy atoms (A).
    aatype : numpy.ndarray
        [N] types 0-20.

    Returns
    -------
    numpy.ndarray
        [N, 14] bool.
    """
    slots, ideal, tolerance = _ideal_pairs()
    row, pair = np.nonzero((tolerance > 0)[aatype])
    kind = aatype[row]
    first, second = (slots[kind, pair, end] + row * aa.N_SLOTS for end in range(2))
    x, y, z = (np.square(flat[first] - flat[second]) for flat in components(xyz.reshape(-1, 3)))
    there = mask.ravel()
    off = np.abs(np.sqrt(x + y + z) - ideal[kind, pair]) > tolerance[kind, pair]
    bad = np.flatnonzero(off & there[first] & there[second])
    blamed = np.zeros_like(mask)
    for i in np.unique(row[bad]):
        of_residue = bad[row[bad] == i]
        pairs = slots[kind[of_residue], pair[of_residue]]
        while len(pairs):
            counts = np.bincount(pairs.ravel(), minlength=aa.N_SLOTS)
            worst = aa.N_SLOTS - 1 - int(np.argmax(counts[::-1]))
            blamed[i, worst] = True
            pairs = pairs[(pairs != worst).all(axis=1)]
    return blamed


def lacks_frame(blamed: np.ndarray) -> np.ndarray:
    """Residues one of whose N, CA or C is marked; [N] bool from [N, 14]."""
    return np.asarray(blamed[:, _FRAME].any(axis=1))


def is_mirrored(xyz: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Residues whose CB stands on the side of a D-amino acid.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] and [N, 14] heavy atoms (A).

    Returns
    -------
    numpy.ndarray
        [N] bool; False without a CB.
    """
    to_n, to_c, to_cb = (components(xyz[:, slot] - xyz[:, aa.SLOT_CA]) for slot in (aa.SLOT_N, aa.SLOT_C, aa.SLOT_CB))
    volume = dot(cross(to_n, to_c), to_cb)  # 2.5 A^3 for L, -2.5 for D
    return np.asarray(mask[:, aa.SLOT_CB] & (volume < 0))


def overlapping(ca: np.ndarray) -> np.ndarray:
    """Rows that stand on an earlier row.

    Parameters
    ----------
    ca : numpy.ndarray
        [N, 3] CA positions (A).

    Returns
    -------
    numpy.ndarray
        [N] bool.
    """
    # Exact copies first: a tree over thousands of equal points would take quadratic time.
    order = np.lexsort(ca.T)  # stable: of equal points, the first row comes first
    repeated = np.zeros(len(ca), dtype=bool)
    repeated[order[1:]] = (ca[order[1:]] == ca[order[:-1]]).all(axis=1)
    left = np.flatnonzero(~repeated)
    for i, j in sorted(cKDTree(ca[left]).query_pairs(OVERLAP)):
        if not repeated[left[i]]:
            repeated[left[j]] = True
    return repeated
