"""Random but sound batches: ideal residues on a random chain, a ligand beside it."""

from __future__ import annotations

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import ideal_geometry, place_atom
from bindrae.data.dataset import IPABatch, Sample, collate_ipa_batch
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import axis_angle_to_matrix, build_frames_from_3_points
from bindrae.structure.torsions import residue_torsions


def random_backbone(n: int, seed: int) -> np.ndarray:
    """N, CA, C of a chain with ideal geometry and random helical or extended stretches: [n, 3, 3]."""
    rng = np.random.default_rng(seed)
    helical = np.repeat(rng.random(n // 4 + 1) < 0.5, 4)[:n]
    phi = np.radians(np.where(helical, -63.0, -115.0) + rng.normal(0, 12, n))
    psi = np.radians(np.where(helical, -43.0, 130.0) + rng.normal(0, 12, n))
    link = ideal_geometry().peptide
    atoms = [np.array([-0.5, 1.36, 0.0]), np.zeros(3), np.array([1.525, 0.0, 0.0])]
    for i in range(1, n):
        atoms.append(place_atom(*atoms[-3:], link["bond"], link["angle_ca_c_n"], psi[i - 1]))
        atoms.append(place_atom(*atoms[-3:], 1.459, link["angle_c_n_ca"], np.pi))
        atoms.append(place_atom(*atoms[-3:], 1.525, np.radians(111.0), phi[i]))
    return np.stack(atoms[: 3 * n]).reshape(n, 3, 3)


def random_sample(n: int, seed: int, n_tokens: int = 9, spread: float = 4.0) -> Sample:
    """One complex of `n` residues with every atom, in the form that shards hold."""
    g = torch.Generator().manual_seed(seed)
    aatype = torch.randint(0, 20, (n,), generator=g)
    angles = (torch.rand(n, 7, generator=g) * 2 - 1) * torch.pi
    backbone = torch.as_tensor(random_backbone(n, seed), dtype=torch.float32)
    R, t = build_frames_from_3_points(*backbone.unbind(1))
    atom14, mask = torsions_to_atoms((R, t), angles_to_circle(angles), aatype)
    atom14 = torch.where(mask.unsqueeze(-1), atom14, 0.0)
    linked = torch.ones(n, dtype=torch.bool)
    linked[-1] = False
    measured, defined = residue_torsions(atom14.numpy(), mask.numpy(), aatype.numpy(), linked.numpy())
    tokens = t[n // 2] + spread * torch.randn(n_tokens, 3, generator=g)
    types = torch.nn.functional.one_hot(torch.randint(0, 8, (n_tokens,), generator=g), 12)
    return {
        "aatype": aatype.to(torch.int8),
        "chain_index": torch.zeros(n, dtype=torch.int16),
        "linked": linked,
        "atom14": atom14,
        "atom14_mask": mask,
        "bfactor": torch.full((n, aa.N_SLOTS), 20.0),
        "torsion_angles": torch.as_tensor(measured),
        "torsion_mask": torch.as_tensor(defined),
        "w_res": torch.rand(n, generator=g),
        "contact": torch.rand(n, generator=g) < 0.4,
        "lig_points": tokens,
        "lig_types": types.to(torch.uint8),
        "lig_context": torch.arange(n_tokens) >= n_tokens - 2,
        "ligand_xyz": tokens[: max(1, n_tokens // 2)].clone() if n_tokens else torch.zeros(0, 3),
        "ligand_element": torch.full((max(1, n_tokens // 2) if n_tokens else 0,), 6, dtype=torch.int16),
        "context_xyz": torch.zeros(0, 3),
        "context_element": torch.zeros(0, dtype=torch.int16),
        "plm": torch.zeros(n, 0),
        "residue_index": torch.arange(n),
    }


def random_batch(*lengths: int, seed: int = 0, n_tokens: int = 9) -> IPABatch:
    """A batch of random complexes, padded to the longest."""
    return collate_ipa_batch([(f"c{i}", random_sample(n, seed + i, n_tokens)) for i, n in enumerate(lengths)])


def random_rotation(seed: int) -> torch.Tensor:
    """A rotation of large angle, [3, 3]."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.randn(3, generator=g)
    return axis_angle_to_matrix(2.0 * axis / axis.norm())
