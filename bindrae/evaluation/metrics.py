"""Definitions of every figure that is reported, for one complex at a time; everything reports through this module.

Errors of chis are in degrees, distances in angstrom, shares in percent when they leave this package. Residues are rows
of the residue table; ``atom14`` arrays are [N, 14, 3] with masks [N, 14].
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION, CLASH_TOLERANCE, FAR, residue_separation, separation_through_bond
from bindrae.geometry.fape import fape_loss
from bindrae.geometry.rigid import build_frames_from_3_points

ACCURACY_DEG = (20.0, 40.0)
_NEAR_ANGSTROM = 5.0
_DISULFIDE_ANGSTROM = 2.5
_BACKBONE = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]
_SG = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")


def chi_errors(pred: np.ndarray, true: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """Absolute error of each chi, wrapped, and taken to the nearer value of a pi-periodic chi.

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 4] radians.
    aatype : numpy.ndarray
        [N] types.

    Returns
    -------
    numpy.ndarray
        [N, 4] degrees in [0, 180] (in [0, 90] for pi-periodic chis).
    """
    error = np.degrees(np.abs(np.angle(np.exp(1j * (pred.astype(np.float64) - true)))))
    periodic = aa.CHI_PI_PERIODIC[aatype]
    return np.where(periodic, np.minimum(error, 180.0 - error), error)


def compute_chi1_accuracy(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray, threshold_deg: float = 20.0
) -> float:
    """Share of residues with a defined chi1 whose error is below the threshold, in percent; NaN without any.

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 4] chis (radians).
    mask : numpy.ndarray
        [N, 4] bool, defined chis.
    aatype : numpy.ndarray
        [N] types.
    threshold_deg : float
    """
    error = chi_errors(pred, true, aatype)[:, 0][mask[:, 0]]
    return float(100.0 * (error < threshold_deg).mean()) if len(error) else float("nan")


def kabsch_align(mobile: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation that lay `mobile` on `target` with least squares (Kabsch, Acta Cryst. A32, 922, 1976).

    Parameters
    ----------
    mobile, target : numpy.ndarray
        [K, 3], K >= 3.

    Returns
    -------
    rotation : numpy.ndarray
        [3, 3] proper rotation.
    translation : numpy.ndarray
        [3]; ``mobile @ rotation.T + translation`` lies on `target`.
    """
    a, b = mobile.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((mobile - a).astype(np.float64).T @ (target - b))
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    rotation = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    return rotation, b - rotation @ a


def match_symmetric(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of atoms with symmetric names taken the better way, residue by residue.

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 14, 3] in one coordinate frame (A).
    mask : numpy.ndarray
        [N, 14] atoms present in both.
    aatype : numpy.ndarray
        [N].

    Returns
    -------
    squared : numpy.ndarray
        [N, 14] squared distances (A^2), 0 where not compared.
    mask : numpy.ndarray
        [N, 14] atoms compared.
    """
    rows = np.arange(len(aatype))[:, None]
    swap = aa.SWAP_SLOTS[aatype]
    other_mask = mask[rows, swap] & mask
    straight = np.where(mask, ((pred - true) ** 2).sum(-1), 0.0)
    # Only where both of a pair are there can names be exchanged.
    whole = (mask == mask[rows, swap]).all(axis=1)
    crossed = np.where(other_mask, ((pred - true[rows, swap]) ** 2).sum(-1), 0.0)
    better = whole & (crossed.sum(1) < straight.sum(1))
    return np.where(better[:, None], crossed, straight), mask


def sidechain_rmsd(pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """RMSD of each residue's heavy atoms beyond CB, no superposition; NaN for residues that have none.

    Returns
    -------
    numpy.ndarray
        [N] (A).
    """
    squared, compared = match_symmetric(pred, true, mask, aatype)
    beyond = compared[:, aa.SLOT_CB + 1 :]
    count = beyond.sum(1)
    with np.errstate(invalid="ignore"):
        return np.sqrt((squared[:, aa.SLOT_CB + 1 :] * beyond).sum(1) / np.where(count, count, np.nan))


def compute_pocket_irmsd(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray, pocket: np.ndarray
) -> dict[str, float]:
    """RMSD of the pocket after its backbone (N, CA, C) was superposed, prediction on truth.

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 14, 3] (A).
    mask : numpy.ndarray
        [N, 14] atoms present in both.
    aatype : numpy.ndarray
        [N].
    pocket : numpy.ndarray
        [N] bool.

    Returns
    -------
    dict of str to float
        ``irmsd`` over heavy atoms, ``irmsd_ca``, ``irmsd_sidechain`` (beyond CB); NaN where no atom is compared.
    """
    rows = np.flatnonzero(pocket)
    nothing = {"irmsd": float("nan"), "irmsd_ca": float("nan"), "irmsd_sidechain": float("nan")}
    if not len(rows):
        return nothing
    p, t, m, kinds = pred[rows], true[rows], mask[rows], aatype[rows]
    backbone = m[:, _BACKBONE]
    if backbone.sum() < 3:
        return nothing
    rotation, translation = kabsch_align(p[:, _BACKBONE][backbone], t[:, _BACKBONE][backbone])
    squared, compared = match_symmetric(p @ rotation.T + translation, t, m, kinds)

    def rms(slots: slice) -> float:
        chosen = compared[:, slots]
        return float(np.sqrt(squared[:, slots][chosen].mean())) if chosen.any() else float("nan")

    return {
        "irmsd": rms(slice(None)),
        "irmsd_ca": rms(slice(aa.SLOT_CA, aa.SLOT_CA + 1)),
        "irmsd_sidechain": rms(slice(aa.SLOT_CB + 1, None)),
    }


def compute_fape(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray, atom_weight: np.ndarray | None = None
) -> float:
    """Frame-aligned point error of all frames against all heavy atoms, clamped at 10 A (A).

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 14, 3] (A); frames are those of each one's own N, CA, C.
    mask : numpy.ndarray
        [N, 14] atoms present in both.
    aatype : numpy.ndarray
        [N].
    atom_weight : numpy.ndarray, optional
        [N] residue weights.
    """
    squared, _ = match_symmetric(pred, true, mask, aatype)
    swap = aa.SWAP_SLOTS[aatype]
    crossed = squared.sum(1) < np.where(mask, ((pred - true) ** 2).sum(-1), 0.0).sum(1) - 1e-9
    renamed = np.where(crossed[:, None, None], true[np.arange(len(true))[:, None], swap], true)
    p, t = (torch.as_tensor(x, dtype=torch.float64).unsqueeze(0) for x in (pred, renamed))
    m = torch.as_tensor(mask).unsqueeze(0)
    frames = [build_frames_from_3_points(x[:, :, 0], x[:, :, 1], x[:, :, 2]) for x in (p, t)]
    weight = None
    if atom_weight is not None:
        weight = torch.as_tensor(atom_weight, dtype=torch.float32)[None, :, None].expand(-1, -1, aa.N_SLOTS).flatten(1)
    with torch.no_grad():
        value = fape_loss(
            frames[0], frames[1], p.flatten(1, 2), t.flatten(1, 2), m[:, :, _BACKBONE].all(-1), m.flatten(1), weight
        )
    return float(value)


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
