"""Atoms too close to one another: which, and what share of all."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION, CLASH_TOLERANCE, FAR, residue_separation, separation_through_bond

_NEAR_ANGSTROM = 5.0
_DISULFIDE_ANGSTROM = 2.5
_SG = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")


def find_clashes(
    xyz: np.ndarray,
    mask: np.ndarray,
    aatype: np.ndarray,
    linked: np.ndarray,
    ligand_xyz: np.ndarray,
    ligand_radius: np.ndarray,
) -> dict[str, np.ndarray]:
    """Atoms closer than r_i + r_j - 0.6 A (Bondi radii).

    Pairs within three bonds, inside one ring and of disulfides are left out, and so are metals and atoms covalently
    bound to the ligand (closer than 60 % of the sum of radii).

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    aatype, linked : numpy.ndarray
        [N] types and peptide bonds to the next row.
    ligand_xyz, ligand_radius : numpy.ndarray
        [L, 3] and [L] (A); radius 0 marks a metal.

    Returns
    -------
    dict of str to numpy.ndarray
        ``protein`` and ``ligand``: [N] clashing atoms of each residue with protein and with the ligand. ``pairs`` and
        ``near_pairs``: scalars, protein pairs that clash and that are closer than 5 A (of those that could clash).
    """
    residue, slot = np.nonzero(mask)
    atoms = xyz[residue, slot].astype(np.float64)
    radius = aa.ATOM14_RADIUS[aatype][residue, slot]
    pairs = cKDTree(atoms).query_pairs(_NEAR_ANGSTROM, output_type="ndarray")
    i, j = pairs.T if len(pairs) else np.zeros((2, 0), dtype=np.int64)
    far_apart = _separation(residue, slot, i, j, xyz, mask, aatype, linked) >= CLASH_SEPARATION
    i, j = i[far_apart], j[far_apart]
    distance = np.linalg.norm(atoms[i] - atoms[j], axis=1)
    bad = distance < radius[i] + radius[j] - CLASH_TOLERANCE
    touched = np.zeros(len(atoms), dtype=bool)
    touched[i[bad]] = touched[j[bad]] = True
    with_ligand = np.zeros(len(atoms), dtype=bool)
    organic = ligand_radius > 0
    if organic.any():
        near = cKDTree(atoms).query_ball_point(ligand_xyz[organic].astype(np.float64), _NEAR_ANGSTROM)
        for centre, r, neighbours in zip(ligand_xyz[organic], ligand_radius[organic], near, strict=True):
            close = np.array(neighbours, dtype=np.int64)
            d = np.linalg.norm(atoms[close] - centre, axis=1)
            total = radius[close] + r
            with_ligand[close[(d < total - CLASH_TOLERANCE) & (d > 0.6 * total)]] = True
    return {
        "protein": np.bincount(residue[touched], minlength=len(aatype)),
        "ligand": np.bincount(residue[with_ligand], minlength=len(aatype)),
        "pairs": np.array(int(bad.sum())),
        "near_pairs": np.array(len(i)),
    }


def _separation(
    residue: np.ndarray, slot: np.ndarray, i: np.ndarray, j: np.ndarray,
    xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, linked: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Bonds between the atoms of each pair, 99 where no short path joins them; i before j in the table."""
    ri, rj, si, sj = residue[i], residue[j], slot[i], slot[j]
    separation = np.full(len(i), 99)
    same = ri == rj
    separation[same] = residue_separation()[aatype[ri[same]], si[same], sj[same]]
    following = (rj == ri + 1) & linked[ri]
    table = residue_separation()
    to_bond = table[aatype[ri[following]], si[following], aa.SLOT_C]
    from_bond = table[aatype[rj[following]], aa.SLOT_N, sj[following]]
    separation[following] = np.minimum(to_bond + 1 + from_bond, FAR)
    cys = np.flatnonzero((aatype == aa.TYPE_OF_NAME["CYS"]) & mask[:, _SG])
    if len(cys) > 1:
        bonded = cKDTree(xyz[cys, _SG]).query_pairs(_DISULFIDE_ANGSTROM, output_type="ndarray")
        partner = np.full(len(aatype), -1)
        partner[cys[bonded[:, 0]]], partner[cys[bonded[:, 1]]] = cys[bonded[:, 1]], cys[bonded[:, 0]]
        bridge = (partner[ri] == rj) & ~same
        kind = np.array(aa.TYPE_OF_NAME["CYS"])
        through = separation_through_bond(kind, _SG, kind, _SG)
        separation[bridge] = np.minimum(separation[bridge], through[si[bridge], sj[bridge]])
    return separation


def compute_clash_percentage(xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, linked: np.ndarray) -> float:
    """Share of heavy atoms with at least one protein clash, in percent; see `find_clashes`."""
    none = np.zeros((0, 3))
    clashes = find_clashes(xyz, mask, aatype, linked, none, np.zeros(0))
    return float(100.0 * clashes["protein"].sum() / max(int(mask.sum()), 1))
