"""Frames of side chains on real backbones: chi1 as it is asked for, CB between N and C."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.geometry.sidechain_frames import sidechain_frames
from bindrae.structure.torsions import residue_torsions

WITH_CHI = [kind for kind in range(20) if aa.CHI_MASK[kind, 0]]


def backbone(angle_deg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """N, CA and C with given angles at CA, turned and moved at random."""
    generator = torch.Generator().manual_seed(0)
    count = len(angle_deg)
    R, t = build_frames_from_3_points(*torch.randn(3, count, 3, generator=generator, dtype=torch.float64))
    angle = torch.deg2rad(angle_deg)
    n = 1.46 * torch.stack([torch.cos(angle), torch.sin(angle), torch.zeros(count)], -1)
    c = torch.tensor([1.53, 0.0, 0.0], dtype=torch.float64).expand(count, 3)
    return tuple((R @ x.unsqueeze(-1)).squeeze(-1) + 50 * t for x in (n, torch.zeros_like(n), c))


def built(points: tuple[Tensor, Tensor, Tensor], chi: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
    torsions = torch.cat([torch.zeros(len(chi), 3, dtype=chi.dtype), chi], 1)
    xyz, mask = torsions_to_atoms(sidechain_frames(*points, kind), angles_to_circle(torsions), kind)
    xyz[:, :3] = torch.stack(points, 1)
    return xyz, mask


@pytest.mark.parametrize("angle", [95.0, 105.0, 111.0, 118.0, 130.0])
def test_chis_are_what_was_asked_for_whatever_the_angle_at_ca(angle: float) -> None:
    kind = torch.tensor(WITH_CHI)
    points = backbone(torch.full((len(kind),), angle, dtype=torch.float64))
    chi = torch.linspace(-3.0, 3.0, 4 * len(kind), dtype=torch.float64).view(-1, 4)
    xyz, mask = built(points, chi, kind)
    found, defined = residue_torsions(xyz.numpy(), mask.numpy(), kind.numpy(), torch.zeros(len(kind)).bool().numpy())
    off = torch.remainder(torch.as_tensor(found[:, 3:]) - chi + math.pi, 2 * math.pi) - math.pi
    assert torch.as_tensor(defined[:, 3:]).equal(torch.as_tensor(aa.CHI_MASK)[kind])
    assert off[torch.as_tensor(defined[:, 3:])].abs().max() < 1e-4
    plain, _ = torsions_to_atoms(
        build_frames_from_3_points(*points), angles_to_circle(torch.cat([chi[:, :3] * 0, chi], 1)), kind
    )
    assert (plain[:, 5] - xyz[:, 5]).norm(dim=-1).max() < 0.8  # nothing is thrown about


def test_an_ideal_backbone_has_the_frames_it_is_built_from() -> None:
    kind = torch.arange(21)
    frames = build_frames_from_3_points(*torch.randn(3, 21, 3, generator=torch.Generator().manual_seed(1)))
    circle = angles_to_circle(torch.zeros(21, 7))
    xyz, _ = torsions_to_atoms(frames, circle, kind)
    R, t = sidechain_frames(xyz[:, 0], xyz[:, 1], xyz[:, 2], kind)
    assert torch.allclose(R, frames[0], atol=1e-5)
    assert torch.allclose(t, frames[1])


def test_cb_is_as_far_from_either_neighbour_as_the_angle_leaves_it() -> None:
    """Opened by some degrees, both angles of CB take their share; in a residue frame that of N takes all."""
    kind = torch.full((2,), aa.TYPE_OF_NAME["ALA"])
    points = backbone(torch.tensor([111.0, 121.0], dtype=torch.float64))
    xyz, _ = built(points, torch.zeros(2, 4, dtype=torch.float64), kind)

    def angles(other: int) -> Tensor:
        ways = [x / x.norm(dim=-1, keepdim=True) for x in (xyz[:, other] - xyz[:, 1], xyz[:, 4] - xyz[:, 1])]
        return torch.rad2deg(torch.arccos((ways[0] * ways[1]).sum(-1)))

    changes = [float(angles(other).diff()) for other in (0, 2)]
    assert changes[0] == pytest.approx(changes[1], abs=0.3)
    assert -5 < changes[0] < -0.5


def test_frames_move_with_the_backbone_and_are_rotations_where_atoms_coincide() -> None:
    kind = torch.tensor([aa.TYPE_OF_NAME["LEU"]])
    points = backbone(torch.tensor([114.0], dtype=torch.float64))
    turn = build_frames_from_3_points(*torch.randn(3, 3, generator=torch.Generator().manual_seed(4)).double())[0]
    R, _ = sidechain_frames(*points, kind)
    turned, _ = sidechain_frames(*(x @ turn.mT for x in points), kind)
    assert torch.allclose(turned, turn @ R, atol=1e-6)
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    for degenerate in (
        (nothing, nothing, nothing),
        (points[0], points[1], points[0]),
        (points[0], points[1], points[1]),
    ):
        R, _ = sidechain_frames(*degenerate, kind)
        assert torch.allclose(R @ R.mT, torch.eye(3, dtype=torch.float64), atol=1e-6)
        assert torch.linalg.det(R) == pytest.approx(1.0, abs=1e-6)
