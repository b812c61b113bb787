"""Reading shards: single complexes, crops of them, and padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.data.shards import AXES, RESIDUE_TENSORS, shard_tensors_path
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError

_RADII_BY_NUMBER = {
    1: "H", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F", 14: "SI", 15: "P", 16: "S", 17: "CL", 33: "AS", 34: "SE", 35: "BR",
    53: "I",
}  # fmt: skip
Sample = dict[str, Tensor]


def atom_radii(element: Tensor) -> Tensor:
    """Bondi radius (A) of atomic numbers; 0 for metals, which take no part in clashes.

    Parameters
    ----------
    element : Tensor
        [...] integers.
    """
    table = torch.zeros(128)
    for number, symbol in _RADII_BY_NUMBER.items():
        table[number] = aa.BONDI_RADII[symbol]
    return table[element.long().clamp(0, 127)]


@dataclass
class IPABatch:
    """B complexes padded to N residues, M ligand tokens and L ligand atoms.

    Everything the network may see is in the first block; the truth is for losses and metrics alone.
    """

    # input
    esm: Tensor  # [B, N, D] language-model embedding, D = 0 without one
    N: Tensor  # [B, N, 3] angstrom
    Ca: Tensor  # [B, N, 3]
    C: Tensor  # [B, N, 3]
    aatype: Tensor  # [B, N] int64, 0-20
    residue_index: Tensor  # [B, N] int64, row in the whole residue table
    chain_index: Tensor  # [B, N] int64
    linked: Tensor  # [B, N] bool, peptide bond to the next row
    node_mask: Tensor  # [B, N] bool
    lig_points: Tensor  # [B, M, 3] angstrom
    lig_types: Tensor  # [B, M, 12]
    lig_mask: Tensor  # [B, M] bool
    # truth
    torsion_angles: Tensor  # [B, N, 7] radians: phi psi omega chi1-4
    torsion_mask: Tensor  # [B, N, 7] bool
    w_res: Tensor  # [B, N] in [0, 1]
    contact: Tensor  # [B, N] bool, the pocket of the metrics
    atom14: Tensor  # [B, N, 14, 3] angstrom
    atom14_mask: Tensor  # [B, N, 14] bool
    bfactor: Tensor  # [B, N, 14]
    ligand_xyz: Tensor  # [B, L, 3] heavy atoms of the ligand
    ligand_radius: Tensor  # [B, L] angstrom, 0 for metals
    ligand_mask: Tensor  # [B, L] bool
    # names
    pdb_ids: list[str]
    n_residues: list[int]

    def to(self, device: torch.device) -> IPABatch:
        """The batch with its tensors on a device."""
        moved: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


class ShardDataset(Dataset[tuple[str, Sample]]):
    """The complexes of one side of the split, in the order of their ids; tensors stay on disk until read (mmap).

    Parameters
    ----------
    layout : DataLayout
    side : {"train", "val", "test"}

    Raises
    ------
    BindraeError
        When the shards are missing or the side holds no complex.
    """

    def __init__(self, layout: DataLayout, side: str) -> None:
        self.side = side
        places: list[tuple[str, int, int]] = []
        self._shards: list[Sample] = []
        self.facts: dict[str, dict[str, object]] = {}
        self.files: list[Path] = []
        for number in layout.batch_numbers():
            path = layout.shard(side, number)
            rows = read_table(path).to_pylist()
            self.files += [path, shard_tensors_path(path)]
            self._shards.append(torch.load(shard_tensors_path(path), mmap=True, weights_only=True))
            places += [(row["id"], len(self._shards) - 1, i) for i, row in enumerate(rows)]
            self.facts |= {row["id"]: row for row in rows}
        if not places:
            raise BindraeError(
                f"the {side} side of {layout.root} holds no complex",
                "add complexes, or change split.fractions or split.seed",
            )
        self._places = sorted(places)
        self.ids = [identifier for identifier, _, _ in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[str, Sample]:
        identifier, shard, row = self._places[index]
        tensors = self._shards[shard]
        sample: Sample = {}
        for axis, columns in AXES.items():
            start, stop = tensors[f"{axis}_offsets"][row : row + 2].tolist()
            sample |= {name: tensors[name][start:stop] for name in columns}
            if axis == "residue":
                sample["plm"] = tensors["plm"][start:stop]
                sample["residue_index"] = torch.arange(stop - start)
        return identifier, sample


def crop_sample(sample: Sample, max_residues: int, generator: torch.Generator) -> Sample:
    """A whole neighbourhood of at most `max_residues` residues, in their order.

    The centre is a residue of the pocket or any residue, with even odds: pockets are what the model is for, the rest
    is what it learns packing from.

    Parameters
    ----------
    sample : dict of str to Tensor
        One complex.
    max_residues : int
    generator : torch.Generator
    """
    n = len(sample["aatype"])
    if n <= max_residues:
        return sample
    pool = torch.nonzero(sample["contact"]).squeeze(-1)
    if not len(pool) or torch.rand((), generator=generator) < 0.5:
        pool = torch.arange(n)
    centre = pool[torch.randint(len(pool), (), generator=generator)]
    ca = sample["atom14"][:, aa.SLOT_CA]
    rows = torch.sort(torch.argsort(((ca - ca[centre]) ** 2).sum(-1), stable=True)[:max_residues]).values
    cropped = {name: sample[name][rows] for name in (*RESIDUE_TENSORS, "plm", "residue_index")}
    following = torch.cat([rows[1:], rows.new_tensor([-1])])
    cropped["linked"] = cropped["linked"] & (following == rows + 1)
    return sample | cropped


def _pad(tensors: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    padded = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    return padded if dtype is None else padded.to(dtype)


def collate_ipa_batch(samples: list[tuple[str, Sample]]) -> IPABatch:
    """Pad complexes to a batch.

    Padded residues get three distinct atoms far from a line, so that every frame is a rotation; masks keep them out of
    everything else.

    Parameters
    ----------
    samples : list of (id, sample)
    """
    items = [sample for _, sample in samples]

    def stack(name: str, dtype: torch.dtype | None = None) -> Tensor:
        return _pad([item[name] for item in items], dtype)

    n_residues = [len(item["aatype"]) for item in items]
    node_mask = _pad([torch.ones(n, dtype=torch.bool) for n in n_residues])
    atom14 = stack("atom14")
    backbone = atom14[:, :, : aa.SLOT_O].clone()
    backbone[~node_mask] = torch.tensor([[-0.5, 1.4, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
    aatype = stack("aatype", torch.int64)
    aatype[~node_mask] = aa.UNKNOWN
    return IPABatch(
        esm=stack("plm", torch.float32),
        N=backbone[:, :, 0],
        Ca=backbone[:, :, 1],
        C=backbone[:, :, 2],
        aatype=aatype,
        residue_index=stack("residue_index"),
        chain_index=stack("chain_index", torch.int64),
        linked=stack("linked"),
        node_mask=node_mask,
        lig_points=stack("lig_points"),
        lig_types=stack("lig_types", torch.float32),
        lig_mask=_pad([torch.ones(len(item["lig_points"]), dtype=torch.bool) for item in items]),
        torsion_angles=stack("torsion_angles"),
        torsion_mask=stack("torsion_mask"),
        w_res=stack("w_res"),
        contact=stack("contact"),
        atom14=atom14,
        atom14_mask=stack("atom14_mask"),
        bfactor=stack("bfactor", torch.float32),
        ligand_xyz=stack("ligand_xyz"),
        ligand_radius=atom_radii(stack("ligand_element")),
        ligand_mask=_pad([torch.ones(len(item["ligand_xyz"]), dtype=torch.bool) for item in items]),
        pdb_ids=[identifier for identifier, _ in samples],
        n_residues=n_residues,
    )


def epoch_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of one training epoch: random, yet of similar length inside a batch, so that little is padded.

    Parameters
    ----------
    lengths : numpy.ndarray
        [n] residues of each complex after cropping.
    batch_size : int
    seed, epoch : int
        The order depends on nothing else.

    Returns
    -------
    list of list of int
        Indices; every complex once.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(lengths))
    window = batch_size * 8
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), window):
        block = shuffled[start : start + window]
        block = block[np.argsort(lengths[block], kind="stable")]
        batches += [block[i : i + batch_size].tolist() for i in range(0, len(block), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def create_ipa_dataloader(
    dataset: ShardDataset, batches: list[list[int]], transform: Callable[[Sample, int], Sample] | None = None
) -> Iterator[IPABatch]:
    """Iterate over padded batches.

    Parameters
    ----------
    dataset : ShardDataset
    batches : list of list of int
        Indices of each batch, see `epoch_order`.
    transform : callable, optional
        Applied to each sample with its index, for instance a crop.
    """

    def collate(samples: list[tuple[int, tuple[str, Sample]]]) -> IPABatch:
        return collate_ipa_batch(
            [(name, transform(sample, i) if transform else sample) for i, (name, sample) in samples]
        )

    class _Indexed(Dataset[tuple[int, tuple[str, Sample]]]):
        def __getitem__(self, index: int) -> tuple[int, tuple[str, Sample]]:
            return index, dataset[index]

    # Without a generator of its own a loader draws from torch's, and a resumed run would see other dropout masks.
    own = torch.Generator().manual_seed(0)
    yield from DataLoader(_Indexed(), batch_sampler=batches, collate_fn=collate, generator=own)
