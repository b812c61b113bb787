"""The seven torsions of every residue: phi, psi, omega, chi1-4."""

from __future__ import annotations

import numpy as np

from bindrae.chem import residues as aa

TORSION_NAMES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4")
PHI, PSI, OMEGA, CHI1 = range(4)
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
    b0 = (a - b).astype(np.float64)
    b1 = (c - b).astype(np.float64)
    b2 = (d - c).astype(np.float64)
    n1, n2 = np.cross(b0, b1), np.cross(b2, b1)
    length = np.linalg.norm(b1, axis=-1)
    s1, s2 = np.linalg.norm(n1, axis=-1), np.linalg.norm(n2, axis=-1)
    defined = (s1 > _MIN_SINE * np.linalg.norm(b0, axis=-1) * length) & (
        s2 > _MIN_SINE * np.linalg.norm(b2, axis=-1) * length
    )
    safe = np.where(length > 0, length, 1.0)
    x = (n1 * n2).sum(-1)
    y = (np.cross(n1, n2) * (b1 / safe[..., None])).sum(-1)
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
    N, CA, C = (xyz[:, slot] for slot in (aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C))
    if n > 1:
        joined = linked[:-1]
        for index, rows, points in (
            (PHI, slice(1, None), (C[:-1], N[1:], CA[1:], C[1:])),
            (PSI, slice(None, -1), (N[:-1], CA[:-1], C[:-1], N[1:])),
            (OMEGA, slice(None, -1), (CA[:-1], C[:-1], N[1:], CA[1:])),
        ):
            angle, ok = dihedral(*points)
            defined[rows, index] = ok & joined
            angles[rows, index] = np.where(ok & joined, angle, 0.0)
    slots = aa.CHI_ATOMS[aatype]  # [N, 4, 4]
    rows4 = np.arange(n)[:, None, None]
    points4 = xyz[rows4, slots]  # [N, 4, 4, 3]
    angle, ok = dihedral(points4[..., 0, :], points4[..., 1, :], points4[..., 2, :], points4[..., 3, :])
    ok &= aa.CHI_MASK[aatype] & mask[rows4, slots].all(axis=-1)
    angles[:, CHI1:] = np.where(ok, angle, 0.0)
    defined[:, CHI1:] = ok
    return angles, defined
