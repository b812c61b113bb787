"""Part `attention`: time and memory of one attention layer, beside layers over all pairs and flash_ipa's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bindrae.benchmark.suite import layers
from bindrae.benchmark.suite.layers import FUSED, LIBRARY, LIBRARY_PAIRS, PAIRS, PAIRS_OUT, REFERENCE, task
from bindrae.benchmark.suite.machine import copy_bandwidth, matmul_rate
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Plot, Table
from bindrae.benchmark.suite.timing import Timing, alternate, one_thread, ratio, summarise
from bindrae.benchmark.suite.words import spread
from bindrae.config import ModelSettings

_SIZES, _QUICK_SIZES = (128, 256, 512, 1024, 2048, 4096, 8192, 16384), (128, 256)
_MOST_MB = 20_000.0
_RUNS, _ROUNDS_SECONDS = 5, 45.0  # rounds, and how long those of one size may take; never less than two rounds
_MOST_RUNS, _LEAST_SECONDS = 25, 1.0  # more rounds where they are short
_LONG = 30.0  # seconds above which a task runs once, alone
_COMPARED = 64  # residues on which the layers' outputs are compared
_WORDS = {
    "nxn": (PAIRS, "the paper's formula over all pairs"),
    "nxn_multiplied_out": (PAIRS_OUT, "the same with the points' squares multiplied out"),
    "flash_ipa": (LIBRARY, LIBRARY),
    "flash_ipa_nxn": (LIBRARY_PAIRS, LIBRARY_PAIRS),
}


class Case(NamedTuple):
    """One layer at one size."""

    name: str
    n: int
    dtype: str
    mode: str


class Cost(NamedTuple):
    """What a case takes."""

    peak: float  # MB above the process's start
    seconds: Timing  # of the processor
    kernel: float  # share of a first run's seconds


Costs = dict[Case, Cost]


def run(options: Options) -> Part:
    """Measure all layers at all sizes that fit.

    Raises
    ------
    BindraeError
        When the checkout of `options.flash_ipa` cannot be used.
    """
    if options.flash_ipa is not None:
        layers.load_library(options.flash_ipa)
    names = layers.OURS + (layers.THEIRS if options.flash_ipa else ())
    sizes, runs = (_QUICK_SIZES, 2) if options.quick else (_SIZES, _RUNS)
    costs: Costs = {}
    with one_thread():
        for dtype in layers.DTYPES:
            for mode in layers.MODES:
                costs |= measure(names, sizes, dtype, mode, runs, options.flash_ipa)
    part = Part(
        name="attention",
        about="One attention layer of the default model's sizes on one thread, forward and with its backward pass, in "
        "fp32 and under bf16 autocast. `sdpa` is the layer that is trained and shipped: factorised, block by block. "
        f"`{REFERENCE}` is its oracle. `{PAIRS}` is the layer of AlphaFold 2, which is given an N x N pair "
        f"representation; `{PAIRS_OUT}` is the same without a tensor of differences of points. All have the same "
        "weights and give the same output.",
        settings={"sizes": list(sizes), "runs": runs, "most_mb": _MOST_MB, "flash_ipa": options.flash_ipa is not None},
        ratios=_ratios(costs, sizes),
        words={
            **{f"time_ratio_vs_{key}": f"seconds of {what} over those of sdpa" for key, (_, what) in _WORDS.items()},
            **{f"memory_ratio_vs_{key}": f"peak memory of {what} over sdpa's" for key, (_, what) in _WORDS.items()},
            "memory_growth": "peak memory of sdpa at 2 N over that at N",
            "time_vs_floor": "seconds of sdpa over the larger of the two floors",
        },
        remarks=[
            "Ratios are those of forward and backward pass in fp32, by number of residues.",
            f"A layer is measured up to what fits {_MOST_MB / 1000:.0f} GB and 80 % of the free memory. What takes "
            f"more than {_LONG:.0f} s runs once, alone; the others run in turn in one process.",
            "Peak memory is that of a process of its own for each figure, above what it had taken after a small "
            "layer's first run. Inputs and their gradients count: edge factors for ours, z [N, N, c_z] over pairs.",
            "The arithmetic floor is that of the layer's own products (logits and values at their true widths, no "
            "padding, nothing computed twice) and linear layers at the highest rate of a large product; the floor of "
            "bytes reads inputs and parameters and writes what is asked for, once, at the rate of a large copy.",
        ],
    )
    if options.flash_ipa is None:
        part.remarks.append(
            "flash_ipa was not measured (--flash-ipa PATH). Recorded before, on another machine and not in this run: "
            "its layer over torch's attention took 1/48 of the time and 1/27 of the memory of a layer over all pairs "
            "at 2,048 residues, forward and backward."
        )
    part.tables = [_agreement(names, options.flash_ipa)]
    for dtype in layers.DTYPES:
        for mode in layers.MODES:
            part.tables += _tables(costs, names, sizes, dtype, mode)
    part.tables.append(
        Table(
            "Share of the kernel in the processor's time, %, fp32, forward and backward",
            ["residues", *names],
            [
                [n, *(None if cost is None else 100 * cost.kernel for cost in found)]
                for n in sizes
                if (found := [costs.get(Case(name, n, "fp32", "train")) for name in names])
            ],
            "Of a first run. Large tensors are asked of the kernel and given back each time they are made; layers over "
            "all pairs pay for that with much of their time, more on a virtual machine.",
        )
    )
    for what, unit in (("time", "s"), ("memory", "MB")):
        curves = {
            name: [
                (float(n), costs[case].seconds.median if unit == "s" else costs[case].peak)
                for n in sizes
                if (case := Case(name, n, "fp32", "train")) in costs
            ]
            for name in names
        }
        part.plots.append(Plot(f"attention-{what}", f"Attention layer, {what}, fp32, backward included", "residues",
                               unit, curves))  # fmt: skip
    return part


def measure(
    names: Sequence[str], sizes: Sequence[int], dtype: str, mode: str, runs: int, checkout: Path | None = None
) -> Costs:
    """Memory of each layer in a process of its own, then the times of all in turn, up to what fits.

    Parameters
    ----------
    names : sequence of str
    sizes : sequence of int
        Residues, rising.
    dtype, mode : str
    runs : int
        Rounds, fewer where they are long and more where they are short.
    checkout : Path, optional
        Of flash_ipa.
    """
    costs: Costs = {}
    expected = dict.fromkeys(names, 0.0)  # MB
    for n, following in zip(sizes, [*sizes[1:], sizes[-1]], strict=True):
        most = min(_MOST_MB, 0.8 * _free_mb())
        alone = {name: _in_a_process(name, n, dtype, mode, checkout) for name in names if expected[name] < most}
        short = {name: seconds for name, (_, seconds, _) in alone.items() if seconds < _LONG}
        total = max(1e-3, sum(short.values()))
        rounds = max(2, min(runs, int(_ROUNDS_SECONDS / total)), min(_MOST_RUNS, int(_LEAST_SECONDS / total)))
        timings = alternate({name: task(name, n, dtype, mode, checkout) for name in short}, rounds)
        expected = dict.fromkeys(names, float("inf"))
        for name, (peak, once, kernel) in alone.items():
            costs[Case(name, n, dtype, mode)] = Cost(peak, timings.get(name, summarise([once])), kernel)
            expected[name] = peak * (following / n) ** (2 if name in (*layers.OVER_PAIRS, REFERENCE) else 1)
        print(f"attention, {dtype}, {mode}: {n:,} residues of {sizes[-1]:,}", file=sys.stderr, flush=True)
    return costs


def _in_a_process(name: str, n: int, dtype: str, mode: str, checkout: Path | None) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "bindrae.benchmark.suite.layers", name, str(n), dtype, mode]
    command += [str(checkout)] if checkout else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.split()
    return float(out[-3]), float(out[-2]), float(out[-1])


def _free_mb() -> float:
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = [float(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else _MOST_MB


def floors(n: int, settings: ModelSettings, dtype: str, mode: str) -> tuple[float, float]:
    """Seconds below which the factorised layer cannot go on this machine: for its arithmetic, and for its bytes."""
    layer = layers.layer_of(settings, FUSED)
    key = settings.c_hidden + 3 * settings.qk_points + 1 + settings.z_rank
    value = settings.c_hidden + 3 * settings.v_points + settings.z_rank * settings.c_z // 4
    factors = (layer.linear_b.weight.numel() + layer.down_z.weight.numel()) * (2 * settings.z_rank - 1)
    parameters = sum(p.numel() for p in layer.parameters())
    weights = factors + sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    flops = 2.0 * n * (n * settings.heads * (key + value) + weights)
    inputs = n * (settings.c_s + 2 * settings.z_rank * settings.c_z + 12) + parameters
    numbers = float(inputs + n * settings.c_s)
    if mode == "train":  # two products for each of the forward pass; gradients of what was read
        flops, numbers = 3 * flops, numbers + n * settings.c_s + 2 * inputs
    return flops / matmul_rate(layers.DTYPES[dtype]), 4.0 * numbers / copy_bandwidth()


def _ratios(costs: Costs, sizes: Sequence[int]) -> dict[str, dict[str, float]]:
    def at(name: str, n: int) -> Cost | None:
        return costs.get(Case(name, n, "fp32", "train"))

    ratios: dict[str, dict[str, float]] = {}
    for key, (name, _) in _WORDS.items():
        both = {n: (own, other) for n in sizes if (own := at(FUSED, n)) and (other := at(name, n))}
        if both:
            ratios[f"time_ratio_vs_{key}"] = {
                str(n): ratio(other.seconds, own.seconds) for n, (own, other) in both.items()
            }
            ratios[f"memory_ratio_vs_{key}"] = {
                str(n): other.peak / own.peak for n, (own, other) in both.items() if own.peak
            }
    ours = {n: found for n in sizes if (found := at(FUSED, n))}
    ratios["memory_growth"] = {str(n): ours[2 * n].peak / ours[n].peak for n in ours if 2 * n in ours and ours[n].peak}
    ratios["time_vs_floor"] = {
        str(n): found.seconds.median / max(floors(n, ModelSettings(), "fp32", "train")) for n, found in ours.items()
    }
    return ratios


def _agreement(names: Sequence[str], checkout: Path | None) -> Table:
    outputs = {name: task(name, _COMPARED, "fp32", "forward", checkout, exact=True)() for name in names}
    scale = float(outputs[REFERENCE].square().mean().sqrt())
    rows: list[list[str | float | int | None]] = [
        [name, 1e6 * float((out - outputs[REFERENCE]).abs().max()) / scale]
        for name, out in outputs.items()
        if name != REFERENCE
    ]
    return Table(
        f"Largest difference from `{REFERENCE}` at {_COMPARED} residues, fp32",
        ["layer", "millionths"],
        rows,
        "Of the root mean square of the output. flash_ipa's N x N layer scales the bias by 3^-1/2.",
    )


def _tables(costs: Costs, names: Sequence[str], sizes: Sequence[int], dtype: str, mode: str) -> list[Table]:
    title = f"{dtype}, " + ("forward and backward" if mode == "train" else "forward")
    times: list[list[str | float | int | None]] = []
    peaks: list[list[str | float | int | None]] = []
    for n in sizes:
        found = [costs.get(Case(name, n, dtype, mode)) for name in names]
        milliseconds = [None if cost is None else spread(cost.seconds, 1e3) for cost in found]
        times.append([n, *milliseconds, *(1e3 * floor for floor in floors(n, ModelSettings(), dtype, mode))])
        peaks.append([n, *(None if cost is None else cost.peak for cost in found)])
    return [
        Table(
            f"Milliseconds, {title} (median [quartiles])", ["residues", *names, "floor: FLOPs", "floor: bytes"], times
        ),
        Table(f"Peak MB, {title}", ["residues", *names], peaks),
    ]
