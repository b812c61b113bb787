"""Definitions of every figure that is reported, for one complex at a time; everything reports through this module.

Errors of chis are in degrees, distances in angstrom, shares in percent when they leave this package. Residues are rows
of the residue table; ``atom14`` arrays are [N, 14, 3] with masks [N, 14].
"""

from __future__ import annotations

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.evaluation.clashes import compute_clash_percentage, find_clashes
from bindrae.geometry.rigid import build_frames_from_3_points

__all__ = [
    "ACCURACY_DEG", "chi_errors", "compute_chi1_accuracy", "compute_clash_percentage", "compute_fape",
    "compute_pocket_irmsd", "find_clashes", "frame_errors", "kabsch_align", "match_symmetric", "mean_fape",
    "measured_chi_errors", "sidechain_rmsd",
]  # fmt: skip

ACCURACY_DEG = (20.0, 40.0)
FAPE_CLAMP_ANGSTROM = 10.0
_BACKBONE = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]
# Numbers held at once per coordinate: small enough for a processor's cache, which is what the speed depends on.
_FRAME_BLOCK = 2**16


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


def measured_chi_errors(angles: np.ndarray, found: np.ndarray, true: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """`chi_errors` of what `residue_torsions` measures on predicted atoms; a chi that the prediction lacks is a miss.

    Parameters
    ----------
    angles, found : numpy.ndarray
        [N, 7] radians and [N, 7] which are defined, of the prediction.
    true : numpy.ndarray
        [N, 4] radians.
    aatype : numpy.ndarray
        [N] types.

    Returns
    -------
    numpy.ndarray
        [N, 4] degrees, 180 for a miss.
    """
    return np.where(found[:, 3:], chi_errors(angles[:, 3:], true, aatype), 180.0)


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
    straight, crossed, better = _both_namings(pred, true, mask, aatype)
    return np.where(better[:, None], crossed, straight), mask


def _both_namings(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared errors [N, 14] under the names as they are and exchanged, and where the latter are smaller [N]."""
    rows = np.arange(len(aatype))[:, None]
    swap = aa.SWAP_SLOTS[aatype]
    other_mask = mask[rows, swap] & mask
    straight = np.where(mask, ((pred - true) ** 2).sum(-1), 0.0)
    # Only where both of a pair are there can names be exchanged.
    whole = (mask == mask[rows, swap]).all(axis=1)
    crossed = np.where(other_mask, ((pred - true[rows, swap]) ** 2).sum(-1), 0.0)
    return straight, crossed, whole & (crossed.sum(1) < straight.sum(1))


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


def frame_errors(pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """Error of each atom seen from a frame, clamped at 10 A, as the mean over all frames.

    Frames are those of each residue's own N, CA, C, predicted ones for predicted atoms and true ones for true atoms.
    Symmetric atoms are named as fits best within their own residue's frame, so a rigid motion changes nothing.

    Parameters
    ----------
    pred, true : numpy.ndarray
        [N, 14, 3] (A).
    mask : numpy.ndarray
        [N, 14] atoms present in both.
    aatype : numpy.ndarray
        [N].

    Returns
    -------
    numpy.ndarray
        [N, 14] (A); NaN where an atom is missing, and everywhere without a single frame.
    """
    result = np.full(mask.shape, np.nan)
    whole = mask[:, _BACKBONE].all(1)
    if not whole.any():
        return result
    p, t = (x.astype(np.float64) - x[mask].mean(0, dtype=np.float64) for x in (pred, true))
    (R, origin), (R_true, origin_true) = (_frames(x[whole]) for x in (p, t))
    local, local_true = (p[whole] - origin[:, None]) @ R, (t[whole] - origin_true[:, None]) @ R_true
    rename = np.flatnonzero(whole)[_both_namings(local, local_true, mask[whole], aatype[whole])[2]]
    t[rename] = t[rename[:, None], aa.SWAP_SLOTS[aatype[rename]]]
    # R^T (x - o) - R*^T (x* - o*) is linear in (x, x*, 1): one matrix product for all frames and atoms.
    x, y = p[mask], t[mask]
    atoms = np.concatenate([x, y, np.ones((len(x), 1))], axis=1).T.astype(np.float32)
    shift = np.einsum("nji,nj->ni", R_true, origin_true) - np.einsum("nji,nj->ni", R, origin)
    maps = np.concatenate([R.transpose(0, 2, 1), -R_true.transpose(0, 2, 1), shift[..., None]], axis=2)
    maps = np.ascontiguousarray(maps.transpose(1, 0, 2), dtype=np.float32)  # [3, frames, 7]
    total = np.zeros(len(x))
    step = max(1, _FRAME_BLOCK // len(x))
    for start in range(0, maps.shape[1], step):
        d = maps[:, start : start + step] @ atoms  # [3, frames, atoms]
        np.multiply(d, d, out=d)
        squared = d[0]
        squared += d[1]
        squared += d[2]
        np.sqrt(squared, out=squared)
        np.minimum(squared, FAPE_CLAMP_ANGSTROM, out=squared)
        total += squared.sum(0)
    result[mask] = total / maps.shape[1]
    return result


def _frames(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [N, 3, 3] and origins [N, 3] of residues [N, 14, 3]."""
    x = torch.as_tensor(xyz)
    R, origin = build_frames_from_3_points(x[:, aa.SLOT_N], x[:, aa.SLOT_CA], x[:, aa.SLOT_C])
    return R.numpy(), origin.numpy()


def mean_fape(errors: np.ndarray, residue_weight: np.ndarray | None = None) -> float:
    """Weighted mean of `frame_errors` over atoms (A); NaN where nothing is compared or weighs.

    Parameters
    ----------
    errors : numpy.ndarray
        [N, 14] (A), NaN for atoms that are not compared.
    residue_weight : numpy.ndarray, optional
        [N]; 1 by default.
    """
    there = np.isfinite(errors)
    weight = there * (1.0 if residue_weight is None else residue_weight.astype(np.float64)[:, None])
    total = weight.sum()
    return float((np.where(there, errors, 0.0) * weight).sum() / total) if total > 0 else float("nan")


def compute_fape(
    pred: np.ndarray, true: np.ndarray, mask: np.ndarray, aatype: np.ndarray, atom_weight: np.ndarray | None = None
) -> float:
    """Frame-aligned point error of all frames against all heavy atoms, clamped at 10 A (A).

    Jumper et al. (Nature 596, 583, 2021), SI algorithm 28, on all heavy atoms.

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

    Returns
    -------
    float
        NaN when no residue has a frame in both.
    """
    return mean_fape(frame_errors(pred, true, mask, aatype), atom_weight)
