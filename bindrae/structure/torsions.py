"""The seven torsions of every residue: phi, psi, omega, chi1-4."""

from __future__ import annotations

import numpy as np

from bindrae.chem import residues as aa
from bindrae.structure.vectors import components, cross, dot

TORSION_NAMES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4")
PHI, PSI, OMEGA, CHI1 = range(4)
_FRAME = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]
# Three atoms closer to a line than this have no torsion worth the name (sine of the angle between them).
_MIN_SINE = 1e-3


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed dihedral angle about b-c (IUPAC sign).

    Parameters
    ----------
    a, b, c, d : numpy.ndarray
        [..., 3] positions.

    Returns
    -------
    angle : numpy.ndarray
        [...] float32 in (-pi, pi]; 0 where undefined.
    defined : numpy.ndarray
        [...] bool; False for coinciding or collinear atoms.
    """
    b0, b1, b2 = (components((p - q).astype(np.float64)) for p, q in ((a, b), (c, b), (d, c)))
    n1, n2 = cross(b0, b1), cross(b2, b1)
    length0, length, length2, s1, s2 = (np.sqrt(dot(v, v)) for v in (b0, b1, b2, n1, n2))
    defined = (s1 > _MIN_SINE * length0 * length) & (s2 > _MIN_SINE * length2 * length)
    safe = np.where(length > 0, length, 1.0)
    axis = b1[0] / safe, b1[1] / safe, b1[2] / safe
    x, y = dot(n1, n2), dot(cross(n1, n2), axis)
    angle = np.where(defined, np.arctan2(y, x), 0.0).astype(np.float32)
    # float32 rounds angles just above -pi to it: of -pi and pi keep one.
    return np.where(angle <= np.float32(-np.pi), np.float32(np.pi), angle), defined


def residue_torsions(
    xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, linked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """phi, psi, omega, chi1-4 of every residue.

    omega of residue i is the torsion CA(i)-C(i)-N(i+1)-CA(i+1) of the peptide bond that follows it (IUPAC-IUB 1970).

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] and [N, 14] heavy atoms (A).
    aatype : numpy.ndarray
        [N] types 0-20.
    linked : numpy.ndarray
        [N] peptide bond to the next residue.

    Returns
    -------
    angles : numpy.ndarray
        [N, 7] float32 radians in (-pi, pi]; 0 where undefined, never NaN.
    defined : numpy.ndarray
        [N, 7] bool.
    """
    n = len(aatype)
    angles = np.zeros((n, 7), dtype=np.float32)
    defined = np.zeros((n, 7), dtype=bool)
    # The atoms of one residue and of the next, N CA C N CA C: each of the three torsions is four of them in a row.
    two = np.concatenate([xyz[:-1, _FRAME], xyz[1:, _FRAME]], axis=1)
    angle, ok = dihedral(*(two[:, first : first + 3] for first in range(4)))  # psi, omega, phi of the next
    ok &= linked[: max(n - 1, 0), None]
    angle = np.where(ok, angle, 0.0)
    for column, index, rows in ((0, PSI, slice(None, -1)), (1, OMEGA, slice(None, -1)), (2, PHI, slice(1, None))):
        angles[rows, index], defined[rows, index] = angle[:, column], ok[:, column]
    row, chi = np.nonzero(aa.CHI_MASK[aatype])
    slots = aa.CHI_ATOMS[aatype[row], chi]  # [K, 4]
    there = mask[row[:, None], slots].all(axis=1)
    row, chi, slots = row[there], chi[there], slots[there]
    angle, ok = dihedral(*(xyz[row, slots[:, i]] for i in range(4)))
    angles[row, CHI1 + chi] = np.where(ok, angle, 0.0)
    defined[row, CHI1 + chi] = ok
    return angles, defined
