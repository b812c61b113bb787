from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bindrae.geometry import rigid

angles = st.sampled_from([0.0, 1e-9, 1e-5, 1e-3, 0.5, 2.0, math.pi - 1e-3, math.pi - 1e-6, math.pi])
seeds = st.integers(0, 10_000)


def rotation_vector(angle: float, seed: int) -> torch.Tensor:
    axis = np.random.default_rng(seed).normal(size=3)
    return torch.as_tensor(angle * axis / np.linalg.norm(axis))


@given(angles, seeds)
def test_axis_angle_matches_scipy_at_every_angle(angle: float, seed: int) -> None:
    omega = rotation_vector(angle, seed)
    expected = Rotation.from_rotvec(omega.numpy()).as_matrix()
    np.testing.assert_allclose(rigid.axis_angle_to_matrix(omega).numpy(), expected, atol=1e-12)


@given(angles, seeds)
def test_a_quaternion_gives_its_rotation_back(angle: float, seed: int) -> None:
    R = rigid.axis_angle_to_matrix(rotation_vector(angle, seed))
    back = rigid.quaternion_to_matrix(rigid.matrix_to_quaternion(R))
    torch.testing.assert_close(back, R, atol=1e-12, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1.0, 3.0])
def test_axis_angle_gradient(angle: float) -> None:
    omega = rotation_vector(angle, 3).requires_grad_()
    assert torch.autograd.gradcheck(rigid.axis_angle_to_matrix, (omega,))


def test_frames_are_rotations_and_carry_the_three_points() -> None:
    N, CA, C = torch.randn(3, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    R, t = rigid.build_frames_from_3_points(N, CA, C)
    torch.testing.assert_close(R @ R.transpose(-1, -2), torch.eye(3, dtype=R.dtype).expand(50, 3, 3))
    assert torch.allclose(torch.linalg.det(R), torch.ones(50, dtype=R.dtype))
    local_N, local_C = (rigid.invert_apply((R, t), x) for x in (N, C))
    assert local_N[:, 2].abs().max() < 1e-12
    assert (local_N[:, 1] > 0).all()
    assert local_C[:, 1:].abs().max() < 1e-12
    assert (local_C[:, 0] > 0).all()


@pytest.mark.parametrize(
    "points",
    [
        [[1.0, 0, 0], [0, 0, 0], [-1.0, 0, 0]],  # collinear
        [[0.0, 0, 0], [0, 0, 0], [1.0, 0, 0]],  # N on CA
        [[0.0, 0, 0], [0, 0, 0], [0.0, 0, 0]],  # all in one place
    ],
)
def test_degenerate_frames_are_rotations_with_finite_gradients(points: list[list[float]]) -> None:
    xyz = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    R, t = rigid.build_frames_from_3_points(xyz[0], xyz[1], xyz[2])
    torch.testing.assert_close(R @ R.T, torch.eye(3, dtype=R.dtype))
    assert torch.linalg.det(R) > 0.99
    (R.sum() + t.sum()).backward()
    assert xyz.grad is not None
    assert torch.isfinite(xyz.grad).all()


def test_compose_invert_and_apply_agree() -> None:
    g = torch.Generator().manual_seed(1)
    frames = [
        (rigid.axis_angle_to_matrix(torch.randn(4, 3, generator=g)), torch.randn(4, 3, generator=g)) for _ in range(2)
    ]
    points = torch.randn(4, 7, 3, generator=g)
    a, b = frames
    torch.testing.assert_close(rigid.apply(rigid.compose(a, b), points), rigid.apply(a, rigid.apply(b, points)))
    torch.testing.assert_close(rigid.apply(rigid.invert(a), points), rigid.invert_apply(a, points))
    torch.testing.assert_close(rigid.invert_apply(a, rigid.apply(a, points)), points, atol=1e-5, rtol=0)


def test_clip_update_bounds_angle_and_components_and_keeps_directions() -> None:
    rotation = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [3.0, 4.0, 0.0]])
    translation = torch.tensor([[0.2, -0.3, 0.1], [2.0, -9.0, 1.0], [0.0, 0.0, 1.6]])
    r, t = rigid.clip_update(rotation, translation)
    torch.testing.assert_close(r[:2], rotation[:2])
    assert math.degrees(r[2].norm()) == pytest.approx(15.0, abs=1e-4)
    torch.testing.assert_close(r[2] / r[2].norm(), rotation[2] / 5.0)
    torch.testing.assert_close(t, torch.tensor([[0.2, -0.3, 0.1], [1.5, -1.5, 1.0], [0.0, 0.0, 1.5]]))


def test_rigid_noise_has_the_stated_size_and_can_be_switched_off() -> None:
    R, t = torch.eye(3).expand(4000, 3, 3), torch.zeros(4000, 3)
    same = rigid.add_rigid_noise(R, t, enable=False)
    assert same[0] is R
    noisy_R, noisy_t = rigid.add_rigid_noise(R, t, 5.0, 0.5, True, torch.Generator().manual_seed(0))
    turned = np.degrees(Rotation.from_matrix(noisy_R.numpy()).magnitude())
    assert turned.max() <= 5.0 + 1e-3
    assert turned.mean() == pytest.approx(2.5, abs=0.1)  # uniform in [0, 5]
    assert noisy_t.std() == pytest.approx(0.5, abs=0.02)


def test_packed_rigids_round_trip_and_refuse_other_shapes() -> None:
    R = rigid.axis_angle_to_matrix(torch.randn(9, 3, generator=torch.Generator().manual_seed(2)))
    t = torch.arange(27.0).reshape(9, 3)
    packed = rigid.pack_rigids(R, t)
    assert packed.shape == (9, 7)
    assert (packed[:, 0] >= 0).all()
    back_R, back_t = rigid.unpack_rigids(packed)
    torch.testing.assert_close(back_R, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(back_t, t)
    with pytest.raises(ValueError, match="expected"):
        rigid.unpack_rigids(torch.zeros(2, 6))


def test_openfolds_rigid_agrees() -> None:
    """The `openfold3` wheel, installed without its dependencies, as an independent implementation."""
    oracle = pytest.importorskip("openfold3.core.utils.rigid_utils", reason="the openfold3 wheel is not installed")
    g = torch.Generator().manual_seed(4)
    R = rigid.axis_angle_to_matrix(2 * torch.randn(40, 3, generator=g))
    t = torch.randn(40, 3, generator=g) * 10
    theirs = oracle.Rigid(oracle.Rotation(rot_mats=R), t)
    back = oracle.Rigid.from_tensor_7(rigid.pack_rigids(R, t))
    torch.testing.assert_close(back.get_rots().get_rot_mats(), R, atol=1e-5, rtol=0)
    torch.testing.assert_close(back.get_trans(), t)
    for ours, expected in zip(rigid.unpack_rigids(theirs.to_tensor_7()), (R, t), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    for ours, expected in zip(rigid.unpack_rigids(theirs.to_tensor_4x4()), (R, t), strict=True):
        torch.testing.assert_close(ours, expected)
    points = torch.randn(40, 3, generator=g)
    torch.testing.assert_close(rigid.apply((R, t), points), theirs.apply(points), atol=1e-4, rtol=0)
    torch.testing.assert_close(rigid.invert_apply((R, t), points), theirs.invert_apply(points), atol=1e-4, rtol=0)
    both = theirs.compose(theirs)
    ours_R, ours_t = rigid.compose((R, t), (R, t))
    torch.testing.assert_close(ours_R, both.get_rots().get_rot_mats(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours_t, both.get_trans(), atol=1e-4, rtol=0)
