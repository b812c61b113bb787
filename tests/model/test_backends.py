"""The flash_ipa adapter against a stand-in with the library's signatures, and half precision."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch

from bindrae.model.attention import InvariantPointAttention
from bindrae.model.gpu_check import main
from tests.batches import random_batch, random_rotation
from tests.ipa_config import IPAConfig
from tests.model.test_attention import inputs, random_layer
from tests.model.test_stage1 import build, continuous, move, run


class _Layer(torch.nn.Module):
    """flash_ipa's layer as its caller sees it: parameters by its names, call (s, z, z1, z2, rigid, mask)."""

    def __init__(self, config: IPAConfig) -> None:
        super().__init__()
        inner = InvariantPointAttention(
            config.c_s, config.c_z, config.c_hidden, config.no_heads, config.no_qk_points, config.no_v_points,
            config.z_factor_rank, "reference",
        )  # fmt: skip
        for name, child in inner.named_children():
            self.add_module(name, child)
        self.head_weights = inner.head_weights
        self.config, self.inner = config, [inner]
        assert config.use_flash_attn

    def forward(self, s, z, z_factor_1, z_factor_2, r, mask):  # type: ignore[no-untyped-def]
        assert z is None
        inner = self.inner[0]
        for name in (
            "linear_q",
            "linear_kv",
            "linear_q_points",
            "linear_kv_points",
            "linear_b",
            "down_z",
            "linear_out",
        ):
            setattr(inner, name, getattr(self, name))
        inner.__dict__["_parameters"]["head_weights"] = self.head_weights
        return inner(s, z_factor_1, z_factor_2, (r.rots, r.trans), mask)


@dataclass
class _Rigid:
    rots: torch.Tensor
    trans: torch.Tensor


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    package, ipa, rigid = ModuleType("flash_ipa"), ModuleType("flash_ipa.ipa"), ModuleType("flash_ipa.rigid")
    ipa.InvariantPointAttention, ipa.IPAConfig, rigid.create_rigid = _Layer, IPAConfig, _Rigid
    for module in (package, ipa, rigid):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_library_is_called_with_this_layers_parameters(library: None) -> None:
    layer, oracle = random_layer("flash_ipa"), random_layer("reference")
    s, z1, z2, frames, mask = inputs(12)
    out = layer(s, z1, z2, frames, mask)[mask]
    torch.testing.assert_close(out, oracle(s, z1, z2, frames, mask)[mask])
    out.square().sum().backward()
    missing = [name for name, p in layer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []
    assert set(layer.state_dict()) == set(oracle.state_dict())


def test_a_missing_library_is_an_error_not_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_ipa", None)
    with pytest.raises(ImportError):
        random_layer("flash_ipa")(*inputs(5))


@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
def test_rigid_motion_in_bf16_stays_within_a_bound_that_does_not_grow_with_the_offset(offset: float) -> None:
    model, batch = build(), random_batch(40)
    t = torch.tensor([offset, offset, -offset])
    other = move(batch, random_rotation(5), t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        still, moved = run(model, batch), run(model, other)
    # Of chi1: the others follow the chi1 that was decoded, which may flip.
    exact, at_rest, in_motion = (continuous(x)[:, :, 0] for x in (run(model, batch), still, moved))
    scale = exact.std()
    # A number of 8 bits that the rotation carries over a rounding boundary moves by 0.4 %; a few layers add them up.
    assert (in_motion - at_rest).abs().mean() < 0.02 * scale
    assert (at_rest - exact).abs().mean() < 0.01 * scale
    gap = (moved.frames[1] - (still.frames[1] @ random_rotation(5).T + t)).abs().max()
    assert gap < 0.02  # angstrom: frames themselves are never rounded to half precision


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: run `make gpu-check` instead")
def test_the_gpu_check_says_that_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 2
    assert "run it on a GPU node" in capsys.readouterr().err
