"""How fast one thread trains: real optimiser steps, over shards or over made-up complexes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from bindrae.benchmark.suite.timing import Timing
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import IPABatch, collate_ipa_batch
from bindrae.data.dataset import SeededCrop, ShardDataset, create_ipa_dataloader
from bindrae.model.memory import synthetic_complex
from bindrae.training.loop import plan_epoch
from bindrae.training.parallel import World
from bindrae.training.state import TrainingState
from bindrae.training.step import StepPlan, backward, update

_LATE = 100_000  # a step after all warm-ups: noise, ligand and weights of the losses are those of most of a training
_REPLAY = Path(tempfile.gettempdir()) / "bindrae-bench-replay.pt"


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
        for number in range(len(self.steps)):
            self.gather(number)
            self.move(number)

    def gather(self, number: int) -> None:
        """Gradients of the batches of a step."""
        batches = self.steps[number]
        for place, batch in enumerate(batches):
            seed = number * len(batches) + place
            backward(
                self.state.model, batch, self.state.scaler, self.training, self.world, self.plans[number], seed, _REPLAY
            )

    def move(self, number: int) -> None:
        """The weights by the gradients of a step, and their running mean."""
        state = self.state
        update(state.model, state.optimiser, state.scaler, self.training, self.world, len(self.steps[number]))
        state.average.update(state.model, int(state.model.step))

    def rate(self, timing: Timing) -> float:
        """Residues (padding not counted) a second, by the median run."""
        return self.residues / timing.median


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
