"""The training loop: reads top to bottom, resumes bit for bit on the CPU, never hides a NaN."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections import defaultdict
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import torch

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import collate_ipa_batch
from bindrae.data.dataset import IPABatch, Sample, ShardDataset, create_ipa_dataloader, crop_sample, epoch_order
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import atomic_path, sha256_file, sha256_text, write_sidecar, write_text
from bindrae.errors import BindraeError
from bindrae.evaluation.evaluate import Atoms, score_dataset
from bindrae.evaluation.scoring import figures
from bindrae.geometry.rigid import add_rigid_noise, build_frames_from_3_points
from bindrae.model.features import rebuild_backbone
from bindrae.model.stage1 import Stage1, count_parameters, save_model
from bindrae.progress import format_seconds, track
from bindrae.training.checkpoint import differing_keys, load_checkpoint, save_checkpoint
from bindrae.training.losses import LOSS_NAMES, stage1_loss
from bindrae.training.schedule import cosine_with_warmup

REQUEUE_EXIT_CODE = 85
"""Exit code after a signal asked for a checkpoint: the run is unfinished, not failed."""
_DTYPE = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class _Interrupt:
    """Remembers that SIGTERM or SIGUSR1 came, so that the current step can end."""

    def __init__(self) -> None:
        self.requested = False
        self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def pick_device(wanted: str) -> torch.device:
    """The device of a run; `auto` takes CUDA where there is one.

    Raises
    ------
    BindraeError
        When CUDA is asked for and missing.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BindraeError("training.device is 'cuda', but torch sees no GPU", "set training.device to auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def with_noise(batch: IPABatch, settings: TrainingSettings, generator: torch.Generator) -> IPABatch:
    """The batch with every residue's backbone moved a little, before any feature is computed from it."""
    frames = build_frames_from_3_points(batch.N, batch.Ca, batch.C)
    noisy = add_rigid_noise(*frames, settings.noise_rotation_deg, settings.noise_translation_angstrom, True, generator)
    N, CA, C = rebuild_backbone(frames, noisy, batch.N, batch.Ca, batch.C)
    return replace(batch, N=N, Ca=CA, C=C)


def _fingerprint(model: ModelSettings, training: TrainingSettings, data: list[ShardDataset]) -> dict[str, Any]:
    hashes = [sha256_file(path) for dataset in data for path in dataset.files]
    return {
        "version": VERSIONS["train"],
        "model": model.model_dump(mode="json", exclude={"preset"}),
        "training": training.model_dump(mode="json"),
        "data": sha256_text("".join(hashes)),
    }


def _step(
    model: Stage1,
    batch: IPABatch,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
) -> dict[str, float]:
    """One optimiser step; the losses of the batch and the gradient norm.

    Raises
    ------
    FloatingPointError
        When a loss is not finite, with the ids of the batch.
    """
    device = batch.N.device.type
    with torch.autocast(device, dtype=_DTYPE.get(settings.precision), enabled=settings.precision != "fp32"):
        output = model(batch, teacher_forcing=True)
    losses = stage1_loss(output, batch, settings, int(model.step))
    values = {name: value.item() for name, value in losses.items()}
    if not np.isfinite(list(values.values())).all():
        raise FloatingPointError(f"loss {values} at step {int(model.step)} on complexes {', '.join(batch.pdb_ids)}")
    optimiser.zero_grad(set_to_none=True)
    scaler.scale(losses["loss"]).backward()
    scaler.unscale_(optimiser)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    scaler.step(optimiser)
    scaler.update()
    model.step += 1
    return values | {"gradient_norm": float(norm)}


@torch.no_grad()
def validate(
    model: Stage1, dataset: ShardDataset, settings: TrainingSettings, device: torch.device
) -> dict[str, float]:
    """Losses and metrics over whole complexes, no crop and no noise, chis decoded from the model's own."""
    model.eval()
    sums: dict[str, float] = defaultdict(float)

    def predict(identifier: str, sample: Sample) -> Atoms:
        """Atoms for the metrics; the losses of the same pass are added up on the way."""
        batch = collate_ipa_batch([(identifier, sample)]).to(device)
        output = model(batch)
        for name, value in stage1_loss(output, batch, settings, int(model.step)).items():
            sums[name] += value.item()
        return output.atom14[0].float().cpu().numpy(), output.atom14_mask[0].cpu().numpy()

    residues, complexes = score_dataset(dataset, predict, "validate")
    result = {name: value / len(dataset) for name, value in sums.items()}
    found = figures(residues, complexes, None)
    model.train()
    wanted = {
        "chi1_acc20": found["overall"]["chi1_acc20"],
        "pocket_chi1_acc20": found["pocket"]["chi1_acc20"],
        "pocket_irmsd": found["pocket"]["irmsd"],
        "clash_atoms_pct": found["overall"]["clash_atoms_pct"],
    }
    return result | {name: figure["value"] for name, figure in wanted.items() if figure["value"] is not None}


def run_training(
    layout: DataLayout, run: RunLayout, model_settings: ModelSettings, settings: TrainingSettings,
    threads: int = 1, fresh: bool = False, restart_if_changed: bool = False,
) -> None:  # fmt: skip
    """Train Stage-1 and write the best weights, the record and the sidecar.

    An unfinished run is resumed from its last checkpoint; a finished one starts over.

    Parameters
    ----------
    layout : DataLayout
    run : RunLayout
    model_settings : ModelSettings
    settings : TrainingSettings
    threads : int
        Threads of torch on the CPU.
    fresh : bool
        Discard the run's checkpoints.
    restart_if_changed : bool
        Discard them when settings or data changed, instead of refusing.

    Raises
    ------
    BindraeError
        When an unfinished run had other settings or data.
    FloatingPointError
        When a loss is not finite.
    SystemExit
        With `REQUEUE_EXIT_CODE` after SIGTERM or SIGUSR1, the checkpoint written.
    """
    start = time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(settings.seed)
    device = pick_device(settings.device)
    training, validation = ShardDataset(layout, "train"), ShardDataset(layout, "val")
    fingerprint = _fingerprint(model_settings, settings, [training, validation])

    model = Stage1(model_settings).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16" and device.type == "cuda")
    generator = torch.Generator().manual_seed(settings.seed)
    lengths = np.minimum(training.lengths, settings.max_residues)
    steps_per_epoch = -(-len(training) // settings.batch_size)
    progress: dict[str, Any] = {
        "epoch": 0,
        "batch": 0,
        "sums": {},
        "seconds": 0.0,
        "residues": 0,
        "best": None,
        "history": [],
    }

    if fresh and run.checkpoints.exists():
        shutil.rmtree(run.checkpoints)
    state = load_checkpoint(run.checkpoints)
    if state is not None and state["finished"]:
        print("train: the run was finished; starting over", file=sys.stderr)
        state = None
    if state is not None and (changed := differing_keys(state["fingerprint"], fingerprint)):
        if not restart_if_changed:
            raise BindraeError(
                f"{run.checkpoints} holds an unfinished run with other settings or data: " + "; ".join(changed),
                "go back to those settings, choose another `run:` name, or start over with --fresh",
            )
        print("train: settings or data changed (" + "; ".join(changed) + "); starting over", file=sys.stderr)
        state = None
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        scaler.load_state_dict(state["scaler"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        progress = state["progress"]
        print(f"train: resuming at epoch {progress['epoch'] + 1}, step {int(model.step)}", file=sys.stderr)

    def checkpoint(finished: bool) -> None:
        save_checkpoint(
            run.checkpoints,
            {
                "model": model.state_dict(), "optimiser": optimiser.state_dict(), "scaler": scaler.state_dict(),
                "generator": generator.get_state(), "rng": torch.get_rng_state(), "fingerprint": fingerprint,
                "progress": progress, "finished": finished,
            },
        )  # fmt: skip

    def crop(sample: Sample, index: int) -> Sample:
        return crop_sample(sample, settings.max_residues, generator)

    interrupt = _Interrupt()
    total_steps = settings.max_epochs * steps_per_epoch
    best_path = run.checkpoints / "best.safetensors"
    try:
        while progress["epoch"] < settings.max_epochs:
            epoch, began = progress["epoch"], time.monotonic()
            batches = epoch_order(lengths, settings.batch_size, settings.seed, epoch)[progress["batch"] :]
            label = f"epoch {epoch + 1}/{settings.max_epochs}"
            for batch in track(create_ipa_dataloader(training, batches, crop), len(batches), label, "batches"):
                if int(model.step) >= settings.noise_start_step:
                    batch = with_noise(batch, settings, generator)
                for group in optimiser.param_groups:
                    group["lr"] = settings.lr * cosine_with_warmup(int(model.step), settings.warmup_steps, total_steps)
                values = _step(model, batch.to(device), optimiser, scaler, settings)
                for name, value in values.items():
                    progress["sums"][name] = progress["sums"].get(name, 0.0) + value
                progress["batch"] += 1
                progress["residues"] += sum(batch.n_residues)
                if interrupt.requested:
                    progress["seconds"] += time.monotonic() - began
                    checkpoint(finished=False)
                    print(
                        f"train: stopped by a signal; checkpoint at step {int(model.step)}, run again to resume",
                        file=sys.stderr,
                    )
                    raise SystemExit(REQUEUE_EXIT_CODE)
            progress["seconds"] += time.monotonic() - began
            means = {name: value / steps_per_epoch for name, value in progress["sums"].items()}
            found = validate(model, validation, settings, device)
            score = found.get("pocket_irmsd", found["loss"])
            best = progress["best"] is None or score < progress["best"]["score"]
            progress["history"].append(
                {
                    "event": "epoch",
                    "epoch": epoch + 1,
                    "step": int(model.step),
                    "lr": optimiser.param_groups[0]["lr"],
                    "seconds": round(progress["seconds"], 3),
                    "residues_per_second": round(progress["residues"] / max(progress["seconds"], 1e-9), 1),
                    "train": {name: means[name] for name in ("loss", *LOSS_NAMES, "gradient_norm")},
                    "val": found,
                    "best": best,
                }
            )
            progress |= {"epoch": epoch + 1, "batch": 0, "sums": {}, "seconds": 0.0, "residues": 0}
            if best:
                progress["best"] = {"score": score, "epoch": epoch + 1}
                with atomic_path(best_path) as temporary:
                    save_model(model, temporary, {"epoch": str(epoch + 1), "data": fingerprint["data"]})
            write_text("".join(json.dumps(line) + "\n" for line in progress["history"]), run.metrics)
            left = (settings.max_epochs - epoch - 1) * (time.monotonic() - start) / max(1, epoch + 1)
            print(
                f"epoch {epoch + 1}/{settings.max_epochs}: train {means['loss']:.3f}, val {found['loss']:.3f}, "
                f"chi1 {found.get('chi1_acc20', float('nan')):.1f} %, "
                f"pocket iRMSD {score:.2f} A{' (best)' if best else ''}, at most {format_seconds(left)} left",
                file=sys.stderr,
                flush=True,
            )
            stop = epoch + 1 - progress["best"]["epoch"] >= settings.patience
            if interrupt.requested:
                checkpoint(finished=False)
                raise SystemExit(REQUEUE_EXIT_CODE)
            checkpoint(finished=stop or epoch + 1 == settings.max_epochs)
            if stop:
                print(f"train: no better pocket iRMSD for {settings.patience} epochs", file=sys.stderr)
                break
    finally:
        interrupt.restore()
    with atomic_path(run.model) as temporary:
        shutil.copyfile(best_path, temporary)
    counts = {
        "parameters": count_parameters(model), "epochs": progress["epoch"], "steps": int(model.step),
        "best_epoch": progress["best"]["epoch"], "train_complexes": len(training), "val_complexes": len(validation),
        "device": device.type, "torch": torch.__version__, "threads": threads,
    }  # fmt: skip
    write_sidecar(
        run.training,
        "train",
        VERSIONS["train"],
        {"model": fingerprint["model"], "training": fingerprint["training"]},
        {},
        counts | {"data": fingerprint["data"]},
        time.monotonic() - start,
    )
    best_epoch, best_score = progress["best"]["epoch"], progress["best"]["score"]
    print(f"train: best epoch {best_epoch} of {progress['epoch']}, pocket iRMSD {best_score:.3f} A")
