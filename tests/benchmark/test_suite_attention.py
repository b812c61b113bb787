"""The layer over all pairs against the reference, and part `attention` of the benchmark."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bindrae.benchmark.suite import attention, layers
from bindrae.benchmark.suite.attention import Case
from bindrae.benchmark.suite.nxn import AllPairsAttention, pair_representation
from bindrae.benchmark.suite.options import Options
from bindrae.config import ModelSettings
from bindrae.errors import BindraeError
from tests.ipa_config import IPAConfig
from tests.model.test_attention import inputs, random_layer

SMALL = ModelSettings(c_s=32, c_z=16, c_hidden=8, heads=4, qk_points=2, v_points=3)
LIBRARY = f"""
from dataclasses import dataclass
from flash_attn import flash_attn_varlen_qkvpacked_func, flash_attn_varlen_func
from bindrae.benchmark.suite.nxn import AllPairsAttention
from bindrae.model.attention import InvariantPointAttention as Ours

{inspect.getsource(IPAConfig)}

class InvariantPointAttention(Ours):
    def __init__(self, c):
        super().__init__(c.c_s, c.c_z, c.c_hidden, c.no_heads, c.no_qk_points, c.no_v_points, c.z_factor_rank)
        self.fused = c.use_flash_attn

    def forward(self, s, z, z1, z2, rigid, mask):
        assert (z is None) == self.fused
        if self.fused:
            return super().forward(s, z1, z2, rigid, mask)
        return AllPairsAttention(self)(s, z, rigid, mask.bool())
"""


@pytest.mark.parametrize("multiply_out", [False, True])
@pytest.mark.parametrize(("c_hidden", "rank"), [(16, 2), (8, 5)])
def test_all_pairs_give_what_the_reference_gives(multiply_out: bool, c_hidden: int, rank: int) -> None:
    s, z1, z2, frames, mask = inputs(24, rank)
    outputs, gradients = [], []
    for pairs in (False, True):
        layer = random_layer("reference", c_hidden, rank)
        here = s.clone().requires_grad_()
        if pairs:
            z = pair_representation(layer, z1, z2).requires_grad_()
            out = AllPairsAttention(layer, multiply_out)(here, z, frames, mask)[mask]
        else:
            out = layer(here, z1, z2, frames, mask)[mask]
        out.square().mean().backward()
        outputs.append(out.detach())
        # What acts on factors in one form and on z in the other has other gradients.
        own = {name: p.grad for name, p in layer.named_parameters() if "linear_b" not in name and "down_z" not in name}
        gradients.append({"s": here.grad, **own})
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)
    assert z.grad is not None
    assert (z.grad[0] != 0).any(-1).all()
    assert (z.grad[1, 0, 12:] == 0).all()  # padding
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5, rtol=1e-3, msg=name)


def test_gradient_of_z_is_the_slope() -> None:
    layer = random_layer("reference")
    s, z1, z2, frames, mask = inputs(12)
    z = pair_representation(layer, z1, z2).requires_grad_()
    pairs = AllPairsAttention(layer)
    pairs(s, z, frames, mask)[mask].square().sum().backward()
    step = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        above, below = (float(pairs(s, z + h * step, frames, mask)[mask].square().sum()) for h in (1e-2, -1e-2))
    assert (above - below) / 2e-2 == pytest.approx(float((z.grad * step).sum()), rel=1e-2)  # type: ignore[operator]


def test_nothing_larger_than_z_is_kept_when_squares_are_multiplied_out() -> None:
    n, settings = 64, ModelSettings()  # z is larger than any of the weights
    largest = {}
    for name in (layers.PAIRS, layers.PAIRS_OUT):
        kept: list[int] = []

        def keep(x: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            layers.task(name, n, "fp32", "train")()
        largest[name] = max(kept)
    assert largest[layers.PAIRS_OUT] == n * n * settings.c_z
    assert largest[layers.PAIRS] == n * n * settings.heads * 3 * settings.qk_points


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_all_layers_are_one_layer(dtype: str) -> None:
    outputs = {name: layers.task(name, 24, dtype, "train", exact=True, settings=SMALL)() for name in layers.OURS}
    expected = layers.task(layers.REFERENCE, 24, "fp32", "forward", settings=SMALL)()
    for out in outputs.values():
        assert (out - expected).abs().max() < (1e-5 if dtype == "fp32" else 0.1) * expected.abs().max()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "src" / "flash_ipa"
    package.mkdir(parents=True)
    (package / "ipa.py").write_text(LIBRARY)
    (package / "rigid.py").write_text("def create_rigid(R, t):\n    return R, t\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("flash_attn", "flash_ipa", "flash_ipa.ipa", "flash_ipa.rigid"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("flash_attn", "flash_ipa", "flash_ipa.ipa", "flash_ipa.rigid"):
        sys.modules.pop(name, None)


def test_the_library_has_our_weights_and_torchs_attention(checkout: Path) -> None:
    for name in layers.THEIRS:
        out = layers.task(name, 24, "fp32", "train", checkout, exact=True)()
        expected = layers.task(layers.REFERENCE, 24, "fp32", "forward")()
        torch.testing.assert_close(out, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    packed = sys.modules["flash_attn"].flash_attn_varlen_qkvpacked_func
    qkv = torch.randn(7, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    out = packed(qkv, cu_seqlens=torch.tensor([0, 3, 7]), max_seqlen=4, softmax_scale=1)
    for part in (slice(0, 3), slice(3, 7)):
        q, k, v = qkv[part].unbind(1)
        weights = torch.softmax(torch.einsum("ihc,jhc->hij", q, k), -1)
        torch.testing.assert_close(out[part], torch.einsum("hij,jhc->ihc", weights, v))


def test_a_checkout_that_cannot_be_used_is_named(checkout: Path) -> None:
    with pytest.raises(BindraeError, match="is no checkout of flash_ipa"):
        layers.load_library(checkout / "src")
    (checkout / "src/flash_ipa/ipa.py").write_text("import no_such_package_anywhere")
    with pytest.raises(BindraeError, match=r"no_such_package_anywhere(.|\n)*einops"):
        layers.load_library(checkout)


def test_peak_memory_is_the_layers_own() -> None:
    big = torch.zeros(100_000_000)  # what this process holds is no part of it
    z = 512**2 * ModelSettings().c_z * 4 / 2**20
    peak, seconds, kernel = attention._in_a_process(layers.PAIRS_OUT, 512, "fp32", "forward", None)
    assert z < peak < 3 * z
    assert seconds > 0
    assert 0 <= kernel <= 1
    assert big.sum() == 0


def fake_process(name: str, n: int, dtype: str, mode: str, checkout: Path | None) -> tuple[float, float, float]:
    """Peak, seconds and kernel's share as they would grow: N x N layers take 4 MB at 8 residues, ours 1 MB."""
    return n / 8 if name == layers.FUSED else n * n / 16, 99.0 if name == layers.REFERENCE else 0.4, 0.5


def test_layers_are_measured_up_to_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_in_a_process", fake_process)
    monkeypatch.setattr(attention, "_MOST_MB", 100.0)
    names = (layers.FUSED, layers.PAIRS, layers.REFERENCE)
    costs = attention.measure(names, (8, 16, 32, 64, 128), "fp32", "forward", 3)
    assert {case.n for case in costs if case.name == layers.FUSED} == {8, 16, 32, 64, 128}
    assert {case.n for case in costs if case.name == layers.PAIRS} == {8, 16, 32}  # 64 MB there, 256 at 64
    once, several = (costs[Case(name, 32, "fp32", "forward")].seconds for name in (layers.REFERENCE, layers.PAIRS))
    assert (once.runs, once.median) == (1, 99.0)
    assert several.runs == 3
    monkeypatch.setattr(attention, "_LEAST_SECONDS", 8.0)
    (cost,) = attention.measure((layers.FUSED,), (8,), "fp32", "forward", 3).values()
    assert cost.seconds.runs == 20


def test_the_part_compares_all_layers(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setattr(attention, "_in_a_process", fake_process)
    monkeypatch.setattr(attention, "_QUICK_SIZES", (8, 16))
    part = attention.run(Options(quick=True, flash_ipa=checkout))
    assert set(part.ratios) == set(part.words)
    assert part.ratios["memory_ratio_vs_nxn"] == {"8": 4.0, "16": 8.0}
    assert part.ratios["memory_growth"] == {"8": 2.0}
    assert len(part.tables) == 1 + 2 * 2 * 2 + 1
    assert all(float(row[1]) < 100 for row in part.tables[0].rows)  # type: ignore[arg-type]
    assert [len(plot.series) for plot in part.plots] == [6, 6]
    alone = attention.run(Options(quick=True))
    assert not any("flash_ipa" in name for name in alone.ratios)
    assert "not in this run" in alone.remarks[-1]


def test_the_arithmetic_floor_counts_the_products_of_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "matmul_rate", lambda dtype: 1.0)
    n, settings = 48, SMALL
    key, value = 8 + 6 + 1 + 2, 8 + 9 + 2 * 4
    q, k, v = (torch.randn(settings.heads, n, width, requires_grad=True) for width in (key, key, value))
    layer = layers.layer_of(settings, layers.FUSED)
    linears = [layer.linear_q, layer.linear_kv, layer.linear_q_points, layer.linear_kv_points]
    s, z = torch.randn(n, settings.c_s, requires_grad=True), torch.randn(n, 4, settings.c_z, requires_grad=True)
    features = torch.randn(n, layer.linear_out.in_features, requires_grad=True)

    def products() -> torch.Tensor:
        attended = torch.softmax(q @ k.mT, -1) @ v
        linear = [linear(s) for linear in linears] + [layer.linear_b(z), layer.down_z(z), layer.linear_out(features)]
        return torch.stack([x.sum() for x in (attended, *linear)]).sum()

    with FlopCounterMode(display=False) as forward:
        total = products()
    with FlopCounterMode(display=False) as back:
        total.backward()
    assert attention.floors(n, settings, "fp32", "forward")[0] == forward.get_total_flops()
    assert attention.floors(n, settings, "fp32", "train")[0] == forward.get_total_flops() + back.get_total_flops()
