"""How fast one thread trains: real optimiser steps, over shards or over made-up complexes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bindrae.benchmark.suite.timing import Timing, alternate, one_thread
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.dataset import IPABatch, SeededCrop, ShardDataset, collate_ipa_batch, create_ipa_dataloader
from bindrae.model.memory import synthetic_complex
from bindrae.training.loop import plan_epoch
from bindrae.training.parallel import World
from bindrae.training.state import TrainingState
from bindrae.training.step import StepPlan, backward, update

_LATE = 100_000  # a step after all warm-ups: noise, ligand and weights of the losses are those of most of a training

_REPLAY = Path(tempfile.gettempdir()) / "bindrae-bench-replay.pt"


@dataclass(frozen=True)
class StepRate:
    """What training consumes on one thread.

    Attributes
    ----------
    residues_per_second : float
        Residues (padding not counted) a second of the processor, by the median run.
    seconds : Timing
        Of all steps together (s).
    residues, steps : int
        In one run.
    """

    residues_per_second: float
    seconds: Timing
    residues: int
    steps: int


class Steps:
    """Optimiser steps over batches that are held in memory, as `run_training` takes them on one thread.

    Which steps show side chains, and which compute the losses on atoms, is drawn in a training; the steps here are
    few, so exactly the shares of the settings do.

    Parameters
    ----------
    model, training : ModelSettings, TrainingSettings
    steps : list of list of IPABatch
        The batches of each step.
    """

    def __init__(self, model: ModelSettings, training: TrainingSettings, steps: list[list[IPABatch]]) -> None:
        self.steps, self.training = steps, training
        self.world = World(0, 1, torch.device("cpu"))
        self.state = TrainingState.start(model, training, self.world)
        self.state.model.step.fill_(_LATE)
        self.residues = sum(sum(batch.n_residues) for step in steps for batch in step)
        shares = (np.arange(len(steps)) + 0.5) / len(steps)
        shown = (shares < training.shown_fraction) & (model.recycles > 0)
        structure = np.random.default_rng(0).permutation(shares) < training.structure_fraction
        self.plans = [StepPlan(bool(a), bool(b)) for a, b in zip(shown, structure, strict=True)]

    def __call__(self) -> None:
        """Take all steps once."""
        state, settings = self.state, self.training
        for number, (batches, plan) in enumerate(zip(self.steps, self.plans, strict=True)):
            for place, batch in enumerate(batches):
                seed = number * len(batches) + place
                backward(state.model, batch, state.scaler, settings, self.world, plan, seed, _REPLAY)
            update(state.model, state.optimiser, state.scaler, settings, self.world, len(batches))
            state.average.update(state.model, int(state.model.step))


def dataset_steps(dataset: ShardDataset, training: TrainingSettings, count: int) -> list[list[IPABatch]]:
    """The batches of the first `count` steps of the first epoch, cropped as in training."""
    lengths = np.minimum(dataset.lengths, training.max_residues)
    planned = plan_epoch(lengths, training, 0)[:count]
    crop = SeededCrop(training.max_residues, training.seed, 0)
    batches = create_ipa_dataloader(dataset, [batch for step in planned for batch in step], crop)
    return [[next(batches) for _ in step] for step in planned]


def synthetic_steps(training: TrainingSettings, count: int, residues: int) -> list[list[IPABatch]]:
    """Batches of made-up complexes of `residues` residues each, `training.batch_size` of them a batch."""
    batch = collate_ipa_batch([(f"x{i}", synthetic_complex(residues)) for i in range(training.batch_size)])
    return [[batch] * training.accumulate for _ in range(count)]


def step_rate(
    model: ModelSettings,
    training: TrainingSettings,
    dataset: ShardDataset | None = None,
    count: int = 8,
    residues: int = 256,
    runs: int = 3,
) -> StepRate:
    """What one thread of the processor consumes in training, loading not counted.

    Parameters
    ----------
    model, training : ModelSettings, TrainingSettings
    dataset : ShardDataset, optional
        Where the batches come from; without it, made-up complexes.
    count : int
        Steps of a run.
    residues : int
        Length of the made-up complexes.
    runs : int
        Runs after one that does not count.

    Returns
    -------
    StepRate
    """
    made = synthetic_steps(training, count, residues) if dataset is None else dataset_steps(dataset, training, count)
    task = Steps(model, training, made)
    with one_thread():
        seconds = alternate({"steps": task}, runs)["steps"]
    return StepRate(task.residues / seconds.median, seconds, task.residues, len(made))
