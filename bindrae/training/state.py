"""The state of a training: model, optimiser, running mean and progress, saved and restored together."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bindrae.config import EXECUTION_KEYS, ModelSettings, TrainingSettings, differing_keys
from bindrae.data.dataset import ShardDataset
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import sha256_file, sha256_text
from bindrae.errors import BindraeError
from bindrae.model.stage1 import Stage1
from bindrae.training.checkpoint import load_checkpoint, save_checkpoint
from bindrae.training.ema import MovingAverage
from bindrae.training.initial import initial_weights, load_weights_into
from bindrae.training.parallel import World
from bindrae.training.strain_fit import fit_geometry


@dataclass
class Progress:
    """How far a training has come."""

    epoch: int = 0  # epochs done
    steps: int = 0  # steps done in the running epoch
    sums: dict[str, float] = field(default_factory=dict)  # of the running epoch: losses, gradient norm
    counts: dict[str, int] = field(default_factory=dict)  # steps that each sum is over
    residues: int = 0
    seconds: float = 0.0
    best: list[dict[str, Any]] = field(default_factory=list)  # score (lower is better) and epoch, best first
    record_bytes: int = 0

    def add(self, values: dict[str, float]) -> None:
        """Take in the values of a step; a step need not have all of them."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each value over the steps that had it."""
        return {name: value / self.counts[name] for name, value in self.sums.items()}

    def close_epoch(self) -> None:
        """Count the epoch and clear what belongs to it."""
        self.epoch, self.steps, self.residues, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.sums, self.counts = {}, {}


@dataclass
class TrainingState:
    """Everything that changes while training."""

    model: Stage1
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage
    progress: Progress

    @classmethod
    def start(cls, model_settings: ModelSettings, settings: TrainingSettings, world: World) -> TrainingState:
        """A new state; the same in all processes.

        Raises
        ------
        BindraeError
            When the weights to start from are missing or of another architecture.
        """
        torch.manual_seed(settings.seed)
        if settings.init is not None:
            # The ligand is known to them from the first step on.
            model_settings = model_settings.model_copy(update={"ligand_warmup_steps": 0})
        model = Stage1(model_settings)
        if settings.init is not None:
            load_weights_into(model, initial_weights(settings.init))
        model = model.to(world.device).train()
        # Biases, norms and embeddings of types are not pulled towards 0.
        learnt = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in learnt if p.ndim > 1]
        rest = [p for p in learnt if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=settings.lr, fused=world.device.type == "cuda" or None)
        half = settings.precision == "fp16" and world.device.type == "cuda"
        scaler = torch.amp.GradScaler(world.device.type, enabled=half)
        return cls(model, optimiser, scaler, MovingAverage(model, settings.ema_decay), Progress())

    def learn_geometry(self, training: ShardDataset, settings: TrainingSettings, world: World) -> None:
        """Fit the model's network of the backbone's geometry, where it has one that says nothing yet.

        The leading process fits, on the CPU; all get the same.
        """
        geometry = self.model.geometry
        if geometry is None or geometry.fitted or not settings.geometry_passes:
            return
        weights = fit_geometry(training, settings.geometry_passes, settings.seed) if world.leads else None
        weights = world.broadcast(weights)
        if weights is not None:
            geometry.network.load_state_dict(weights)
        self.average = MovingAverage(self.model, settings.ema_decay)

    def save(self, folder: Path, fingerprint: dict[str, Any], finished: bool) -> None:
        """Write a checkpoint. Random draws need no state: each step's are drawn from the run's seed and the step."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.weights,
            "progress": vars(self.progress).copy(),
            "fingerprint": fingerprint,
            "finished": finished,
        }
        save_checkpoint(folder, state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.load(state["average"])
        self.progress = Progress(**state["progress"])


def fingerprint_of(
    model: ModelSettings, training: TrainingSettings, data: list[ShardDataset], world: World
) -> dict[str, Any]:
    """What a resumed run must share with its checkpoint: stage version, settings that matter, data by hash."""
    hashes = [sha256_file(path) for dataset in data for path in dataset.files] if world.leads else []
    init = None if training.init is None else sha256_file(initial_weights(training.init))
    return {
        "version": VERSIONS["train"],
        "model": model.model_dump(mode="json", exclude={"preset"}),
        "training": training.model_dump(mode="json", exclude=set(EXECUTION_KEYS)),
        "init": init,
        "data": world.broadcast(sha256_text("".join(hashes) + str([d.ids for d in data]))),
    }


def earlier_run(
    folder: Path, fingerprint: dict[str, Any], fresh: bool, restart_if_changed: bool, world: World
) -> dict[str, Any] | None:
    """The checkpoint to go on from, which may be that of a finished run; None to start over.

    Parameters
    ----------
    folder : Path
    fingerprint : dict
        From `fingerprint_of`.
    fresh : bool
        Discard what is there.
    restart_if_changed : bool
        Discard it when the fingerprints differ, instead of refusing.
    world : World

    Raises
    ------
    BindraeError
        When the run in `folder` is unfinished and has other settings or data.
    """
    state = None if fresh else load_checkpoint(folder)
    reason = "as asked" if fresh else None
    if state is not None and (changed := differing_keys(state["fingerprint"], fingerprint)):
        if not restart_if_changed and not state["finished"]:
            raise BindraeError(
                f"{folder} holds an unfinished run with other settings or data: " + "; ".join(changed),
                "go back to those settings, choose another `run:` name, or start over with --fresh",
            )
        reason = "settings or data changed (" + "; ".join(changed) + ")"
    # Everyone has read before anyone deletes.
    world.gather(0)
    if reason is None:
        return state
    if world.leads and folder.exists():
        print(f"train: {reason}; starting over", file=sys.stderr)
        shutil.rmtree(folder)
    world.gather(0)
    return None
