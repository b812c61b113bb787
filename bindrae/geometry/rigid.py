"""Rigid motions as a rotation matrix and a translation; exact in the places where the textbook formula divides by 0.

A frame ``(R, t)`` maps local to global: ``x = R @ x_local + t``. All functions broadcast over leading dimensions and
stay in the number format they are given; run them in float32 or better, never in half precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_EPS = 1e-8
Frames = tuple[Tensor, Tensor]


def safe_norm(x: Tensor, eps: float = _EPS) -> Tensor:
    """Euclidean norm of the last dimension with a finite gradient at 0, where it is `eps`."""
    return torch.sqrt((x * x).sum(-1).clamp_min(eps * eps))


def build_frames_from_3_points(N: Tensor, CA: Tensor, C: Tensor) -> Frames:
    """Residue frames: origin CA, x axis to C, N in the xy plane (Jumper et al. 2021, SI algorithm 21).

    Parameters
    ----------
    N, CA, C : Tensor
        [..., 3] backbone atoms (A).

    Returns
    -------
    R : Tensor
        [..., 3, 3], axes as columns. Where the atoms coincide or are collinear, the missing axes come from the global
        ones, so that R is a rotation everywhere.
    t : Tensor
        [..., 3], CA.
    """
    x, _ = _direction(C - CA, (1.0, 0.0, 0.0))
    side = N - CA
    side = side - (side * x).sum(-1, keepdim=True) * x
    y, _ = _direction(side, None, x)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1), CA


def _direction(
    v: Tensor, default: tuple[float, float, float] | None, normal_to: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Unit vector of `v`; where `v` is (nearly) 0, `default` or any vector normal to `normal_to`."""
    length = safe_norm(v)
    ok = (length > 1e-5).unsqueeze(-1)
    if default is not None:
        other = v.new_tensor(default).expand_as(v)
    else:
        assert normal_to is not None
        # The global axis least along the given vector, made normal to it.
        axis = torch.nn.functional.one_hot(normal_to.detach().abs().argmin(-1), 3).to(v.dtype)
        other = axis - (axis * normal_to).sum(-1, keepdim=True) * normal_to
        other = other / safe_norm(other).unsqueeze(-1)
    # Both branches must be finite: the gradient of `where` multiplies the unused one by 0.
    unit = torch.where(ok, v, torch.ones_like(v)) / torch.where(
        ok.squeeze(-1), length, torch.ones_like(length)
    ).unsqueeze(-1)
    return torch.where(ok, unit, other), ok


def apply(frames: Frames, points: Tensor) -> Tensor:
    """Local to global: R @ x + t.

    Parameters
    ----------
    frames : (R [..., 3, 3], t [..., 3])
    points : Tensor
        [..., K, 3] or [..., 3]; the frames' leading dimensions come first.
    """
    R, t = frames
    extra = points.dim() - t.dim()
    R, t = (R.reshape(*R.shape[:-2], *(1,) * extra, 3, 3), t.reshape(*t.shape[:-1], *(1,) * extra, 3))
    return (R @ points.unsqueeze(-1)).squeeze(-1) + t


def invert_apply(frames: Frames, points: Tensor) -> Tensor:
    """Global to local: R^T @ (x - t); shapes as for `apply`."""
    R, t = frames
    extra = points.dim() - t.dim()
    R, t = (R.reshape(*R.shape[:-2], *(1,) * extra, 3, 3), t.reshape(*t.shape[:-1], *(1,) * extra, 3))
    return (R.transpose(-1, -2) @ (points - t).unsqueeze(-1)).squeeze(-1)


def compose(outer: Frames, inner: Frames) -> Frames:
    """The motion `inner`, then `outer`: ``apply(compose(a, b), x) == apply(a, apply(b, x))``."""
    return outer[0] @ inner[0], apply(outer, inner[1])


def invert(frames: Frames) -> Frames:
    """The motion that undoes `frames`."""
    R, t = frames
    transposed = R.transpose(-1, -2)
    return transposed, -(transposed @ t.unsqueeze(-1)).squeeze(-1)


def axis_angle_to_matrix(omega: Tensor) -> Tensor:
    """Rotation by ``|omega|`` radians about ``omega`` (Rodrigues), smooth at 0.

    Parameters
    ----------
    omega : Tensor
        [..., 3] rotation vector.

    Returns
    -------
    Tensor
        [..., 3, 3].
    """
    squared = (omega * omega).sum(-1)
    small = squared < 1e-4
    theta2 = torch.where(small, torch.ones_like(squared), squared)
    theta = torch.sqrt(theta2)
    a = torch.where(small, 1 - squared / 6 + squared**2 / 120, torch.sin(theta) / theta)
    b = torch.where(small, 0.5 - squared / 24 + squared**2 / 720, (1 - torch.cos(theta)) / theta2)
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*omega.shape[:-1], 3, 3)
    eye = torch.eye(3, dtype=omega.dtype, device=omega.device)
    return eye + a[..., None, None] * K + b[..., None, None] * (K @ K)


def matrix_to_quaternion(R: Tensor) -> Tensor:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix; stable at every angle (Shepperd 1978).

    Parameters
    ----------
    R : Tensor
        [..., 3, 3].
    """
    m = R.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    # Each row is the quaternion times twice one component; the row of the largest component divides by no small number.
    q = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m12 + m21], -1),
            torch.stack([m10 - m01, m20 + m02, m21 + m12, 1 - m00 - m11 + m22], -1),
        ],
        dim=-2,
    )
    best = torch.diagonal(q, dim1=-2, dim2=-1).argmax(-1)
    row = torch.gather(q, -2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    row = row / safe_norm(row).unsqueeze(-1)
    return torch.where(row[..., :1] < 0, -row, row)


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Rotation matrix of a quaternion (w, x, y, z), normalised first.

    Parameters
    ----------
    q : Tensor
        [..., 4].
    """
    w, x, y, z = (q / safe_norm(q).unsqueeze(-1)).unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        dim=-1,
    ).reshape(*q.shape[:-1], 3, 3)  # fmt: skip


def mean_frames(frames: Sequence[Frames]) -> Frames:
    """The mean of several versions of the same frames, which lie near each other.

    Rotations by the normalised sum of their quaternions, each with the sign that is nearer to the first (Markley and
    others, J. Guid. Control Dyn. 30, 1193, 2007: the mean to second order of the angles between them).

    Parameters
    ----------
    frames : sequence of frames
        Each [..., 3, 3] and [..., 3] (A), rotations less than 90 degrees apart.
    """
    first, *others = (matrix_to_quaternion(R) for R, _ in frames)
    same = [torch.where((q * first).sum(-1, keepdim=True) < 0, -q, q) for q in others]
    rotation = quaternion_to_matrix(torch.stack([first, *same]).sum(0))
    return rotation, torch.stack([t for _, t in frames]).mean(0)


def clip_update(
    delta_rot: Tensor, delta_trans: Tensor, max_deg: float = 15.0, max_trans: float = 1.5
) -> tuple[Tensor, Tensor]:
    """Bound a frame update: the rotation by its angle, the translation by each component.

    Parameters
    ----------
    delta_rot : Tensor
        [..., 3] rotation vector (radians); longer ones are shortened to `max_deg` degrees, direction kept.
    delta_trans : Tensor
        [..., 3] translation (A), each component clamped to [-max_trans, max_trans].
    """
    limit = math.radians(max_deg)
    angle = safe_norm(delta_rot)
    scale = torch.where(angle > limit, limit / angle, torch.ones_like(angle))
    return delta_rot * scale.unsqueeze(-1), delta_trans.clamp(-max_trans, max_trans)


def add_rigid_noise(
    R: Tensor,
    t: Tensor,
    rot_deg: float | Tensor = 5.0,
    trans_std: float | Tensor = 0.5,
    enable: bool = True,
    generator: torch.Generator | None = None,
) -> Frames:
    """Frames turned about a random axis and shifted, each on its own.

    Parameters
    ----------
    R, t : Tensor
        [..., 3, 3] and [..., 3] frames (A).
    rot_deg : float or Tensor
        The angle is uniform in [0, this] (degrees); a tensor that broadcasts to [...].
    trans_std : float or Tensor
        Standard deviation of each component of the shift (A); a tensor that broadcasts to [..., 3].
    enable : bool
        False returns the frames as they are.
    generator : torch.Generator, optional
        Source of randomness.
    """
    if not enable:
        return R, t
    axis = torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device)
    axis = axis / safe_norm(axis).unsqueeze(-1)
    angle = torch.rand(t.shape[:-1], generator=generator, dtype=t.dtype).to(t.device) * rot_deg * (math.pi / 180)
    shift = torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device) * trans_std
    return R @ axis_angle_to_matrix(axis * angle.unsqueeze(-1)), t + shift


def pack_rigids(R: Tensor, t: Tensor) -> Tensor:
    """Frames as OpenFold's and flash_ipa's ``Rigid.to_tensor_7``: quaternion (w, x, y, z), then translation.

    Parameters
    ----------
    R, t : Tensor
        [..., 3, 3] and [..., 3].

    Returns
    -------
    Tensor
        [..., 7].
    """
    return torch.cat([matrix_to_quaternion(R), t], dim=-1)


def unpack_rigids(packed: Tensor) -> Frames:
    """Frames from [..., 7] (quaternion and translation) or [..., 4, 4] homogeneous matrices.

    Raises
    ------
    ValueError
        For any other shape.
    """
    if packed.shape[-2:] == (4, 4):
        return packed[..., :3, :3], packed[..., :3, 3]
    if packed.shape[-1] == 7:
        return quaternion_to_matrix(packed[..., :4]), packed[..., 4:]
    raise ValueError(f"expected [..., 7] or [..., 4, 4], got {tuple(packed.shape)}")
