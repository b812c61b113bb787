"""What side chains must keep clear of and does not move: the ligand and the other molecules, with stated bonds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bindrae.chem.topology import CLASH_SEPARATION, residue_separation
from bindrae.prediction.overlap import close_pairs

_BONDED = 0.6
"""Atoms of a molecule closer than this share of their radii's sum are bonded, as `find_clashes` has it."""
_FARTHEST = 2.0  # a bonded atom farther than this from its place costs no more (A)


@dataclass(frozen=True)
class Bond:
    """A covalent bond between a residue and an obstacle that the input states."""

    row: int
    slot: int
    atom: int  # index of the obstacle
    length: float  # angstrom

    def miss(self, distance: np.ndarray) -> np.ndarray:
        """How far (A) atoms at these distances from the obstacle are from the bond's length, at most 2 A."""
        return np.minimum(np.abs(distance - self.length), _FARTHEST)


@dataclass
class Obstacles:
    """Atoms that do not move (radius 0 for metals, which nothing clashes with)."""

    xyz: np.ndarray  # [L, 3] angstrom
    radius: np.ndarray  # [L] angstrom
    bonds: tuple[Bond, ...] = ()

    def organic(self) -> Obstacles:
        """Without the metals, and without bonds to them."""
        there = self.radius > 0
        place = np.cumsum(there) - 1
        bonds = tuple(Bond(b.row, b.slot, int(place[b.atom]), b.length) for b in self.bonds if there[b.atom])
        return Obstacles(self.xyz[there], self.radius[there], bonds)

    def may_clash(self, row: np.ndarray, slot: np.ndarray, atom: np.ndarray, aatype: np.ndarray) -> np.ndarray:
        """Whether enough bonds lie between the atoms of each pair: all but the pairs around a stated bond.

        Parameters
        ----------
        row, slot, atom : numpy.ndarray
            [P] residue, slot and obstacle.
        aatype : numpy.ndarray
            [N] types.

        Returns
        -------
        numpy.ndarray
            [P] bool.
        """
        free = np.ones(len(row), dtype=bool)
        for bond in self.bonds:
            here = np.flatnonzero(row == bond.row)
            to_bond = residue_separation()[aatype[bond.row], slot[here], bond.slot]
            free[here] &= to_bond + 1 + self._steps_from(bond.atom)[atom[here]] >= CLASH_SEPARATION
        return free

    def bonded_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Atoms bonded to each other by their distance, each pair both ways: indices [P] and lengths [P] (A)."""
        organic = np.flatnonzero(self.radius > 0)
        i, j, length = close_pairs(self.xyz[organic], self.xyz[organic], 2 * _BONDED * self.radius.max(initial=0.0))
        i, j = organic[i], organic[j]
        bonded = (i != j) & (length < _BONDED * (self.radius[i] + self.radius[j]))
        return i[bonded], j[bonded], length[bonded]

    def _steps_from(self, atom: int) -> np.ndarray:
        """[L] bonds from an obstacle to the others of its molecule, where they are few enough to matter."""
        steps = np.full(len(self.xyz), CLASH_SEPARATION)
        steps[atom] = 0
        i, j, _ = self.bonded_pairs()
        for step in range(1, CLASH_SEPARATION - 1):
            reached = j[steps[i] == step - 1]
            steps[reached] = np.minimum(steps[reached], step)
        return steps
