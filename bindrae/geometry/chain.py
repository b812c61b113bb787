"""The `chain` mode of forward kinematics: a whole backbone from phi, psi and omega.

Residue i+1 stands relative to residue i by a rigid motion that depends on psi(i), omega(i) and phi(i+1) alone. The
frames are the running products of these motions, and products can be taken pairwise: ceil(log2 N) rounds over all
residues at once (Hillis and Steele, Commun. ACM 29, 1170, 1986) in place of N steps one after the other.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bindrae.chem.ideal_geometry import ideal_geometry
from bindrae.geometry.kinematics import torsions_to_atoms
from bindrae.geometry.rigid import Frames, compose

PHI, PSI, OMEGA = range(3)


@cache
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """N-CA and CA-C lengths (A) and N-CA-C angle (radians) of each type: [21] each."""
    local = torch.as_tensor(ideal_geometry().local, dtype=torch.float64)
    n, c = local[:, 0], local[:, 2]
    angle = torch.atan2(n[:, 1], n[:, 0])  # CA at the origin, C on x
    return tuple(x.to(device=device, dtype=dtype) for x in (n.norm(dim=-1), c.norm(dim=-1), angle))  # type: ignore[return-value]


def _step(torsion: Tensor, angle: Tensor, bond: Tensor) -> Frames:
    """From the frame of one atom to that of the next: x along the bond that leads to it, the atom before last at y > 0.

    Parameters
    ----------
    torsion : Tensor
        [..., 2] (sin, cos) about the bond that leads to the present atom.
    angle, bond : Tensor
        [...] bond angle at the present atom (radians) and length of the next bond (A).
    """
    s, c = torsion.unbind(-1)
    sine, cosine = torch.sin(angle).expand_as(s), torch.cos(angle).expand_as(s)
    zero = torch.zeros_like(s)
    # Turn about x by the torsion, then bend: columns are the new axes.
    R = torch.stack([-cosine, -sine, zero, c * sine, -c * cosine, -s, s * sine, -s * cosine, c], dim=-1).unflatten(
        -1, (3, 3)
    )
    return R, bond.unsqueeze(-1) * R[..., 0]


def _along_x(length: Tensor) -> Frames:
    eye = torch.eye(3, dtype=length.dtype, device=length.device).expand(*length.shape, 3, 3)
    return eye, torch.nn.functional.pad(length.unsqueeze(-1), (0, 2))


def residue_steps(torsions: Tensor, aatype: Tensor) -> Frames:
    """The motion from each residue's frame to the next one's, with ideal bonds and angles.

    Parameters
    ----------
    torsions : Tensor
        [..., N, 7, 2] (sin, cos).
    aatype : Tensor
        [..., N] types.

    Returns
    -------
    (R [..., N-1, 3, 3], t [..., N-1, 3])
    """
    n_ca, ca_c, bend = (x[aatype] for x in _constants(torsions.device, torsions.dtype))
    link = {
        name: torch.tensor(v, dtype=torsions.dtype, device=torsions.device)
        for name, v in ideal_geometry().peptide.items()
    }
    psi, omega, phi = torsions[..., :-1, PSI, :], torsions[..., :-1, OMEGA, :], torsions[..., 1:, PHI, :]
    motion = compose(_along_x(ca_c[..., :-1]), _step(psi, link["angle_ca_c_n"], link["bond"]))
    motion = compose(motion, _step(omega, link["angle_c_n_ca"], n_ca[..., 1:]))
    motion = compose(motion, _step(phi, bend[..., 1:], ca_c[..., 1:]))
    return compose(motion, _along_x(-ca_c[..., 1:]))


def prefix_compose(motions: Frames, starts: Tensor) -> Frames:
    """Running products of motions, begun anew wherever `starts` is set.

    Parameters
    ----------
    motions : (R [..., N, 3, 3], t [..., N, 3])
    starts : Tensor
        [..., N] bool; the first must be True.

    Returns
    -------
    (R [..., N, 3, 3], t [..., N, 3])
        ``out[i] = motions[s] o ... o motions[i]`` with s the last start up to i.
    """
    R, t = motions
    done, n, reach = starts, starts.shape[-1], 1
    while reach < n:
        # Entry i takes in the product that ends at i - reach, unless a start already lies in what it has.
        before = (R[..., :-reach, :, :], t[..., :-reach, :])
        joined_R, joined_t = compose(before, (R[..., reach:, :, :], t[..., reach:, :]))
        keep = done[..., reach:].unsqueeze(-1)
        new_R = torch.where(keep.unsqueeze(-1), R[..., reach:, :, :], joined_R)
        new_t = torch.where(keep, t[..., reach:, :], joined_t)
        R = torch.cat([R[..., :reach, :, :], new_R], dim=-3)
        t = torch.cat([t[..., :reach, :], new_t], dim=-2)
        done = torch.cat([done[..., :reach], done[..., reach:] | done[..., :-reach]], dim=-1)
        reach *= 2
    return R, t


def torsions_to_frames(torsions: Tensor, aatype: Tensor, linked: Tensor, first: Frames) -> Frames:
    """Backbone frames from phi, psi and omega.

    Parameters
    ----------
    torsions : Tensor
        [..., N, 7, 2] (sin, cos) on the unit circle.
    aatype : Tensor
        [..., N] types.
    linked : Tensor
        [..., N] bool, peptide bond to the next row; where it is missing, a new segment begins.
    first : (R [..., N, 3, 3], t [..., N, 3])
        Frames (A) from which those of the first residue of each segment are taken; the others are not read.

    Returns
    -------
    (R [..., N, 3, 3], t [..., N, 3])
    """
    starts = torch.cat([torch.ones_like(linked[..., :1]), ~linked[..., :-1]], dim=-1)
    step_R, step_t = residue_steps(torsions, aatype)
    R = torch.cat([first[0][..., :1, :, :], step_R], dim=-3)
    t = torch.cat([first[1][..., :1, :], step_t], dim=-2)
    chosen = starts.unsqueeze(-1)
    motions = (torch.where(chosen.unsqueeze(-1), first[0], R), torch.where(chosen, first[1], t))
    return prefix_compose(motions, starts)


def chain_to_atoms(torsions: Tensor, aatype: Tensor, linked: Tensor, first: Frames) -> tuple[Tensor, Tensor, Frames]:
    """Every heavy atom from torsions alone, the `chain` mode of FK; arguments as for `torsions_to_frames`.

    Returns
    -------
    xyz : Tensor
        [..., N, 14, 3] (A).
    mask : Tensor
        [..., N, 14] bool, slots of the type.
    frames : (R, t)
        The residue frames.
    """
    frames = torsions_to_frames(torsions, aatype, linked, first)
    xyz, mask = torsions_to_atoms(frames, torsions, aatype)
    return xyz, mask, frames
