"""Reading shards: the complexes of one side, the batches of an epoch, and the loader that pads them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, Dataset

from bindrae.data.axes import AXES
from bindrae.data.batch import IPABatch, Sample, atom_radii, collate_ipa_batch, crop_sample
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.shards import shard_tensors_path
from bindrae.data.storage import read_table
from bindrae.data.tensors import read_tensors
from bindrae.errors import BindraeError

__all__ = [
    "IPABatch", "Sample", "SeededCrop", "ShardDataset", "atom_radii", "budget_batches", "collate_ipa_batch",
    "create_ipa_dataloader", "crop_sample", "epoch_order", "even_part",
]  # fmt: skip

_WINDOW_BATCHES = 8
Transform = Callable[[Sample, int], Sample]


class ShardDataset(Dataset[tuple[str, Sample]]):
    """The complexes of one side of the split, in the order of their ids; tensors stay on disk until read (mmap).

    Pickled to a worker process it carries the names of its files, not what is in them.

    Parameters
    ----------
    layout : DataLayout
    side : {"train", "val", "test", "all"}

    Attributes
    ----------
    ids : list of str
    lengths : numpy.ndarray
        [n] residues of each complex.
    plm_width : int
        Width of the language model's embedding, 0 without one.
    files : list of Path

    Raises
    ------
    BindraeError
        When the shards are missing, the side holds no complex, or batches hold embeddings of different width.
    """

    def __init__(self, layout: DataLayout, side: str) -> None:
        self.side = side
        sides = SIDES if side == "all" else (side,)
        shards = [layout.shard(one, number) for one in sides for number in layout.batch_numbers()]
        tables = [read_table(shard) for shard in shards]
        self.files = [file for shard in shards for file in (shard, shard_tensors_path(shard))]
        if not any(table.num_rows for table in tables):
            raise BindraeError(
                f"the {side} side of {layout.root} holds no complex",
                "add complexes, or change split.fractions or split.seed",
            )
        facts = pa.concat_tables(tables)
        order = pc.sort_indices(facts["id"])
        self._facts = facts.take(order)
        counts = [table.num_rows for table in tables]
        # Shard and row of each complex, in the order of the ids.
        self._shard_of = np.repeat(np.arange(len(counts)), counts)[order]
        self._row_of = np.concatenate([np.arange(count) for count in counts])[order]
        self.ids: list[str] = self._facts["id"].to_pylist()
        self.lengths: np.ndarray = self._facts["n_residues"].to_numpy().astype(np.int64)
        self._open()

    def _open(self) -> None:
        files = self.files[1::2]
        self._shards: list[Sample] = [read_tensors(f, "rerun shards for its batch", mmap=True) for f in files]
        widths = {shard["plm"].shape[1]: file for shard, file in zip(self._shards, files, strict=True)}
        if len(widths) > 1:
            named = ", ".join(f"{width} in {file}" for width, file in sorted(widths.items()))
            raise BindraeError(
                f"shards hold embeddings of different width: {named}", "rerun embed and shards for all batches"
            )
        self.plm_width = next(iter(widths))

    def take(self, indices: Sequence[int]) -> ShardDataset:
        """Some of the complexes, in the given order.

        Parameters
        ----------
        indices : sequence of int
            Places in `ids`.
        """
        part = copy.copy(self)
        part.__dict__.pop("facts", None)
        rows = np.asarray(indices, dtype=np.int64)
        part._facts = self._facts.take(pa.array(rows))
        part._shard_of, part._row_of, part.lengths = self._shard_of[rows], self._row_of[rows], self.lengths[rows]
        part.ids = [self.ids[row] for row in rows]
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_shards"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The row of each complex in its shard's table, by id."""
        return {row["id"]: row for row in self._facts.to_pylist()}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[str, Sample]:
        tensors, row = self._shards[self._shard_of[index]], self._row_of[index]
        sample: Sample = {}
        for axis, columns in AXES.items():
            start, stop = tensors[f"{axis}_offsets"][row : row + 2].tolist()
            for name in columns:
                sample[name] = tensors[name][start:stop]
            if axis == "residue":
                sample["plm"] = tensors["plm"][start:stop]
                sample["residue_index"] = torch.arange(stop - start)
        return self.ids[index], sample


def even_part(dataset: ShardDataset, most: int | None) -> ShardDataset:
    """At most so many complexes, evenly over a dataset; all of them for None."""
    if most is None or most >= len(dataset):
        return dataset
    return dataset.take(np.linspace(0, len(dataset) - 1, most).astype(int).tolist())


def epoch_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of one training epoch: random, yet of similar length inside a batch, so that little is padded.

    Parameters
    ----------
    lengths : numpy.ndarray
        [n] residues of each complex after cropping.
    batch_size : int
        Complexes a batch; the last of each window of eight batches may be smaller.
    seed, epoch : int
        The order depends on nothing else.

    Returns
    -------
    list of list of int
        Indices; every complex once.
    """
    window = batch_size * _WINDOW_BATCHES
    return _bucketed(lengths, window, lambda count, longest: count <= batch_size, seed, epoch, 1)


def budget_batches(lengths: np.ndarray, max_tokens: int, seed: int, epoch: int, together: int = 1) -> list[list[int]]:
    """Batches of one epoch by padded size: as many complexes of similar length as the budget holds.

    Memory and time of a step follow the padded size, so a batch holds many small complexes or a few large ones. Their
    number changes a little from epoch to epoch.

    Parameters
    ----------
    lengths : numpy.ndarray
        [n] residues of each complex after cropping.
    max_tokens : int
        Largest ``complexes * residues of the longest``; a complex longer than this comes alone.
    seed, epoch : int
        The order depends on nothing else.
    together : int
        Batches that make one step: this many of about the same size stand side by side, so that processes which share
        them out finish at the same time.

    Returns
    -------
    list of list of int
        Indices; every complex once.
    """
    fitting = max_tokens / max(float(np.mean(lengths)), 1.0) if len(lengths) else 1.0
    window = _WINDOW_BATCHES * max(1, round(fitting))
    return _bucketed(lengths, window, lambda count, longest: count * longest <= max_tokens, seed, epoch, together)


def _bucketed(
    lengths: np.ndarray, window: int, fits: Callable[[int, int], bool], seed: int, epoch: int, together: int
) -> list[list[int]]:
    """Cut a random order into windows, fill batches along the sorted lengths of each, and shuffle the batches."""
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), window):
        block = shuffled[start : start + window]
        batch: list[int] = []
        for index in block[np.argsort(lengths[block], kind="stable")].tolist():
            # In ascending order the newest complex is the longest.
            if batch and not fits(len(batch) + 1, int(lengths[index])):
                batches.append(batch)
                batch = []
            batch.append(index)
        batches.append(batch)
    whole = len(batches) // together
    order = [i * together + k for i in rng.permutation(whole).tolist() for k in range(together)]
    return [batches[i] for i in (*order, *range(whole * together, len(batches)))]


class SeededCrop:
    """A crop that depends on the complex, the seed and the epoch alone: the same in any process and after a resume.

    Parameters
    ----------
    max_residues, seed, epoch : int
    """

    def __init__(self, max_residues: int, seed: int, epoch: int) -> None:
        self.max_residues, self.seed, self.epoch = max_residues, seed, epoch

    def __call__(self, sample: Sample, index: int) -> Sample:
        """Crop the complex at `index` of the dataset; see `crop_sample`."""
        state = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1, np.uint64)[0]
        return crop_sample(sample, self.max_residues, torch.Generator().manual_seed(int(state >> np.uint64(1))))


class _Batches(Dataset[IPABatch]):
    """Whole padded batches as items, so that a worker process prepares one at a time."""

    def __init__(self, dataset: ShardDataset, batches: list[list[int]], transform: Transform | None) -> None:
        self.dataset, self.batches, self.transform = dataset, batches, transform

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> IPABatch:
        samples = []
        for index in self.batches[number]:
            name, sample = self.dataset[index]
            samples.append((name, self.transform(sample, index) if self.transform else sample))
        return collate_ipa_batch(samples)


def create_ipa_dataloader(
    dataset: ShardDataset,
    batches: list[list[int]],
    transform: Transform | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[IPABatch]:
    """Iterate over padded batches, in the given order whatever the number of workers.

    Parameters
    ----------
    dataset : ShardDataset
    batches : list of list of int
        Indices of each batch, see `epoch_order` and `budget_batches`.
    transform : callable, optional
        Applied to each sample with its index, for instance a crop. With workers it must depend on these two alone, as
        `SeededCrop` does: a generator that it carries would advance in each worker apart.
    num_workers : int
        Processes that prepare batches ahead; 0 prepares them here.
    pin_memory : bool
        Hand out page-locked batches, which a GPU takes faster; without CUDA it has no effect.
    """
    # Without a generator of its own a loader draws from torch's, and a resumed run would see other dropout masks.
    yield from DataLoader(
        _Batches(dataset, batches, transform),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory and torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
    )
