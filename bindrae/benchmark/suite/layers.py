"""The attention layers that part `attention` compares, all with the same sizes, weights and inputs.

As a command it measures one of them in a process of its own, whose peak memory is the layer's:
``python -m bindrae.benchmark.suite.layers sdpa 2048 fp32 train``.
"""

from __future__ import annotations

import importlib
import resource
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bindrae.benchmark.suite.nxn import AllPairsAttention, pair_representation
from bindrae.config import ModelSettings
from bindrae.errors import BindraeError
from bindrae.geometry.rigid import axis_angle_to_matrix
from bindrae.model.attention import InvariantPointAttention
from bindrae.usage import peak_memory_mb

REFERENCE, FUSED, PAIRS, PAIRS_OUT = "reference", "sdpa", "N x N", "N x N, multiplied out"
LIBRARY, LIBRARY_PAIRS = "flash_ipa's layer over torch's attention", "flash_ipa's N x N layer"
OURS, THEIRS = (FUSED, PAIRS, PAIRS_OUT, REFERENCE), (LIBRARY, LIBRARY_PAIRS)
OVER_PAIRS = (PAIRS, PAIRS_OUT, LIBRARY_PAIRS)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MODES = ("forward", "train")
_WARM = 32

Task = Callable[[], Tensor]


def layer_of(settings: ModelSettings, backend: str) -> InvariantPointAttention:
    """A layer of a model's sizes; the weights are the same each time, and none of them is 0."""
    torch.manual_seed(0)
    layer = InvariantPointAttention(
        settings.c_s, settings.c_z, settings.c_hidden, settings.heads, settings.qk_points, settings.v_points,
        settings.z_rank, backend,
    )  # fmt: skip
    nn.init.normal_(layer.linear_out.weight, std=settings.c_s**-0.5)
    return layer


def task(
    name: str, n: int, dtype: str, mode: str, checkout: Path | None = None, exact: bool = False,
    settings: ModelSettings | None = None,
) -> Task:  # fmt: skip
    """One layer on `n` random residues, and its backward pass when `mode` is ``train``.

    Parameters
    ----------
    name : str
        One of `OURS` or `THEIRS`.
    n : int
    dtype : {"fp32", "bf16"}
        Autocast of bf16, as in training.
    mode : {"forward", "train"}
    checkout : Path, optional
        Of flash_ipa; its layers need it.
    exact : bool
        Give layers over pairs the z of the factors, with which they compute what the others do. It takes more memory
        to make than the layer itself; without, z is random.
    settings : ModelSettings, optional
        By default those of the default model.

    Returns
    -------
    callable
        Gives the layer's output [1, n, c_s].
    """
    settings = settings or ModelSettings()
    layer = layer_of(settings, REFERENCE if name == REFERENCE else FUSED)
    g = torch.Generator().manual_seed(1)
    s = torch.randn(1, n, settings.c_s, generator=g)
    z1, z2 = (torch.randn(1, n, settings.z_rank, settings.c_z, generator=g) for _ in range(2))
    frames = axis_angle_to_matrix(torch.randn(1, n, 3, generator=g)), 2 * torch.randn(1, n, 3, generator=g)
    edges = [z1, z2]
    if name in OVER_PAIRS:
        edges = [pair_representation(layer, z1, z2) if exact else torch.randn(1, n, n, settings.c_z, generator=g)]
    inputs = [x.requires_grad_(mode == "train") for x in (s, *edges)]
    mask = torch.ones(1, n, dtype=torch.bool)
    run: Callable[..., Tensor]
    if name in THEIRS:
        run = _library(layer, name, dtype, checkout)
    elif name in OVER_PAIRS:
        run = AllPairsAttention(layer, name == PAIRS_OUT)
    else:
        run = layer

    def once() -> Tensor:
        with torch.set_grad_enabled(mode == "train"):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
                out = run(*inputs, frames, mask)
            if mode == "train":
                out.float().square().mean().backward()
        return out.detach()

    return once


def _library(layer: InvariantPointAttention, name: str, dtype: str, checkout: Path | None) -> Callable[..., Tensor]:
    """flash_ipa's layer with the parameters of ours, as a function of (s, edges..., frames, mask)."""
    ipa, rigid = load_library(checkout)
    config = ipa.IPAConfig(
        use_flash_attn=name == LIBRARY, attn_dtype=dtype, c_s=layer.c_s, c_z=layer.c_z, c_hidden=layer.c_hidden,
        no_heads=layer.heads, z_factor_rank=layer.z_rank, no_qk_points=layer.qk_points, no_v_points=layer.v_points,
    )  # fmt: skip
    theirs = ipa.InvariantPointAttention(config)
    theirs.load_state_dict(layer.state_dict())
    if name == LIBRARY:
        return lambda s, z1, z2, frames, mask: theirs(s, None, z1, z2, rigid.create_rigid(*frames), mask)
    return lambda s, z, frames, mask: theirs(s, z, None, None, rigid.create_rigid(*frames), mask.float())


def load_library(checkout: Path | None) -> tuple[Any, Any]:
    """The modules `ipa` and `rigid` of a checkout of flash_ipa; where there is no FlashAttention, torch's stands in.

    Raises
    ------
    BindraeError
        When they cannot be imported.
    """
    source = (checkout or Path()) / "src"
    if not (source / "flash_ipa" / "ipa.py").is_file():
        raise BindraeError(
            f"--flash-ipa: {checkout} is no checkout of flash_ipa (it holds no src/flash_ipa/ipa.py)",
            "git clone https://github.com/flagshippioneering/flash_ipa, and name that folder",
        )
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    sys.modules["flash_attn"] = _flash_attention()
    try:
        return importlib.import_module("flash_ipa.ipa"), importlib.import_module("flash_ipa.rigid")
    except ImportError as error:
        raise BindraeError(
            f"--flash-ipa: flash_ipa in {checkout} cannot be imported: {error}",
            "install what is missing beside bindrae (it asks for einops, beartype and jaxtyping)",
        ) from error


def _flash_attention() -> types.ModuleType:
    """A module `flash_attn` with the function that flash_ipa calls, computed by torch on the CPU."""
    module = types.ModuleType("flash_attn")

    def packed(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, softmax_scale: float) -> Tensor:
        """[T, 3, H, C] of sequences one after the other to [T, H, C]."""
        found = []
        for part in qkv.split(cu_seqlens.diff().tolist()):
            q, k, v = part.permute(1, 2, 0, 3).unsqueeze(1)  # [1, H, N, C]
            found.append(nn.functional.scaled_dot_product_attention(q, k, v, scale=softmax_scale)[0].transpose(0, 1))
        return found[0] if len(found) == 1 else torch.cat(found)

    # The other one is imported and, with packed queries, never called.
    module.flash_attn_varlen_qkvpacked_func = packed  # type: ignore[attr-defined]
    module.flash_attn_varlen_func = None  # type: ignore[attr-defined]
    return module


def measure(name: str, n: int, dtype: str, mode: str, checkout: Path | None = None) -> tuple[float, float, float]:
    """One run in this process.

    Returns
    -------
    peak : float
        MB above the start, inputs included.
    seconds : float
        Of the processor.
    kernel : float
        Share of the seconds in which the kernel worked for the process, by far most of it to hand out memory.
    """
    torch.set_num_threads(1)
    task(name, _WARM, dtype, mode, checkout)()
    before = peak_memory_mb()
    once = task(name, n, dtype, mode, checkout)
    start = resource.getrusage(resource.RUSAGE_SELF)
    once()
    end = resource.getrusage(resource.RUSAGE_SELF)
    user, system = end.ru_utime - start.ru_utime, end.ru_stime - start.ru_stime
    return peak_memory_mb() - before, user + system, system / max(user + system, 1e-9)


def main(arguments: list[str]) -> None:
    """Print what `measure` finds."""
    name, n, dtype, mode, *checkout = arguments
    print(*measure(name, int(n), dtype, mode, Path(checkout[0]) if checkout else None))


if __name__ == "__main__":
    main(sys.argv[1:])
