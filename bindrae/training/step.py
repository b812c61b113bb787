"""One optimiser step, and what its random draws depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindrae.config import TrainingSettings
from bindrae.data.batch import IPABatch
from bindrae.data.storage import atomic_path
from bindrae.geometry.rigid import add_rigid_noise, apply, build_frames_from_3_points, invert_apply
from bindrae.model.context import KnownSidechains
from bindrae.model.stage1 import Stage1
from bindrae.training.losses import stage1_loss
from bindrae.training.parallel import World
from bindrae.training.showing import show_sidechains

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def seed_of(*numbers: int) -> int:
    """A seed that depends on all of the numbers: (run's seed, step, batch of the step)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def with_noise(batch: IPABatch, settings: TrainingSettings, generator: torch.Generator) -> IPABatch:
    """The batch with every residue's backbone moved a little, before any feature is computed from it."""
    frames = build_frames_from_3_points(batch.N, batch.Ca, batch.C)
    # Most complexes are moved as little as crystals err; some by any amount up to what poor models err.
    wide = torch.rand(len(batch.pdb_ids), 1, generator=generator) < settings.noise_wide_fraction
    share = torch.rand(len(batch.pdb_ids), 1, generator=generator)
    rotation = torch.where(wide, share * settings.noise_wide_rotation_deg, settings.noise_rotation_deg)
    translation = torch.where(
        wide, share * settings.noise_wide_translation_angstrom, settings.noise_translation_angstrom
    )
    noisy = add_rigid_noise(*frames, rotation, translation.unsqueeze(-1), True, generator)
    atoms = torch.stack([batch.N, batch.Ca, batch.C, batch.oxygen], dim=2)
    N, CA, C, oxygen = apply(noisy, invert_apply(frames, atoms)).unbind(2)
    return replace(batch, N=N, Ca=CA, C=C, oxygen=oxygen)


def without_some_geometry(batch: IPABatch, fraction: float, generator: torch.Generator) -> IPABatch:
    """The batch with a share of its complexes, drawn at random, of whose backbone no bonds and angles are read."""
    told = torch.rand(len(batch.pdb_ids), generator=generator) >= fraction
    return replace(batch, geometry=batch.geometry & told)


@dataclass(frozen=True)
class StepPlan:
    """What all batches of a step have in common, so that the processes that share them take equally long."""

    shows: bool  # side chains
    structure: bool  # losses on atoms

    @classmethod
    def draw(cls, model: Stage1, settings: TrainingSettings, seed: int) -> StepPlan:
        """The plan of a step, from its seed."""
        shows, structure = np.random.default_rng(seed).random(2)
        return cls(
            model.settings.recycles > 0 and bool(shows < settings.shown_fraction),
            bool(structure < settings.structure_fraction),
        )


def backward(
    model: Stage1,
    batch: IPABatch,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
    world: World,
    plan: StepPlan,
    seed: int,
    replay: Path,
) -> dict[str, float]:
    """Losses of one batch, their gradients added to those of the step's earlier batches.

    Everything random (noise, shown side chains, dropout) is drawn from `seed` alone: a resumed run, or another number
    of processes, draws the same.

    Parameters
    ----------
    plan : StepPlan
        Of the step.
    seed : int
        Of the batch.
    replay : Path
        Where a batch whose loss is not finite is kept; see `bindrae.training.replay`.

    Raises
    ------
    FloatingPointError
        When a loss is not finite, with the ids of the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    if int(model.step) >= settings.noise_start_step:
        batch = with_noise(batch, settings, generator)
    if model.settings.backbone_geometry:
        batch = without_some_geometry(batch, settings.geometry_untold_fraction, generator)
    known = show_sidechains(batch, settings, generator) if plan.shows else None
    losses = losses_of(model, batch, known, settings, world.device, plan.structure, seed)
    values = {name: value.item() for name, value in losses.items()}
    if not np.isfinite(list(values.values())).all():
        keep_replay(replay, model, batch, known, settings, seed, values)
        raise FloatingPointError(
            f"loss {values} at step {int(model.step)} on complexes {', '.join(batch.pdb_ids)}; "
            f"`python -m bindrae.training.replay {replay}` runs this batch again and names the first bad tensor"
        )
    scaler.scale(losses["loss"]).backward()
    return values


def losses_of(
    model: Stage1,
    batch: IPABatch,
    known: KnownSidechains | None,
    settings: TrainingSettings,
    device: torch.device,
    structure: bool,
    seed: int,
) -> dict[str, Tensor]:
    """Forward pass and losses of a batch as it is trained on; dropout is drawn from `seed`."""
    torch.manual_seed(seed)
    batch = batch.to(device)
    if known is not None:
        known = KnownSidechains(*(x.to(device, non_blocking=True) for x in known))
    with torch.autocast(device.type, dtype=AUTOCAST.get(settings.precision), enabled=settings.precision in AUTOCAST):
        output = model(batch, teacher_forcing=True, known=known)
    hidden = None if known is None else ~known.shown
    return stage1_loss(output, batch, settings, int(model.step), hidden, structure)


def update(
    model: Stage1,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
    world: World,
    batches: int,
) -> float:
    """Move the weights by the mean gradient of the step's batches; the gradient norm before clipping.

    Raises
    ------
    FloatingPointError
        When the norm is not finite. fp16 is the exception: its scaler skips such a step and lowers the scale.
    """
    world.average_gradients(model, batches)
    scaler.unscale_(optimiser)
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm))
    if not np.isfinite(norm) and not scaler.is_enabled():
        raise FloatingPointError(f"the gradient at step {int(model.step)} is not finite although the loss is")
    scaler.step(optimiser)
    scaler.update()
    optimiser.zero_grad(set_to_none=True)
    model.step += 1
    return norm


def keep_replay(
    path: Path, model: Stage1, batch: IPABatch, known: KnownSidechains | None, settings: TrainingSettings, seed: int,
    losses: dict[str, float],
) -> None:  # fmt: skip
    """Write what is needed to run one batch again exactly: weights, settings, seed, the batch and what it was shown."""
    tensors = {f.name: getattr(batch, f.name) for f in fields(batch)}
    state = {
        "model": model.state_dict(),
        "model_settings": model.settings.model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
        "seed": seed,
        "losses": losses,
        "known": known if known is None else known._asdict(),
        "batch": {name: x.cpu() if isinstance(x, Tensor) else x for name, x in tensors.items()},
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
