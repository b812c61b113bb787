"""Part `loader`: how fast batches come, beside how fast a training step on the CPU takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Table
from bindrae.benchmark.suite.steps import Steps, dataset_steps
from bindrae.benchmark.suite.timing import alternate, one_thread
from bindrae.benchmark.suite.words import spread
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.dataset import SeededCrop, ShardDataset, create_ipa_dataloader
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.training.loop import plan_epoch

DEMO_DATA = Path("results/demo/data")
_PRECISIONS = ("fp32", "bf16")


def data_folder(options: Options) -> Path:
    """The prepared data to measure on: what was asked for, or those of the demo.

    Raises
    ------
    BindraeError
        When there are none.
    """
    if options.data is not None:
        return options.data
    if not DataLayout(DEMO_DATA).batches.is_file():
        raise BindraeError(
            f"no prepared data: --data is not given, and {DEMO_DATA} is not there",
            "run `make demo`, or name a folder that the pipeline made: --data results/casf2016/data",
        )
    return DEMO_DATA


def dataset_name(data: Path) -> str:
    """Name of the dataset of a folder ``results/<dataset>/data``; no page needs to know where it stands."""
    return data.resolve().parent.name if data.name == "data" else data.name


def one_epoch(dataset: ShardDataset, training: TrainingSettings) -> int:
    """Load the batches of an epoch as `run_training` does, in this process; returns the residues without padding."""
    lengths = np.minimum(dataset.lengths, training.max_residues)
    batches = [batch for step in plan_epoch(lengths, training, 0) for batch in step]
    crop = SeededCrop(training.max_residues, training.seed, 0)
    return sum(sum(batch.n_residues) for batch in create_ipa_dataloader(dataset, batches, crop))


def run(options: Options) -> Part:
    """Measure loader and step in turn.

    Raises
    ------
    BindraeError
        When there are no prepared data.
    """
    data = data_folder(options)
    dataset = ShardDataset(DataLayout(data), "train")
    recipe, model = TrainingSettings(), ModelSettings(d_plm=dataset.plm_width)
    held = dataset_steps(dataset, recipe, 1 if options.quick else 8)
    training = {name: recipe.model_copy(update={"precision": name}) for name in _PRECISIONS}
    steps = {f"step, {name}": Steps(model, training[name], held) for name in _PRECISIONS}
    in_epoch = one_epoch(dataset, recipe)
    with one_thread():
        seconds = alternate({"loader": lambda: one_epoch(dataset, recipe), **steps}, runs=1 if options.quick else 5)
    residues = {"loader": in_epoch} | {name: task.residues for name, task in steps.items()}
    rates = {name: residues[name] / timing.median for name, timing in seconds.items()}
    return Part(
        name="loader",
        about="Residues a second (of the processor) of the loader alone, which reads shards, crops and pads, and of "
        "optimiser steps of the default model on batches that are held in memory. Both on one thread of one process.",
        settings={
            "data": dataset_name(data),
            "complexes": len(dataset),
            "loader_workers": 0,
            "steps": len(held),
            "language_model_width": dataset.plm_width,
        },
        ratios={
            "loader_vs_cpu_step": rates["loader"] / rates["step, fp32"],
            "loader_vs_cpu_step_bf16": rates["loader"] / rates["step, bf16"],
        },
        words={
            "loader_vs_cpu_step": "residues that the loader alone gives, over those that a CPU training step takes",
            "loader_vs_cpu_step_bf16": "the same over a step in bf16",
        },
        tables=[
            Table(
                "Residues a second on one thread",
                ["what", "residues of a run", "seconds [quartiles]", "residues a second"],
                [[name, residues[name], spread(timing), rates[name]] for name, timing in seconds.items()],
            )
        ],
        remarks=[
            "Shards are in the page cache after the first pass, as in a training whose data fit the memory; waiting "
            "for a disk would not be processor time.",
            "Residues of padding are not counted.",
        ],
    )
