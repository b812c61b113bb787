"""Learning a few complexes by heart: the first thing to try when a training does not learn."""

from __future__ import annotations

import json

import numpy as np

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.errors import BindraeError
from bindrae.training.loop import run_training

TARGET_PERCENT = 95.0


def overfit_settings(epochs: int) -> TrainingSettings:
    """A recipe without what keeps a network from learning by heart: noise, smoothing, decay, shown side chains."""
    return TrainingSettings(
        max_epochs=epochs, patience=epochs, select_by="chi1_acc20", batch_size=1, max_residues=2000, lr=3e-3,
        weight_decay=0.0, warmup_steps=20, pocket_kappa=0.0, max_bfactor=None, noise_start_step=10**9, ema_decay=0.0,
        chi_smoothing_deg=0.0, shown_fraction=0.0, structure_fraction=1.0, geometry_passes=0,
    )  # fmt: skip


def run_overfit(
    layout: DataLayout, run: RunLayout, model: ModelSettings, complexes: int, epochs: int, threads: int = 1
) -> float:
    """Train on the smallest complexes of the training side and validate on the same.

    Parameters
    ----------
    layout : DataLayout
    run : RunLayout
        A folder of its own: the run starts over each time.
    model : ModelSettings
        Dropout is set to 0, the ligand's FiLM to full strength, and nothing is shown.
    complexes : int
        How many to learn.
    epochs : int
        Passes over them at most.
    threads : int

    Returns
    -------
    float
        Best share of chi1 within 20 degrees (percent).

    Raises
    ------
    BindraeError
        When the training side is smaller, or the share stays below `TARGET_PERCENT`.
    """

    def smallest(dataset: ShardDataset) -> ShardDataset:
        if len(dataset) < complexes:
            raise BindraeError(f"the training side holds {len(dataset)} complexes, not {complexes}", "ask for fewer")
        return dataset.take(np.argsort(dataset.lengths, kind="stable")[:complexes].tolist())

    model = model.model_copy(update={"dropout": 0.0, "ligand_warmup_steps": 0, "recycles": 0})
    run_training(layout, run, model, overfit_settings(epochs), threads=threads, fresh=True, choose=smallest)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    best = max(line["val"]["chi1_acc20"] for line in lines if line["event"] == "epoch")
    if best < TARGET_PERCENT:
        raise BindraeError(
            f"{complexes} complexes learnt by heart to {best:.1f} % chi1 only, not {TARGET_PERCENT:.0f} %",
            "give more --epochs; if it stays there, the model's settings are too small or the data are at fault",
        )
    print(f"overfit: {complexes} complexes, {best:.1f} % chi1 within 20 degrees")
    return best
