"""How the atoms of a side chain move when one of its chis turns."""

from __future__ import annotations

from functools import cache

import numpy as np

from bindrae.chem import residues as aa
from bindrae.prediction.kinds import N_MOVING, atom_kinds


def lever_arms(xyz: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """Velocity of each atom when a chi turns by one radian a unit of time.

    Atoms behind the bond turn about it as a rigid body: the cross product of the bond's direction and the way from
    one of its ends to the atom.

    Parameters
    ----------
    xyz : numpy.ndarray
        [R, 14, 3] atoms of residues (A).
    aatype : numpy.ndarray
        [R] types.

    Returns
    -------
    numpy.ndarray
        [R, 14, 4, 3] A / radian; 0 for atoms that a chi does not move.
    """
    ends = aa.CHI_ATOMS[aatype][:, :, 1:3]  # [R, 4, 2]
    near, far = np.moveaxis(xyz[np.arange(len(xyz))[:, None, None], ends], 2, 0)
    axis = far - near
    axis /= np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)
    arm = xyz[:, :, None] - far[:, None]
    return np.asarray(np.cross(axis[:, None], arm) * moved_slots()[aatype][..., None])


@cache
def moved_slots() -> np.ndarray:
    """[21, 14, 4] bool, whether a chi of a type moves the atom of a slot."""
    moved = np.zeros((aa.N_TYPES, aa.N_SLOTS, aa.N_CHI), dtype=bool)
    for kind, chi in np.argwhere(aa.CHI_MASK):
        near, far = aa.CHI_ATOMS[kind, chi, 1:3].tolist()
        behind, todo = {near, far}, [far]
        while todo:
            here = todo.pop()
            # A ring that closes on the backbone, proline's, ends there.
            bonded = {b if a == here else a for a, b in aa.BONDS[kind] if here in (a, b)} - behind
            bonded = {slot for slot in bonded if slot > aa.SLOT_CB}
            behind |= bonded
            todo += bonded
        moved[kind, sorted(behind - {near, far}), chi] = True
    return moved


@cache
def moved_atoms() -> np.ndarray:
    """[M, 4] the same for the moving atoms in the numbering of `kinds.atom_kinds`."""
    moving = atom_kinds()[1]
    moved = np.zeros((N_MOVING, aa.N_CHI), dtype=bool)
    there = moving >= 0
    moved[moving[there]] = moved_slots()[there]
    return moved
