"""Several processes, one training: the batches of a step are shared out and their gradients added up.

Thin over torch.distributed: a step's gradient is the mean over its batches wherever they were computed, so one process
and several give the same result. Gradients travel in one flat tensor after the step's last batch; a model of a few
million parameters needs no overlap of computing and sending, and no wrapper that changes the names of its weights.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed as dist
from torch import nn

from bindrae.environment import bf16_units
from bindrae.errors import BindraeError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def average_gradients(self, model: nn.Module, batches: int) -> None:
        """Turn the sums of gradients of all processes into their mean over the step's batches."""
        learnt = [p for p in model.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
        if self.size > 1:
            flat = torch.cat([g.flatten() for g in gradients])
            dist.all_reduce(flat)
            parts = flat.split([g.numel() for g in gradients])
            gradients = [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter.grad = gradient / batches if batches > 1 else gradient

    def sum(self, values: dict[str, float]) -> dict[str, float]:
        """Sums over the processes; all must hold the same names."""
        if self.size == 1:
            return values
        total = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(sorted(values), total.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process: what one is told, all must act on in the same step."""
        return self.sum({"flag": float(flag)})["flag"] > 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return [v for v in values if v is not None]

    def broadcast(self, value: T) -> T:
        """The value of the leading process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


def pick_device(wanted: str, number: int = 0) -> torch.device:
    """The device of a run; `auto` takes CUDA where there is one.

    Raises
    ------
    BindraeError
        When CUDA is asked for and missing.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BindraeError("training.device is 'cuda', but torch sees no GPU", "set training.device to auto or cpu")
    return torch.device(f"cuda:{number}" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def pick_precision(wanted: str, world: World) -> str:
    """The precision of a run; `auto` takes bf16 where the devices of all processes multiply it by themselves.

    One that is asked for is taken as it is. If the leading process then has a processor that must make do without, it
    says so.
    """
    if wanted not in ("auto", "bf16"):
        return wanted
    if world.device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = bool(bf16_units())
    if wanted == "auto":
        return "fp32" if world.any(not able) else "bf16"
    if world.leads and not able:
        print(
            "train: training.precision is bf16, which this machine does not multiply by itself: steps take several "
            "times as long as in fp32; set training.precision to auto or fp32",
            file=sys.stderr,
        )
    return wanted


def join_world(wanted_device: str, accumulate: int) -> World:
    """Join the processes that ``torchrun`` started, or be the only one.

    Parameters
    ----------
    wanted_device : {"auto", "cpu", "cuda"}
    accumulate : int
        Batches a step.

    Raises
    ------
    BindraeError
        When there are more processes than batches to share out, or CUDA is missing.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = pick_device(wanted_device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        return World(0, 1, device)
    if accumulate % size:
        raise BindraeError(
            f"{size} processes cannot share the {accumulate} batches of a step evenly",
            f"set training.accumulate to a multiple of {size} (and lower training.batch_size in turn)",
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank, size, device)
