"""Side chains shown in training: which, how many, how wrong, and that the loss leaves them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.config import TrainingSettings
from bindrae.data.batch import IPABatch
from bindrae.model.context import KnownSidechains
from bindrae.training.showing import show_sidechains
from bindrae.training.torsion_loss import torsion_loss
from tests.batches import random_batch
from tests.training.test_losses import perfect_output

EXACT = {"shown_wrong": 0.0, "shown_noise_deg": 0.0}


def batch_of(n: int = 200, count: int = 8) -> IPABatch:
    """Complexes in which every chi that a type has is known."""
    batch = random_batch(*[n] * count)
    mask = batch.torsion_mask.clone()
    mask[..., 3:] = torch.as_tensor(aa.CHI_MASK)[batch.aatype]
    return replace(batch, torsion_mask=mask)


def draw(batch: IPABatch, seed: int = 0, **changes: float) -> KnownSidechains:
    return show_sidechains(batch, TrainingSettings(**changes), torch.Generator().manual_seed(seed))


def angles(chi: torch.Tensor) -> torch.Tensor:
    return torch.atan2(chi[..., 0], chi[..., 1])


def off(batch: IPABatch, chi: torch.Tensor) -> torch.Tensor:
    """[B, N, 4] radians from the truth."""
    away = angles(chi) - batch.torsion_angles[..., 3:]
    return torch.atan2(away.sin(), away.cos()).abs()


def test_any_share_up_to_the_most_is_shown() -> None:
    batch = batch_of(count=40)
    with_chi = torch.as_tensor(aa.CHI_MASK)[batch.aatype][..., 0]
    known = draw(batch, shown_most=0.8, **EXACT)
    shares = (known.shown.sum(1) / with_chi.sum(1)).numpy()
    assert shares.max() < 0.9
    assert shares.min() < 0.15
    assert 0.3 < shares.mean() < 0.5
    assert not (known.shown & ~with_chi).any()


def test_draws_follow_from_the_generator() -> None:
    batch = batch_of()
    one, same, other = (draw(batch, seed) for seed in (1, 1, 2))
    assert torch.equal(one.shown, same.shown)
    assert torch.equal(one.chi, same.chi)
    assert not torch.equal(one.shown, other.shown)


def test_side_chains_without_all_their_angles_are_not_shown() -> None:
    batch = batch_of()
    mask = batch.torsion_mask.clone()
    mask[0, ::2, 3] = False
    lysine = batch.aatype == aa.TYPE_OF_NAME["LYS"]
    mask[..., 6] &= ~lysine
    known = draw(replace(batch, torsion_mask=mask), shown_most=1.0)
    assert not known.shown[0, ::2].any()
    assert not known.shown[lysine].any()
    assert known.shown.any()


def test_wrong_side_chains_are_those_of_another_residue_of_the_type() -> None:
    batch = batch_of()
    known = draw(batch, shown_most=1.0, shown_wrong=1.0, shown_noise_deg=0.0)
    wrong = known.shown & (off(batch, known.chi)[..., 0] > 1e-4)
    assert 0.3 < wrong.sum() / known.shown.sum() < 0.7
    for b, i in torch.nonzero(wrong)[:50].tolist():
        kind = batch.aatype[b, i]
        same = batch.torsion_angles[batch.aatype == kind][:, 3:]
        gap = angles(known.chi[b, i]) - same
        gap = torch.atan2(gap.sin(), gap.cos()).abs().amax(-1)
        assert gap.min() < 1e-4


def test_noise_has_the_set_width() -> None:
    batch = batch_of()
    known = draw(batch, shown_wrong=0.0, shown_noise_deg=8.0)
    assert abs(np.rad2deg(off(batch, known.chi).square().mean().sqrt().item()) - 8) < 0.3
    assert off(batch, draw(batch, **EXACT).chi).max() < 1e-5


def test_the_loss_leaves_out_the_chis_of_shown_residues() -> None:
    batch = batch_of(20, 2)
    pred = perfect_output(batch).torsions
    weight = batch.node_mask.float()
    hidden = batch.residue_index % 2 == 0
    base = torsion_loss(pred, batch, weight, None, 5.0, hidden)
    turned = batch.torsion_angles.clone()
    turned[..., 3:] += torch.where(hidden.unsqueeze(-1), 0.0, 1.0)
    assert torsion_loss(pred, replace(batch, torsion_angles=turned), weight, None, 5.0, hidden) == base
    turned[..., 3:] += 1.0
    assert torsion_loss(pred, replace(batch, torsion_angles=turned), weight, None, 5.0, hidden) != base
