"""The training loop: reads top to bottom, resumes bit for bit on the CPU, never hides a NaN."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.dataset import SeededCrop, ShardDataset, budget_batches, create_ipa_dataloader, epoch_order, even_part
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import atomic_path, write_sidecar
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import count_parameters
from bindrae.progress import format_seconds, track
from bindrae.training.checkpoint import keep_best, weights_of_epoch
from bindrae.training.interrupt import REQUEUE_EXIT_CODE, Interrupt
from bindrae.training.losses import LOSS_NAMES, weighted_total
from bindrae.training.parallel import World, join_world, pick_precision
from bindrae.training.record import Record
from bindrae.training.schedule import cosine_with_warmup
from bindrae.training.state import TrainingState, earlier_run, fingerprint_of
from bindrae.training.step import StepPlan, backward, seed_of, update
from bindrae.training.validate import HIGHER_IS_BETTER, validate
from bindrae.usage import peak_memory_mb

NAMES = ("loss", *LOSS_NAMES)


def plan_epoch(lengths: np.ndarray, settings: TrainingSettings, epoch: int) -> list[list[list[int]]]:
    """Steps of an epoch, each a list of batches, each a list of complexes.

    Parameters
    ----------
    lengths : numpy.ndarray
        [n] residues of each complex after cropping.
    settings : TrainingSettings
    epoch : int
        From 0; the order depends on it and on the seed alone.
    """
    if settings.max_batch_residues is None:
        batches = epoch_order(lengths, settings.batch_size, settings.seed, epoch)
    else:
        batches = budget_batches(lengths, settings.max_batch_residues, settings.seed, epoch, settings.accumulate)
    return [batches[i : i + settings.accumulate] for i in range(0, len(batches), settings.accumulate)]


def _peak_memory_mb(device: torch.device) -> float:
    """Most memory in use so far (MB): of the GPU where there is one, else of this process."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_memory_mb()


def run_training(
    layout: DataLayout, run: RunLayout, model_settings: ModelSettings, settings: TrainingSettings,
    threads: int = 1, fresh: bool = False, restart_if_changed: bool = False,
    choose: Callable[[ShardDataset], ShardDataset] | None = None,
) -> None:  # fmt: skip
    """Train Stage-1 and write the best weights, the record and the sidecar.

    An unfinished run is resumed from its last checkpoint; of a finished one the outputs are written again. Under
    ``torchrun`` the batches of each step are shared out among the processes.

    Parameters
    ----------
    layout : DataLayout
    run : RunLayout
    model_settings : ModelSettings
    settings : TrainingSettings
    threads : int
        Threads of torch on the CPU, shared out among the processes.
    fresh : bool
        Discard the run's checkpoints.
    restart_if_changed : bool
        Discard them when settings or data changed, instead of refusing.
    choose : callable, optional
        Picks the complexes to learn from the training side; they are then validated on too. For `overfit`.

    Raises
    ------
    BindraeError
        When an unfinished run had other settings or data, or a batch cannot be shared among the processes.
    FloatingPointError
        When a loss or a gradient is not finite.
    SystemExit
        With `REQUEUE_EXIT_CODE` after SIGTERM or SIGUSR1, the checkpoint written.
    """
    interrupt = Interrupt()
    try:
        _train(layout, run, model_settings, settings, threads, fresh, restart_if_changed, choose, interrupt)
    finally:
        interrupt.restore()


def _train(
    layout: DataLayout, run: RunLayout, model_settings: ModelSettings, settings: TrainingSettings,
    threads: int, fresh: bool, restart_if_changed: bool,
    choose: Callable[[ShardDataset], ShardDataset] | None, interrupt: Interrupt,
) -> None:  # fmt: skip
    start = time.monotonic()
    world = join_world(settings.device, settings.accumulate)
    torch.set_num_threads(max(1, threads // world.size))
    training = ShardDataset(layout, "train")
    if choose is None:
        validation = even_part(ShardDataset(layout, "val"), settings.validation_complexes)
    else:
        training = validation = choose(training)
    fingerprint = fingerprint_of(model_settings, settings, [training, validation], world)
    # Another machine may go on with the run: the fingerprint holds what was asked for.
    settings = settings.model_copy(update={"precision": pick_precision(settings.precision, world)})
    found = earlier_run(run.checkpoints, fingerprint, fresh, restart_if_changed, world)
    state = TrainingState.start(model_settings, settings, world)
    if found is not None:
        state.restore(found)
        if found["finished"]:
            say(world, "train: the run is finished; its outputs are written again (--fresh trains anew)")
        else:
            say(world, f"train: resuming at epoch {state.progress.epoch + 1}, step {int(state.model.step)}")
    else:
        state.learn_geometry(training, settings, world)
    model, progress = state.model, state.progress
    if settings.compile:
        for layer in model.layers:
            layer.compile(dynamic=True)

    lengths = np.minimum(training.lengths, settings.max_residues)
    total_steps = settings.max_epochs * len(plan_epoch(lengths, settings, 0))
    record = None
    if world.leads:
        events = run.root / "tensorboard" if settings.tensorboard else None
        record = Record(run.checkpoints / "metrics.jsonl", progress.record_bytes, events)

    def checkpoint(finished: bool) -> None:
        if record is not None:
            progress.record_bytes = record.size
            state.save(run.checkpoints, fingerprint, finished)

    finished, stopped_early = found is not None and found["finished"], False
    try:
        while not finished:
            epoch, saved = progress.epoch, time.monotonic()
            steps = plan_epoch(lengths, settings, epoch)
            ahead = steps[progress.steps :]
            own = [batch for step in ahead for batch in step[world.rank :: world.size]]
            crop = SeededCrop(settings.max_residues, settings.seed, epoch)
            batches = create_ipa_dataloader(training, own, crop, settings.loader_workers, world.device.type == "cuda")
            label = f"epoch {epoch + 1}/{settings.max_epochs}"
            for step in track(ahead, len(ahead), label, "steps") if world.leads else ahead:
                began, number = time.monotonic(), int(model.step)
                # Batches have the places before it: a seed of its own.
                plan = StepPlan.draw(model, settings, seed_of(settings.seed, number, len(step)))
                sums = dict.fromkeys(("residues", *(NAMES if plan.structure else ("loss", "torsion"))), 0.0)
                for place in range(world.rank, len(step), world.size):
                    batch = next(batches)
                    losses = backward(
                        model, batch, state.scaler, settings, world, plan, seed_of(settings.seed, number, place),
                        run.checkpoints / f"replay-step-{number}.pt",
                    )  # fmt: skip
                    for name, value in {**losses, "residues": float(sum(batch.n_residues))}.items():
                        sums[name] += value
                # All processes learn of a signal to one of them in the same step.
                sums = world.sum(sums | {"signal": float(interrupt.requested)})
                rate = settings.lr * cosine_with_warmup(number, settings.warmup_steps, total_steps)
                for group in state.optimiser.param_groups:
                    group["lr"] = rate
                norm = update(model, state.optimiser, state.scaler, settings, world, len(step))
                state.average.update(model, number)

                values = {name: sums[name] / len(step) for name in NAMES if name in sums} | {"gradient_norm": norm}
                progress.add(values)
                progress.steps += 1
                progress.residues += int(sums["residues"])
                seconds = time.monotonic() - began
                progress.seconds += seconds
                if record is not None and (number + 1) % settings.log_steps == 0:
                    speed = {"residues_per_second": round(sums["residues"] / seconds, 1)}
                    memory = {"peak_memory_mb": round(_peak_memory_mb(world.device), 1)}
                    record.write({"event": "step", "step": number + 1, "lr": rate, **values, **speed, **memory})
                if sums["signal"]:
                    checkpoint(finished=False)
                    say(world, f"train: stopped by a signal; checkpoint at step {number + 1}, run again to resume")
                    raise SystemExit(REQUEUE_EXIT_CODE)
                if world.leads and time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                    checkpoint(finished=False)
                    saved = time.monotonic()

            with state.average.applied(model):
                figures = validate(model, validation, settings, world)
                score = figures.get(settings.select_by, float("nan"))
                if settings.select_by in HIGHER_IS_BETTER:
                    score = -score
                progress.best, kept = keep_best(run.checkpoints, progress.best, score, epoch + 1)
                if kept and world.leads:
                    with atomic_path(weights_of_epoch(run.checkpoints, epoch + 1)) as temporary:
                        save_model(model, temporary, {"epoch": str(epoch + 1), "data": fingerprint["data"]})
            best = progress.best[0]["epoch"] == epoch + 1
            means = progress.means()
            # Terms are computed in some of the steps; their sum is over what each was where it was.
            means["loss"] = weighted_total(means, settings)
            line: dict[str, Any] = {
                "event": "epoch",
                "epoch": epoch + 1,
                "step": int(model.step),
                "lr": state.optimiser.param_groups[0]["lr"],
                "seconds": round(progress.seconds, 3),
                "residues_per_second": round(progress.residues / max(progress.seconds, 1e-9), 1),
                "peak_memory_mb": round(_peak_memory_mb(world.device), 1),
                "train": means,
                "val": figures,
                "best": best,
            }
            left = (settings.max_epochs - epoch - 1) * progress.seconds
            progress.close_epoch()
            stopped_early = progress.epoch - progress.best[0]["epoch"] >= settings.patience
            if record is not None:
                record.write(line)
                record.publish(run.metrics)
            finished = stopped_early or progress.epoch >= settings.max_epochs
            checkpoint(finished)
            say(world, f"{label}: {_summary(means, figures, best)}, at most {format_seconds(left)} left")
            if world.any(interrupt.requested) and not finished:
                say(world, f"train: stopped by a signal; checkpoint after epoch {progress.epoch}, run again to resume")
                raise SystemExit(REQUEUE_EXIT_CODE)
        if stopped_early:
            say(world, f"train: no better {settings.select_by} for {settings.patience} epochs")
        if record is not None:
            record.publish(run.metrics)
    finally:
        if record is not None:
            record.close()
        world.close()
    if not world.leads:
        return

    best_epoch = progress.best[0]["epoch"]
    with atomic_path(run.model) as temporary:
        shutil.copyfile(weights_of_epoch(run.checkpoints, best_epoch), temporary)
    counts = {
        "parameters": count_parameters(model), "epochs": progress.epoch, "steps": int(model.step),
        "best_epoch": best_epoch, "train_complexes": len(training), "val_complexes": len(validation),
        "device": world.device.type, "processes": world.size, "threads": threads, "torch": torch.__version__,
        "data": fingerprint["data"],
    }  # fmt: skip
    recorded = {"model": fingerprint["model"], "training": settings.model_dump(mode="json")}
    write_sidecar(run.training, "train", VERSIONS["train"], recorded, {}, counts, time.monotonic() - start)
    print(f"train: best epoch {best_epoch} of {progress.epoch} by {settings.select_by}")


def say(world: World, text: str) -> None:
    """A line on standard error, once for all processes."""
    if world.leads:
        print(text, file=sys.stderr, flush=True)


def _summary(means: dict[str, float], figures: dict[str, float], best: bool) -> str:
    nothing = float("nan")
    return (
        f"train {means['loss']:.3f}, val {figures['loss']:.3f}, chi1 {figures.get('chi1_acc20', nothing):.1f} %, "
        f"pocket chi1 {figures.get('pocket_chi1_acc20', nothing):.1f} %, "
        f"pocket iRMSD {figures.get('pocket_irmsd', nothing):.2f} A, "
        f"clash {figures.get('clash_atoms_pct', nothing):.1f} %{' (best)' if best else ''}"
    )
