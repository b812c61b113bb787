"""How buried a residue is, from the true backbone alone."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from bindrae.structure.pocket import virtual_cb

NEIGHBOUR_ANGSTROM = 10.0


def count_neighbours(xyz: np.ndarray) -> np.ndarray:
    """Residues whose virtual CB lies within 10 A of a residue's own: how buried it is.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, 14, 3] with N, CA, C present (A).

    Returns
    -------
    numpy.ndarray
        [N] int64, itself not counted.
    """
    points = virtual_cb(xyz.astype(np.float64))
    return np.asarray(cKDTree(points).query_ball_point(points, NEIGHBOUR_ANGSTROM, return_length=True) - 1)
