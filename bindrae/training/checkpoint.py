"""Checkpoints: everything that a training needs to go on as if nothing had happened.

``last.pt`` and ``previous.pt`` are the two newest states, ``epoch-NNNN.safetensors`` the weights of the three best
epochs. Each is written under another name and renamed, so that a kill leaves the older ones whole.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from bindrae.data.storage import atomic_path
from bindrae.data.tensors import read_tensors
from bindrae.errors import BindraeError

LAST, PREVIOUS = "last.pt", "previous.pt"
KEEP_BEST = 3


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last.pt``; the one before becomes ``previous.pt``."""
    last = folder / LAST
    with atomic_path(last) as temporary:
        torch.save(state, temporary)
        if last.is_file():
            os.replace(last, folder / PREVIOUS)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest state that can be read; None when there is none.

    Raises
    ------
    BindraeError
        When there are states and all are damaged.
    """
    faults = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            state = read_tensors(path, "start over with --fresh")
        except BindraeError as error:
            faults.append(error.message)
            continue
        if faults:
            print(f"train: {faults[0]}; going on from {PREVIOUS}", file=sys.stderr)
        return state
    if faults:
        raise BindraeError("; ".join(faults), "start over with --fresh")
    return None


def weights_of_epoch(folder: Path, epoch: int) -> Path:
    """File with the weights of one of the best epochs."""
    return folder / f"epoch-{epoch:04d}.safetensors"


def keep_best(folder: Path, best: list[dict[str, Any]], score: float, epoch: int) -> tuple[list[dict[str, Any]], bool]:
    """The list of the best epochs with a new one in it, and whether the new one is among them.

    The weights of an epoch that drops out are deleted.

    Parameters
    ----------
    folder : Path
    best : list of dict
        ``score`` and ``epoch``, best (lowest) first.
    score : float
        Of the new epoch; lower is better. NaN is worse than any number.
    epoch : int
    """
    ranked = sorted(
        [*best, {"score": score, "epoch": epoch}], key=lambda e: (e["score"] != e["score"], e["score"], e["epoch"])
    )
    for dropped in ranked[KEEP_BEST:]:
        weights_of_epoch(folder, dropped["epoch"]).unlink(missing_ok=True)
    kept = ranked[:KEEP_BEST]
    return kept, any(entry["epoch"] == epoch for entry in kept)
