"""What the complexes of one side of a dataset say, gathered in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.model.model_file import load_model
from bindrae.prediction.tune import Trial, try_sample
from bindrae.progress import track

_PIECE = 10  # complexes that a process takes at a time
Told = TypeVar("Told")


def gather_side(
    ask: Callable[[Trial], Told], data: Path, model: Path, side: str, most: int, processes: int, label: str
) -> list[Told]:
    """Ask at most so many complexes of a side, evenly over it.

    Parameters
    ----------
    ask : callable
        Gets the model's answer for a complex; sent to other processes.
    data, model : Path
        Data folder of the dataset, and model file.
    side : str
    most, processes : int
    label : str
        Of the progress.

    Returns
    -------
    list
        What `ask` returned, in the order of the side.
    """
    count = len(even_part(ShardDataset(DataLayout(data), side), most))
    pieces = [range(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        found = pool.map(partial(_ask_piece, ask, data, model, side, most), pieces)
        return [one for piece in track(found, len(pieces), label) for one in piece]


def _ask_piece(
    ask: Callable[[Trial], Told], data: Path, model_path: Path, side: str, most: int, indices: Sequence[int]
) -> list[Told]:
    torch.set_num_threads(1)
    model, dataset = load_model(model_path), even_part(ShardDataset(DataLayout(data), side), most)
    return [ask(try_sample(model, *dataset[i])) for i in indices]
