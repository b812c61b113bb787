"""Messages taken through the cache in chunks against the same formula at once, and radial functions likewise."""

from __future__ import annotations

import pytest
import torch

from bindrae.model import messages, radial
from bindrae.model.messages import Messages
from bindrae.model.radial import RadialLinear

B, N, K, WIDTH, C_S = 2, 23, 7, 16, 12


def layer(from_residues: bool, update_edges: bool, dtype: torch.dtype) -> Messages:
    torch.manual_seed(0)
    made = Messages(C_S, WIDTH, from_residues, 0.0, update_edges).to(dtype)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    s = torch.randn(B, N, C_S, generator=g, dtype=dtype).requires_grad_()
    edge = torch.randn(B, N, K, WIDTH, generator=g, dtype=dtype).requires_grad_()
    weight = torch.rand(B, N, K, generator=g, dtype=dtype)
    weight[0, 3] = 0  # a residue without neighbours
    return s, edge, weight, torch.randint(N, (B, N, K), generator=g)


@pytest.mark.parametrize(("from_residues", "update_edges"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("chunk", [1, 30, 10_000])
def test_chunks_give_the_result_and_the_gradients_of_the_whole(
    from_residues: bool, update_edges: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_CHUNK_EDGES", chunk)
    made = layer(from_residues, update_edges, torch.float64)
    s, edge, weight, index = inputs(torch.float64)
    wanted = [s, edge, *made.parameters()]
    found = []
    for at_once in (False, True):
        with monkeypatch.context() as patch:
            if at_once:
                patch.setattr(Messages, "_in_chunks", Messages._at_once)
            out, changed = made(s, edge, weight, index if from_residues else None)
        total = (out * torch.arange(C_S)).sum() + changed.pow(2).sum()
        found.append((out, changed, *torch.autograd.grad(total, wanted, allow_unused=True)))
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_edges_without_a_use_get_their_gradient_from_the_messages_alone() -> None:
    made = layer(True, True, torch.float64)
    s, edge, weight, index = inputs(torch.float64)
    out, _ = made(s, edge, weight, index)
    (gradient,) = torch.autograd.grad(out.sum(), edge)
    assert gradient.abs().sum(-1)[weight > 0.1].min() > 0
    assert gradient[0, 3].abs().max() == 0


def test_chunks_run_in_half_precision_close_to_the_exact_result() -> None:
    made = layer(True, True, torch.float32)
    s, edge, weight, index = inputs(torch.float32)
    exact, exact_edge = made(s, edge, weight, index)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_edge = made(s, edge.bfloat16(), weight, index)
    assert rough_edge.dtype == torch.bfloat16
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()
    assert (rough_edge - exact_edge).abs().max() < 0.05 * exact_edge.abs().max()
    rough.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in (made.edge.weight, made.hidden.bias))


@pytest.mark.parametrize("values", [1, 200, 1 << 20])
def test_radial_functions_are_mapped_as_if_they_were_held(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radial, "_CHUNK_VALUES", {"cpu": values})
    torch.manual_seed(0)
    made = RadialLinear(5, 8, 6).double()
    distance = torch.rand(3, 11, 5, dtype=torch.float64) * 22
    held = made.rbf(distance).flatten(-2)
    torch.testing.assert_close(made(distance), held @ made.weight.T)
    slope = torch.randn(3, 11, 6, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(made(distance), made.weight, slope)
    torch.testing.assert_close(gradient, torch.einsum("abo,abi->oi", slope, held))


def test_radial_functions_pass_a_gradient_to_distances_that_want_one() -> None:
    made = RadialLinear(2, 4, 3).double()
    distance = (torch.rand(4, 2, dtype=torch.float64) * 15 + 1).requires_grad_()
    assert torch.autograd.gradcheck(made, distance)


def test_radial_maps_begin_at_zero_when_asked() -> None:
    assert RadialLinear(2, 4, 3, zero=True)(torch.rand(5, 2)).abs().max() == 0
    assert RadialLinear(2, 4, 3)(torch.rand(5, 2)).abs().max() > 0
