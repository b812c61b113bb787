"""Running counts over the backbone: where phi and psi lie, and which peptide bonds are not trans."""

from __future__ import annotations

from typing import Any

import numpy as np

from bindrae.chem.residues import TYPE_OF_NAME
from bindrae.structure.torsions import OMEGA, PHI, PSI

# Hexagons that tile the torus of phi and psi without a seam: 36 a row, 42 rows (two interleaved lattices of 21).
COLUMNS, ROWS = 36, 21
CLASSES = ("general", "GLY", "PRO")
# Peptide bonds within 30 degrees of 0 are cis, within 30 of 180 trans; what lies between is twisted.
PLANAR_WITHIN_DEG = 30.0


def hexagon_of(phi_deg: np.ndarray, psi_deg: np.ndarray) -> np.ndarray:
    """Index of the hexagon each pair of angles falls into.

    Parameters
    ----------
    phi_deg, psi_deg : numpy.ndarray
        [n] degrees, any turn.

    Returns
    -------
    numpy.ndarray
        [n] int64 in ``[0, 2 * COLUMNS * ROWS)``; `hexagon_centres` gives where it lies.
    """
    x, y = (phi_deg + 180.0) / 360.0 * COLUMNS, (psi_deg + 180.0) / 360.0 * ROWS
    i1, j1, i2, j2 = np.rint(x), np.rint(y), np.floor(x), np.floor(y)
    # A regular hexagonal lattice has rows sqrt(3) times as far apart as columns.
    d1 = (x - i1) ** 2 + 3.0 * (y - j1) ** 2
    d2 = (x - i2 - 0.5) ** 2 + 3.0 * (y - j2 - 0.5) ** 2
    second = d2 < d1
    i, j = np.where(second, i2, i1).astype(np.int64) % COLUMNS, np.where(second, j2, j1).astype(np.int64) % ROWS
    return (second * ROWS + j) * COLUMNS + i


def hexagon_centres() -> np.ndarray:
    """Centres (phi, psi) of all hexagons: [2 * COLUMNS * ROWS, 2] degrees in [-180, 180)."""
    lattice, j, i = np.meshgrid(np.arange(2), np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    phi, psi = (i + lattice / 2) * (360.0 / COLUMNS) - 180.0, (j + lattice / 2) * (360.0 / ROWS) - 180.0
    return np.stack([phi.ravel(), psi.ravel()], axis=-1)


class Backbone:
    """Counts of (phi, psi) for all residues, glycine and proline, and of cis and twisted peptide bonds."""

    def __init__(self) -> None:
        self._hexagons = np.zeros((len(CLASSES), 2 * ROWS * COLUMNS), dtype=np.int64)
        self._bonds = {"peptide_bonds": 0, "cis_before_proline": 0, "cis_before_others": 0, "twisted": 0}

    def add(self, aatype: np.ndarray, angles: np.ndarray, defined: np.ndarray) -> np.ndarray:
        """Count the residues of one batch, complex after complex.

        Parameters
        ----------
        aatype : numpy.ndarray
            [N] types.
        angles, defined : numpy.ndarray
            [N, 7] radians and bool.

        Returns
        -------
        numpy.ndarray
            [N] bool, residues before a twisted peptide bond.
        """
        both = defined[:, PHI] & defined[:, PSI]
        degrees = np.degrees(angles[both].astype(np.float64))
        cell = hexagon_of(degrees[:, PHI], degrees[:, PSI])
        kind = np.select([aatype[both] == TYPE_OF_NAME[name] for name in CLASSES[1:]], [1, 2], 0)
        counts = np.bincount(kind * self._hexagons.shape[1] + cell, minlength=self._hexagons.size)
        self._hexagons += counts.reshape(self._hexagons.shape)

        bond = defined[:, OMEGA]
        omega = np.abs(np.degrees(angles[:, OMEGA].astype(np.float64)))
        cis, twisted = bond & (omega < PLANAR_WITHIN_DEG), bond & (omega >= PLANAR_WITHIN_DEG)
        twisted &= omega <= 180.0 - PLANAR_WITHIN_DEG
        before_proline = np.roll(aatype, -1) == TYPE_OF_NAME["PRO"]  # a bond always has a next row
        self._bonds["peptide_bonds"] += int(bond.sum())
        self._bonds["cis_before_proline"] += int((cis & before_proline).sum())
        self._bonds["cis_before_others"] += int((cis & ~before_proline).sum())
        self._bonds["twisted"] += int(twisted.sum())
        return twisted

    def summary(self) -> dict[str, Any]:
        """Bonds, and for each class the filled hexagons as ``[phi, psi, count]``."""
        centres = hexagon_centres().round(3)
        return {
            **self._bonds,
            "ramachandran": {
                name: [[*centres[i].tolist(), int(counts[i])] for i in np.flatnonzero(counts)]
                for name, counts in zip(CLASSES, self._hexagons, strict=True)
            },
        }
