"""Attention in blocks against the formula in double precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from bindrae.model import blockwise
from bindrae.model.blockwise import attend
from tests.model.test_attention import inputs, random_layer

# Several short heads at once in groups of unequal size, one block a head, several blocks of unequal size.
SIZES = [(3, 1), (2, 7), (2, 200), (1, blockwise._SHORT), (1, 600)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def operands(batch: int, n: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[Tensor]:
    g = torch.Generator().manual_seed(n)
    widths = (8, 8, 24)
    return [(scale * torch.randn(batch, 3, n, width, generator=g)).to(dtype).requires_grad_() for width in widths]


def formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query.double() @ key.double().mT, -1) @ value.double()


def gradients(out: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    # As the layer does: what comes back is a view of something else.
    weight = torch.randn(out.transpose(1, 2).shape, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    return torch.autograd.grad((out * weight).sum(), tensors)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(("batch", "n"), SIZES)
def test_blocks_give_the_formula(monkeypatch: pytest.MonkeyPatch, batch: int, n: int, onednn: bool) -> None:
    monkeypatch.setattr(blockwise, "_ONEDNN", blockwise._ONEDNN and onednn)
    monkeypatch.setattr(blockwise, "_SHORT_WEIGHTS", 4 * 7 * 7)  # four heads of six at 7 residues, then two
    tensors = operands(batch, n)
    out, expected = attend(*tensors), formula(*tensors)
    torch.testing.assert_close(out, expected.float(), atol=1e-5, rtol=1e-5)
    for found, wanted in zip(gradients(out, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5 * float(wanted.abs().max()) + 1e-7, rtol=1e-4)


@pytest.mark.parametrize("short", [1, 100])
def test_gradients_are_slopes(monkeypatch: pytest.MonkeyPatch, short: int) -> None:
    monkeypatch.setattr(blockwise, "_SHORT", short)
    monkeypatch.setattr(blockwise, "_QUERIES", 4)
    assert torch.autograd.gradcheck(attend, operands(1, 9, torch.float64))


@pytest.mark.parametrize("n", [40, 300])
def test_extreme_logits_and_masked_rows_are_safe(n: int) -> None:
    query, key, value = operands(1, n)
    with torch.no_grad():
        query[0, 0] *= 1e4  # one key takes all
        key[0, 1, :, 0], query[0, 1, :, 0] = -1e9, 1.0  # every key is masked
        key[0, 2, n // 2 :, 0], query[0, 2, :, 0] = -1e9, 1.0
    out = attend(query, key, value)
    expected = formula(query, key, value)
    torch.testing.assert_close(out[0, 2], expected[0, 2].float(), atol=1e-5, rtol=1e-5)
    assert (out.abs().amax((2, 3)) <= value.abs().amax((2, 3)) + 1e-5).all()
    of_query, of_key, of_value = gradients(out, [query, key, value])
    assert all(torch.isfinite(x).all() for x in (out, of_query, of_key, of_value))
    assert of_value[0, 2, : n // 2].abs().min() > 0
    assert of_value[0, 2, n // 2 :].abs().max() == 0
    assert of_key[0, 2, n // 2 :].abs().max() == 0


@pytest.mark.parametrize("n", [60, 500])
def test_nothing_of_the_size_of_the_weights_is_kept(n: int) -> None:
    kept: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    tensors = operands(1, n)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = attend(*tensors)
    assert sorted(kept) == sorted(x.numel() for x in tensors)
    out.sum().backward()


@pytest.mark.parametrize("n", [60, 500])
def test_the_same_bits_each_time_and_without_gradients(n: int) -> None:
    tensors = operands(2, n)
    first, second = (attend(*tensors) for _ in range(2))
    assert torch.equal(first, second)
    for a, b in zip(gradients(first, tensors), gradients(second, tensors), strict=True):
        assert torch.equal(a, b)
    with torch.inference_mode():
        assert torch.equal(attend(*tensors), first)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("n", [40, 300])
def test_weights_stay_exact_under_autocast(monkeypatch: pytest.MonkeyPatch, n: int, onednn: bool) -> None:
    monkeypatch.setattr(blockwise, "_ONEDNN", blockwise._ONEDNN and onednn)
    layer = random_layer("sdpa")
    called: list[Tensor] = []

    def spy(*tensors: Tensor) -> Tensor:
        out = attend(*tensors)
        called.extend((*tensors, out))
        return out

    monkeypatch.setattr("bindrae.model.attention.attend", spy)
    s, z1, z2, frames, mask = inputs(n)
    with torch.autocast("cpu", torch.bfloat16):
        layer(s, z1, z2, frames, mask)
    query, key, value, out = called
    assert {x.dtype for x in called} == {torch.float32}
    torch.testing.assert_close(out, formula(query, key, value).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("what", ["a compiled graph", "several threads"])
def test_elsewhere_it_is_torchs_attention(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    layer = random_layer("sdpa")
    s, z1, z2, frames, mask = inputs(20)
    own = layer(s, z1, z2, frames, mask)[mask]
    monkeypatch.setattr("bindrae.model.attention.attend", lambda *_: pytest.fail(f"blocks in {what}"))
    if what == "several threads":
        torch.set_num_threads(2)
    else:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(layer(s, z1, z2, frames, mask)[mask], own, atol=1e-5, rtol=1e-4)
