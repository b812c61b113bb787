"""The tensors of a complex, by what they have one entry for: name, column of the stage that it comes from, dtype."""

from __future__ import annotations

import torch

RESIDUE_TENSORS: dict[str, tuple[str, torch.dtype]] = {
    "aatype": ("aatype", torch.int8),
    "chain_index": ("chain_index", torch.int16),
    "linked": ("linked", torch.bool),
    "atom14": ("atom14", torch.float32),
    "atom14_mask": ("atom14_mask", torch.bool),
    "bfactor": ("bfactor", torch.float16),
    "torsion_angles": ("angles", torch.float32),
    "torsion_mask": ("defined", torch.bool),
    "w_res": ("w_res", torch.float32),
    "contact": ("contact", torch.bool),
}
TOKEN_TENSORS: dict[str, tuple[str, torch.dtype]] = {
    "lig_points": ("xyz", torch.float32),
    "lig_types": ("types", torch.uint8),
    "lig_context": ("is_context", torch.bool),
}
LIGAND_TENSORS: dict[str, tuple[str, torch.dtype]] = {
    "ligand_xyz": ("ligand_xyz", torch.float32),
    "ligand_element": ("ligand_element", torch.int16),
}
CONTEXT_TENSORS: dict[str, tuple[str, torch.dtype]] = {
    "context_xyz": ("context_xyz", torch.float32),
    "context_element": ("context_element", torch.int16),
}
# The length of their first axis is the same in each group.
AXES: dict[str, dict[str, tuple[str, torch.dtype]]] = {
    "residue": RESIDUE_TENSORS,
    "token": TOKEN_TENSORS,
    "ligand": LIGAND_TENSORS,
    "context": CONTEXT_TENSORS,
}
