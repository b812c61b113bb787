"""Cross-attention and FiLM: the rearranged products against the plain ones, and the reach of the ligand."""

from __future__ import annotations

import math

import pytest
import torch

from bindrae.geometry.rigid import Frames
from bindrae.model.ligand_condition import LigandConditioner

C_S, D_LIG, HEADS, TYPES = 24, 16, 4, 5


def conditioner(reach: float | None = None) -> LigandConditioner:
    torch.manual_seed(0)
    layer = LigandConditioner(C_S, D_LIG, HEADS, TYPES, warmup_steps=0, reach=reach)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer


def inputs() -> tuple[torch.Tensor, Frames, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    R = torch.linalg.qr(torch.randn(2, 9, 3, 3, generator=generator))[0]
    t = 8 * torch.randn(2, 9, 3, generator=generator)
    points, types = 4 * torch.randn(2, 7, 3, generator=generator), torch.rand(2, 7, TYPES, generator=generator)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    return torch.randn(2, 9, C_S, generator=generator), (R, t), points, types, mask


def plain(
    layer: LigandConditioner,
    s: torch.Tensor,
    frames: Frames,
    points: torch.Tensor,
    types: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Multi-head attention as it is written in textbooks: keys and values of every token for every residue."""
    R, t = frames
    local = torch.einsum("bnji,bnmj->bnmi", R, points[:, None] - t[:, :, None]) / 10
    token = layer.embed(torch.cat([local, types[:, None].expand(-1, s.shape[1], -1, -1)], -1))
    q = layer.query(layer.norm(s)).unflatten(-1, (HEADS, -1))
    k, v = (linear(token).unflatten(-1, (HEADS, -1)) for linear in (layer.key, layer.value))
    logits = torch.einsum("bnhc,bnmhc->bnhm", q, k) / math.sqrt(D_LIG // HEADS)
    weights = torch.softmax(logits.masked_fill(~mask[:, None, None], -torch.inf), -1)
    found = layer.out(torch.einsum("bnhm,bnmhc->bnhc", weights, v).flatten(-2))
    return (1 + layer.gamma(found)) * s + layer.beta(found)


def test_products_moved_to_the_residues_give_plain_attention() -> None:
    layer, (s, frames, points, types, mask) = conditioner(), inputs()
    torch.testing.assert_close(
        layer(s, frames, points, types, mask, 0), plain(layer, s, frames, points, types, mask), atol=1e-4, rtol=1e-4
    )


def test_residues_out_of_reach_stay_and_those_in_reach_do_not_notice_the_limit() -> None:
    layer, (s, frames, points, types, mask) = conditioner(reach=9.0), inputs()
    distance = (points[:, None] - frames[1][:, :, None]).norm(dim=-1).masked_fill(~mask[:, None], math.inf).amin(-1)
    near, far = distance < 7.0, distance > 9.0
    assert near.any()
    assert far.any()
    out = layer(s, frames, points, types, mask, 0)
    torch.testing.assert_close(out[near], plain(layer, s, frames, points, types, mask)[near], atol=1e-4, rtol=1e-4)
    assert torch.equal(out[far], s[far])


@pytest.mark.parametrize("distance", [9.0, 7.0])
def test_the_reach_ends_without_a_jump(distance: float) -> None:
    layer, (s, (R, t), points, types, mask) = conditioner(reach=9.0), inputs()
    places = torch.zeros_like(t)
    places[..., 0] = 1000.0
    nearest = points[0, 0] * 0
    points = torch.cat([nearest.expand(2, 1, 3), points[:, 1:] * 0 - 500.0], 1)

    def at(x: float) -> torch.Tensor:
        moved = places.clone()
        moved[0, 0] = torch.tensor([x, 0.0, 0.0])
        out: torch.Tensor = layer(s, (R, moved), points, types, mask, 0)[0, 0]
        return out

    step = (at(distance + 1e-3) - at(distance - 1e-3)).abs().max()
    assert step < 0.01 * (at(5.0) - s[0, 0]).abs().max()


def test_no_token_in_reach_of_anything() -> None:
    layer, (s, frames, points, types, mask) = conditioner(reach=9.0), inputs()
    assert torch.equal(layer(s, frames, points + 500.0, types, mask, 0), s)
    assert torch.equal(layer(s, frames, points, types, torch.zeros_like(mask), 0), s)
