"""Part `train`: residues a second of training steps, which parts take the time, and how far it is from the floor."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bindrae.benchmark.suite.floor import Cost, Floor
from bindrae.benchmark.suite.layers import DTYPES
from bindrae.benchmark.suite.loader import dataset_name
from bindrae.benchmark.suite.machine import copy_bandwidth, matmul_rate
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Table
from bindrae.benchmark.suite.sections import Sections
from bindrae.benchmark.suite.steps import Steps, dataset_steps, synthetic_steps
from bindrae.benchmark.suite.timing import alternate, one_thread
from bindrae.benchmark.suite.words import spread
from bindrae.config import ModelSettings, TrainingSettings, load_settings, read_yaml, resolve_config
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout

_BASELINE, _SHIPPED = "config/model/baseline.yaml", "config/shipped.yaml"
_PRECISIONS = tuple(DTYPES)
_LOSSES, _OPTIMISER = "losses, noise and what is shown", "optimiser and mean of the weights"
_PARTS = {
    "": "features, kinematics and the rest of the network",
    "edges": "edge factors of the attention",
    "residue_edges": "edges to residues and tokens",
    "token_edges": "edges to residues and tokens",
    "conditioners": "ligand conditioning",
    "head": "head",
    "context": "side chains that are shown",
}
_PARTS_OF_LAYER = {
    "attention": "attention",
    "local": "messages",
    "tokens": "messages",
    "norm": "feed-forward and frames",
    "transition": "feed-forward and frames",
    "update": "feed-forward and frames",
}


@dataclass
class Shares:
    """Of one task, by part.

    Attributes
    ----------
    forward, backward : dict of str to float
        Seconds, as the profiler sees them.
    floor : dict of str to Cost
    """

    forward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    backward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    floor: dict[str, Cost] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(self.forward.values()) + sum(self.backward.values())


def recipes() -> dict[str, tuple[ModelSettings, TrainingSettings]]:
    """The models that are measured and how they are trained.

    Raises
    ------
    BindraeError
        When the configs of the repository are not there.
    """
    # Whose files they would be trained on does not matter here.
    shipped = resolve_config(read_yaml(Path(_SHIPPED)) | {"root": "."}, _SHIPPED)
    return {
        "default": (ModelSettings(), TrainingSettings()),
        "baseline": (load_settings(ModelSettings, _BASELINE), TrainingSettings()),
        "shipped": (shipped.model, shipped.training),
    }


def run(options: Options) -> Part:
    """Measure the steps of all models in turn, then where their time goes and their floors.

    Raises
    ------
    BindraeError
        When the configs of the repository are not there.
    """
    dataset = ShardDataset(DataLayout(options.data), "train") if options.data else None
    count, runs, residues = (1, 1, 64) if options.quick else (8, 5, 256)
    tasks: dict[str, Steps] = {}
    for name, (model, recipe) in recipes().items():
        width = dataset.plm_width if dataset else 0
        made = dataset_steps(dataset, recipe, count) if dataset else synthetic_steps(recipe, count, residues)
        for precision in _PRECISIONS:
            settings = model.model_copy(update={"d_plm": width}), recipe.model_copy(update={"precision": precision})
            tasks[f"{name}, {precision}"] = Steps(*settings, made)
    with one_thread():
        seconds = alternate(tasks, runs)
        shares = {name: shares_of(task) for name, task in tasks.items()}
    floors = {name: sum(cost.seconds for cost in found.floor.values()) for name, found in shares.items()}
    rates = {name: task.rate(seconds[name]) for name, task in tasks.items()}
    part = Part(
        name="train",
        about="Optimiser steps on one thread: noise, forward pass, losses, backward pass, AdamW and the running mean "
        "of the weights; loading is not in it. The default model and the published baseline with the default recipe, "
        "and the model of the shipped weights with its own.",
        settings={
            "data": dataset_name(options.data) if options.data else f"made-up complexes of {residues} residues",
            "steps": count,
            "runs": runs,
        },
        ratios={
            "step_vs_floor": {name: seconds[name].median / floors[name] for name in tasks},
            "train_residues_per_second": rates,
        },
        words={
            "step_vs_floor": "seconds of a training step over the floor of its operations",
            "train_residues_per_second": "residues a second of the processor",
        },
        remarks=[
            "The floor of a step is the sum over its operations of the larger of FLOPs over the rate of matrix "
            "products of their dtype and bytes over the bandwidth of a copy, both of this run. Views and allocations "
            "are free. Edges and messages are worked through in chunks that stay in the cache; their operations are "
            "counted as if each went to memory.",
            f"This run: {matmul_rate(DTYPES['fp32']) / 1e9:.0f} GFLOP/s in fp32, "
            f"{matmul_rate(DTYPES['bf16']) / 1e9:.0f} in bf16, copies of {copy_bandwidth() / 1e9:.1f} GB/s.",
        ],
    )
    part.tables = [
        Table(
            "Training steps on one thread",
            ["model", "residues a step", "seconds a step [quartiles]", "residues a second", "floor, s",
             "of it FLOPs, %", "times the floor"],
            [
                [
                    name, task.residues // count, spread(seconds[name], 1 / count), rates[name], floors[name] / count,
                    100 * sum(cost.arithmetic for cost in shares[name].floor.values()) / floors[name],
                    seconds[name].median / floors[name],
                ]
                for name, task in tasks.items()
            ],
        ),
        *(_table(name, shares[name], seconds[name].median / count, count) for name in tasks),
    ]  # fmt: skip
    return part


def shares_of(task: Steps) -> Shares:
    """Seconds and floor of each part of the task's steps, each step run once for either."""
    found = Shares()
    network = task.state.model
    parts = _PARTS | {
        f"layers.{number}.{name}": part
        for number in range(network.settings.depth)
        for name, part in _PARTS_OF_LAYER.items()
    }
    sections = Sections(network, parts, _LOSSES, _OPTIMISER)
    try:
        for number in range(len(task.steps)):
            forward, back = sections.seconds(lambda number=number: one_step(task, number, sections))  # type: ignore[misc]
            for part, value in forward.items():
                found.forward[part] += value
            for part, value in back.items():
                found.backward[part] += value
        with Floor(lambda dtype: matmul_rate(dtype), copy_bandwidth(), sections.current) as floor:
            for number in range(len(task.steps)):
                one_step(task, number, sections)
        found.floor = dict(floor.parts)
    finally:
        sections.close()
    return found


def one_step(task: Steps, number: int, sections: Sections) -> None:
    """The step of that number, as `Steps` takes it, with its parts marked."""
    with sections.section(_LOSSES):
        task.gather(number)
    with sections.section(_OPTIMISER):
        task.move(number)


def _table(name: str, shares: Shares, seconds: float, count: int) -> Table:
    """Parts of a step, the longest first."""
    both = {
        part: (shares.forward.get(part, 0.0), shares.backward.get(part, 0.0))
        for part in {**shares.forward, **shares.backward}
    }
    rows: list[list[str | float | int | None]] = []
    for part, (forward, back) in sorted(both.items(), key=lambda item: -sum(item[1])):
        floor = shares.floor.get(part, Cost())
        share = (forward + back) / shares.seconds
        milliseconds, least = 1e3 * share * seconds, 1e3 * floor.seconds / count
        rows.append(
            [
                part, 100 * share, 100 * forward / shares.seconds, 100 * back / shares.seconds, milliseconds, least,
                milliseconds / least if least else None, floor.operations // count,
            ]
        )  # fmt: skip
    return Table(
        f"Where a step goes: {name}",
        ["part", "% of the time", "forward, %", "backward, %", "ms", "floor, ms", "times the floor", "operations"],
        rows,
        "Shares are those that torch's profiler sees in a run of its own, on the wall; ms are shares of the median "
        "step.",
    )
