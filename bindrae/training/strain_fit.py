"""The fit of the network of the backbone's geometry, on the residues of the training side with a sound chi1."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.batch import Sample
from bindrae.data.dataset import ShardDataset, even_part
from bindrae.geometry.backbone_strain import backbone_strain
from bindrae.geometry.rigid import add_rigid_noise, apply, build_frames_from_3_points, invert_apply
from bindrae.model.strain import BINS, Strained, StrainNetwork
from bindrae.progress import track

_RATE, _DECAY = 2e-3, 0.02
_BATCH = 2048
_COMPLEXES = 2000  # at most, evenly over the side: more add little, and the fit is to take minutes
_BLUR = math.radians(4.0)  # of the true chi1
_MAX_BFACTOR = 60.0  # of any atom of the residue
_WIDEST_RIGID = (10.0, 0.5)  # degrees and A: noise of whole residues, as in training
_WIDEST_ATOM = 0.3  # A: noise of single atoms


@dataclass
class TrueChi1:
    """N residues and their chi1."""

    residues: Strained
    chi1: Tensor  # [N] radians


def true_chi1_of(sample: Sample, generator: torch.Generator | None = None) -> TrueChi1:
    """The residues of a complex with a chi1 that is known, and no atom of which moves much.

    Parameters
    ----------
    sample : dict of str to Tensor
    generator : torch.Generator, optional
        Of noise on the backbone; without it the backbone is the crystal's.
    """
    backbone, aatype, linked = sample["atom14"][:, : aa.SLOT_CB].float(), sample["aatype"].long(), sample["linked"]
    if generator is not None:
        backbone = _noisy(backbone, generator)
    strain = backbone_strain(backbone, sample["atom14_mask"][:, : aa.SLOT_CB], linked)
    calm = sample["bfactor"].amax(1) <= _MAX_BFACTOR
    rows = torch.nonzero(sample["torsion_mask"][:, 3] & calm)[:, 0]
    return TrueChi1(Strained.of(strain, aatype, linked).take(rows), sample["torsion_angles"][rows, 3])


def _noisy(backbone: Tensor, generator: torch.Generator) -> Tensor:
    """Whole residues moved, or single atoms, by noise of any width up to the widest."""
    rigid, width = torch.rand(2, generator=generator).tolist()
    if rigid < 0.5:
        return backbone + _WIDEST_ATOM * width**2 * torch.randn(backbone.shape, generator=generator)
    frames = build_frames_from_3_points(*backbone[:, :3].unbind(1))
    degrees, angstrom = (widest * width for widest in _WIDEST_RIGID)
    R, t = add_rigid_noise(*frames, degrees, angstrom, generator=generator)
    return apply((R, t), invert_apply(frames, backbone))


def gather_true_chi1(dataset: ShardDataset, noise: bool, seed: int = 0) -> TrueChi1:
    """The residues of all complexes, with `noise` also as they are after noise on their backbones."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[TrueChi1] = []
    for i in track(range(len(dataset)), len(dataset), "backbones"):
        _, sample = dataset[i]
        parts.append(true_chi1_of(sample))
        if noise:
            parts.append(true_chi1_of(sample, generator))
    joined = (torch.cat([getattr(p.residues, name) for p in parts]) for name in Strained.__dataclass_fields__)
    return TrueChi1(Strained(*joined), torch.cat([p.chi1 for p in parts]))


def fit_geometry(dataset: ShardDataset, passes: int, seed: int = 0) -> dict[str, Tensor] | None:
    """Weights of a network fitted on a training side, half of whose backbones have noise; None without a sound chi1.

    Parameters
    ----------
    dataset : ShardDataset
    passes : int
        Over all residues.
    seed : int
    """
    true = gather_true_chi1(even_part(dataset, _COMPLEXES), noise=True, seed=seed)
    print(f"train: {len(true.chi1)} residues tell what a backbone's geometry says of chi1", file=sys.stderr)
    return fit_strain(true, passes, seed).state_dict() if len(true.chi1) else None


def chi1_loss(network: StrainNetwork, true: TrueChi1, told: Tensor) -> Tensor:
    """Mean cross-entropy of a narrow distribution around the true chi1 (nats)."""
    centres = (torch.arange(BINS) + 0.5) * (2 * math.pi / BINS)
    # A wrapped normal is, for widths far below half a turn, all but this (von Mises).
    wanted = torch.softmax((torch.cos(true.chi1.unsqueeze(-1) - centres) - 1) / _BLUR**2, -1)
    return -(wanted * network(true.residues, told)).sum(-1).mean()


def fit_strain(true: TrueChi1, passes: int, seed: int = 0) -> StrainNetwork:
    """The network under which the true chi1 are the likeliest, with the geometry of every second residue untold.

    Parameters
    ----------
    true : TrueChi1
    passes, seed : int
    """
    torch.manual_seed(seed)
    network, count = StrainNetwork(), len(true.chi1)
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    steps = -(-count // _BATCH) * passes
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
    began, total, step = time.monotonic(), 0.0, 0
    for number in range(1, passes + 1):
        for rows in torch.randperm(count).split(_BATCH):
            part = TrueChi1(true.residues.take(rows), true.chi1[rows])
            loss = chi1_loss(network, part, torch.rand(len(rows)) < 0.5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total, step = total + loss.item(), step + 1
        seconds = time.monotonic() - began
        print(f"pass {number} of {passes}: loss {total / step:.4f} nats, {seconds:.0f} s", file=sys.stderr)
        total, step = 0.0, 0
    return network.requires_grad_(False).eval()


def nats_by_strain(network: StrainNetwork, true: TrueChi1) -> tuple[float, float]:
    """Mean cross-entropy (nats) of the true chi1 with the backbone's geometry, and without."""
    every = torch.ones(len(true.chi1), dtype=torch.bool)
    with torch.no_grad():
        return chi1_loss(network, true, every).item(), chi1_loss(network, true, ~every).item()
