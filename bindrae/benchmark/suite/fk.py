"""Part `fk`: torsions to atoms, beside a sequential NeRF and OpenFold's functions."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bindrae.benchmark.suite.loader import data_folder, dataset_name
from bindrae.benchmark.suite.nerf import nerf, nerf_numbers
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Plot, Table
from bindrae.benchmark.suite.timing import Timing, alternate, one_thread, ratio, summarise
from bindrae.benchmark.suite.words import spread
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.geometry.chain import chain_to_atoms
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.roundtrip import Builder, compare, openfold_builder, own_builder

Tasks = dict[str, Callable[[], Tensor]]
FRAMES, CHAIN, NERF, NUMBERS, OPENFOLD = "frames mode", "chain mode", "NeRF, torch", "NeRF, plain Python", "OpenFold"
RECORDED: dict[str, Any] = {
    "residues": None,
    "heavy": 0.225,
    "sidechain": 0.361,
    "proline_ring": None,
    "us_per_residue": 16.7,
}
"""OpenFold's functions on the true frames and torsions of 60 proteins, one core; measured before, elsewhere."""
_RECORDED_NAME = "OpenFold, recorded elsewhere, not of this run"
_SIZES, _QUICK_SIZES = (128, 512, 2048, 8192), (32, 64)
_LINKS = ("openfold", "openfold.np", "openfold.utils")


def openfold(folder: Path) -> Builder:
    """OpenFold's torsions-to-atom14 from a checkout.

    Raises
    ------
    BindraeError
        When it cannot be imported.
    """
    if not (folder / "openfold" / "utils" / "feats.py").is_file():
        raise BindraeError(
            f"--openfold: {folder} is no checkout of OpenFold (it holds no openfold/utils/feats.py)",
            "git clone https://github.com/aqlaboratory/openfold, and name that folder",
        )
    _forget_openfold()
    # Its packages import the whole model, and so all that training needs. Bare ones give the two modules of geometry.
    for name in _LINKS:
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        return openfold_builder(folder)
    except ImportError as error:
        _forget_openfold()
        raise BindraeError(
            f"--openfold: OpenFold in {folder} cannot be imported: {error}",
            "install what is missing beside bindrae (its geometry asks for dm-tree, modelcif and biopython)",
        ) from error


def _forget_openfold() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "openfold"]:
        del sys.modules[name]


def inputs(n: int) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Angles [n, 7], types [n], links [n] and residue frames of a chain that winds about like a loose helix."""
    g = torch.Generator().manual_seed(0)
    angles = torch.randn(n, 7, generator=g) * 0.3 + torch.tensor([-1.1, -0.7, torch.pi, -1.1, torch.pi, 1.1, torch.pi])
    kinds, linked = torch.randint(0, 20, (n,), generator=g), torch.arange(n) < n - 1
    first = torch.eye(3).expand(n, 3, 3), torch.zeros(n, 3)
    frames = chain_to_atoms(angles_to_circle(angles), kinds, linked, first)[2]
    return angles, kinds, linked, frames


def tasks(n: int, other: Builder | None, gradient: bool) -> Tasks:
    """What is timed at `n` residues; each gives coordinates [n, 14, 3], with `gradient` after a backward pass."""
    angles, kinds, linked, frames = inputs(n)
    angles.requires_grad_(gradient)
    frames = frames[0].requires_grad_(gradient), frames[1].requires_grad_(gradient)
    start = frames[0].detach(), frames[1].detach()
    first = chain_to_atoms(angles_to_circle(angles.detach()), kinds, linked, start)[0][0, :3]
    found: Tasks = {
        FRAMES: lambda: torsions_to_atoms(frames, angles_to_circle(angles), kinds)[0],
        CHAIN: lambda: chain_to_atoms(angles_to_circle(angles), kinds, linked, start)[0],
        NERF: lambda: nerf(angles, kinds, first),
    }
    if not gradient:
        found[NUMBERS] = lambda: nerf_numbers(angles, kinds, first)
    if other is not None:
        found[OPENFOLD] = lambda: other(frames, angles_to_circle(angles), kinds)

    def forward(build: Callable[[], Tensor]) -> Tensor:
        with torch.inference_mode():
            return build()

    def backward(build: Callable[[], Tensor]) -> Tensor:
        xyz = build()
        xyz.square().mean().backward()
        return xyz

    once = backward if gradient else forward
    return {name: lambda build=build: once(build) for name, build in found.items()}  # type: ignore[misc]


def run(options: Options) -> Part:
    """Measure all lengths, and real structures where there are prepared data.

    Raises
    ------
    BindraeError
        When the checkout of `options.openfold` cannot be used.
    """
    other = openfold(options.openfold) if options.openfold else None
    sizes, runs = (_QUICK_SIZES, 2) if options.quick else (_SIZES, 5)
    part = Part(
        name="fk",
        about="Forward kinematics, torsions to all heavy atoms: our frames mode (residue frames given, all residues at "
        "once) and chain mode (the backbone from torsions too, in ceil(log2 N) rounds), beside a NeRF that places one "
        "atom after the other (the same atoms, bonds and angles; a test holds the coordinates equal to 1e-4 A) and "
        "OpenFold's torsion_angles_to_frames with frames_and_literature_positions_to_atom14_pos. One thread, fp32.",
        settings={"sizes": list(sizes), "runs": runs, "openfold": options.openfold is not None},
        remarks=[
            "Most of the time of a NeRF in torch goes into calling torch; in plain Python it has no gradients. A "
            "compiled one would be faster than both; none is measured.",
            "The frames mode and OpenFold are given the backbone, chain mode and NeRF make it.",
        ],
        words={
            "frames_us_per_residue": "frames mode, forward, us a residue by number of residues",
            "chain_us_per_residue": "chain mode, forward, us a residue by number of residues",
            "chain_speedup_vs_nerf": "sequential NeRF in plain Python over chain mode, forward, by number of residues",
            "chain_speedup_vs_nerf_backward": "sequential NeRF in torch over chain mode, forward and backward, by "
            "number of residues",
            "frames_speedup_vs_openfold": "OpenFold over frames mode, forward, by number of residues",
            "frames_speedup_vs_openfold_recorded": "OpenFold's recorded 16.7 us a residue (not of this run, another "
            "machine) over frames mode, forward, by number of residues",
        },
    )
    with one_thread():
        spent: dict[bool, dict[int, dict[str, Timing]]] = {
            gradient: {n: alternate(tasks(n, other, gradient), runs) for n in sizes} for gradient in (False, True)
        }
    for gradient, word in ((False, "forward"), (True, "forward and backward")):
        names = list(spent[gradient][sizes[0]])
        part.tables.append(
            Table(
                f"Microseconds a residue, {word} (median [quartiles])",
                ["residues", *names],
                [[n, *(spread(spent[gradient][n][name], 1e6 / n) for name in names)] for n in sizes],
            )
        )
        curves = {name: [(float(n), 1e6 * spent[gradient][n][name].median / n) for n in sizes] for name in names}
        suffix = "-backward" if gradient else ""
        part.plots.append(Plot(f"fk{suffix}", f"Torsions to atoms, {word}", "residues", "us a residue", curves))
    part.ratios = _ratios(spent, sizes)
    _real_structures(part, options, other, runs)
    return part


def _ratios(spent: dict[bool, dict[int, dict[str, Timing]]], sizes: tuple[int, ...]) -> dict[str, Any]:
    def quotient(gradient: bool, above: str, below: str) -> dict[str, float]:
        found = spent[gradient]
        return {str(n): ratio(found[n][above], found[n][below]) for n in sizes}

    def rate(name: str) -> dict[str, float]:
        return {str(n): 1e6 * spent[False][n][name].median / n for n in sizes}

    ratios: dict[str, Any] = {
        "frames_us_per_residue": rate(FRAMES),
        "chain_us_per_residue": rate(CHAIN),
        "chain_speedup_vs_nerf": quotient(False, NUMBERS, CHAIN),
        "chain_speedup_vs_nerf_backward": quotient(True, NERF, CHAIN),
    }
    if OPENFOLD in spent[False][sizes[0]]:
        ratios["frames_speedup_vs_openfold"] = quotient(False, OPENFOLD, FRAMES)
    else:
        ratios["frames_speedup_vs_openfold_recorded"] = {
            n: RECORDED["us_per_residue"] / value for n, value in rate(FRAMES).items()
        }
    return ratios


def _real_structures(part: Part, options: Options, other: Builder | None, runs: int) -> None:
    """Add how near to the crystal true frames and torsions lead, with the time of the same runs."""
    try:
        data = data_folder(options)
    except BindraeError as error:
        part.remarks.append(f"No real structures were rebuilt: {' '.join(str(error).split())}")
        return
    builders = {FRAMES: own_builder} | ({OPENFOLD: other} if other is not None else {})
    found: dict[str, dict[str, float]] = {}
    rates: dict[str, list[float]] = {name: [] for name in builders}
    with one_thread():
        for _ in range(runs):
            for name, build in builders.items():
                spent: list[float] = []
                found[name] = compare(DataLayout(data), _timed(build, spent))
                rates[name].append(median(spent))
    rows: list[list[str | float | int | None]] = [
        [name, int(found[name]["residues"]), *_accuracy(found[name]), spread(summarise(rates[name]))]
        for name in builders
    ]
    if other is None:
        rows.append([_RECORDED_NAME, RECORDED["residues"], *_accuracy(RECORDED), f"{RECORDED['us_per_residue']}"])
    part.settings["data"] = dataset_name(data)
    part.tables.append(
        Table(
            "Real structures from their true frames and torsions",
            ["program", "residues", "heavy atoms, RMSD A", "beyond CB, RMSD A", "proline N-CD, A", "us a residue"],
            rows,
            "One complex at a time, forward; the median over complexes, then median and quartiles over the runs.",
        )
    )


def _timed(build: Builder, spent: list[float]) -> Builder:
    """The builder, which notes the microseconds of the processor a residue of each call."""

    def run_and_note(frames: tuple[Tensor, Tensor], torsions: Tensor, aatype: Tensor) -> Tensor:
        start = time.process_time()
        built = build(frames, torsions, aatype)
        spent.append(1e6 * (time.process_time() - start) / len(aatype))
        return built

    return run_and_note


def _accuracy(found: dict[str, Any]) -> list[float | None]:
    return [found[key] for key in ("heavy", "sidechain", "proline_ring")]
