"""What the complexes of one side of a dataset say, gathered in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file

from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.model.model_file import load_model
from bindrae.prediction.tune import Trial, recall_trial, try_sample
from bindrae.progress import track

_PIECE = 10  # complexes that a process takes at a time
Told = TypeVar("Told")


@dataclass(frozen=True)
class Side:
    """Complexes of one side of a dataset, and where the model's answers for them are kept.

    Attributes
    ----------
    data, model : Path
        Data folder of the dataset, and model file.
    side : str
    most : int or None
        Complexes at most, evenly over the side; None: all.
    answers : Path
        Folder of the answers given so far; the model is run once on each complex, however often it is asked about.
    """

    data: Path
    model: Path
    side: str
    most: int | None
    answers: Path

    def dataset(self) -> ShardDataset:
        """The complexes."""
        return even_part(ShardDataset(DataLayout(self.data), self.side), self.most)


def gather_side(ask: Callable[[Trial], Told], side: Side, processes: int, label: str) -> list[Told]:
    """Ask about each complex of a side.

    Parameters
    ----------
    ask : callable
        Gets the model's answer for a complex; sent to other processes.
    side : Side
    processes : int
    label : str
        Of the progress.

    Returns
    -------
    list
        What `ask` returned, in the order of the side.
    """
    count = len(side.dataset())
    pieces = [range(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        found = pool.map(partial(_ask_piece, ask, side), pieces)
        return [one for piece in track(found, len(pieces), label) for one in piece]


def _ask_piece(ask: Callable[[Trial], Told], side: Side, indices: Sequence[int]) -> list[Told]:
    torch.set_num_threads(1)
    model, dataset = load_model(side.model), side.dataset()
    told = []
    for i in indices:
        kept = side.answers / f"{i}.safetensors"
        if kept.exists():
            trial = recall_trial(model, *dataset[i], load_file(kept))
        else:
            trial = try_sample(model, *dataset[i])
            save_file({name: x.contiguous() for name, x in trial.answer().items()}, kept)
        told.append(ask(trial))
    return told
