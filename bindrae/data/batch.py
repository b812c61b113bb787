"""What the network gets: single complexes, crops of them, and padded batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.axes import RESIDUE_TENSORS

_RADII_BY_NUMBER = {
    1: "H", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F", 14: "SI", 15: "P", 16: "S", 17: "CL", 33: "AS", 34: "SE", 35: "BR",
    53: "I",
}  # fmt: skip
_RADII = torch.zeros(128)
_RADII[list(_RADII_BY_NUMBER)] = torch.tensor([aa.BONDI_RADII[symbol] for symbol in _RADII_BY_NUMBER.values()])
Sample = dict[str, Tensor]


def atom_radii(element: Tensor) -> Tensor:
    """Bondi radius (A) of atomic numbers; 0 for metals, which take no part in clashes.

    Parameters
    ----------
    element : Tensor
        [...] integers.
    """
    return _RADII[element.long().clamp(0, 127)]


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
    oxygen: Tensor  # [B, N, 3] O
    has_oxygen: Tensor  # [B, N] bool, residues whose O is given
    geometry: Tensor  # [B] bool, whether bond lengths and angles of the backbone may be read
    aatype: Tensor  # [B, N] int64, 0-20
    residue_index: Tensor  # [B, N] int64, row in the whole residue table
    chain_index: Tensor  # [B, N] int64
    linked: Tensor  # [B, N] bool, peptide bond to the next row
    node_mask: Tensor  # [B, N] bool
    lig_points: Tensor  # [B, M, 3] angstrom
    lig_types: Tensor  # [B, M, 12]
    lig_context: Tensor  # [B, M] bool, metals, cofactors and further ligands
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
        """The batch with its tensors on a device; pinned ones are copied while the CPU goes on."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> IPABatch:
        """The batch in page-locked memory; what a `DataLoader` with ``pin_memory`` calls."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> IPABatch:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        changed: dict[str, Any] = {name: change(value) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changed)


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


def _pad_wide(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Padded and converted in one pass: the embeddings of a language model are most of a batch."""
    padded = torch.zeros(len(tensors), max(map(len, tensors)), *tensors[0].shape[1:], dtype=dtype)
    for row, tensor in enumerate(tensors):
        padded[row, : len(tensor)] = tensor
    return padded


def _mask(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


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
    node_mask = _mask(n_residues)
    atom14 = stack("atom14")
    atom14_mask = stack("atom14_mask")
    backbone = atom14[:, :, : aa.SLOT_O].clone()
    backbone[~node_mask] = torch.tensor([[-0.5, 1.4, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
    aatype = stack("aatype", torch.int64)
    aatype[~node_mask] = aa.UNKNOWN
    return IPABatch(
        esm=_pad_wide([item["plm"] for item in items], torch.float32),
        N=backbone[:, :, 0],
        Ca=backbone[:, :, 1],
        C=backbone[:, :, 2],
        oxygen=atom14[:, :, aa.SLOT_O],
        has_oxygen=atom14_mask[:, :, aa.SLOT_O],
        geometry=torch.ones(len(samples), dtype=torch.bool),
        aatype=aatype,
        residue_index=stack("residue_index"),
        chain_index=stack("chain_index", torch.int64),
        linked=stack("linked"),
        node_mask=node_mask,
        lig_points=stack("lig_points"),
        lig_types=stack("lig_types", torch.float32),
        lig_context=stack("lig_context"),
        lig_mask=_mask([len(item["lig_points"]) for item in items]),
        torsion_angles=stack("torsion_angles"),
        torsion_mask=stack("torsion_mask"),
        w_res=stack("w_res"),
        contact=stack("contact"),
        atom14=atom14,
        atom14_mask=atom14_mask,
        bfactor=stack("bfactor", torch.float32),
        ligand_xyz=stack("ligand_xyz"),
        ligand_radius=atom_radii(stack("ligand_element")),
        ligand_mask=_mask([len(item["ligand_xyz"]) for item in items]),
        pdb_ids=[identifier for identifier, _ in samples],
        n_residues=n_residues,
    )
