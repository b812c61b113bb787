"""What a training step draws at random: noise of two kinds, and what its batches have in common."""

from __future__ import annotations

import torch

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.stage1 import Stage1
from bindrae.training.step import StepPlan, with_noise, without_some_geometry
from tests.batches import random_batch

TINY = {"c_s": 16, "c_z": 8, "c_hidden": 8, "heads": 2, "depth": 1, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}


def shifts(fraction: float) -> torch.Tensor:
    """[B] root mean square shift of CA in each of 40 complexes (A)."""
    batch = random_batch(*[30] * 40)
    settings = TrainingSettings(
        noise_translation_angstrom=0.05, noise_rotation_deg=2.0, noise_wide_fraction=fraction,
        noise_wide_translation_angstrom=0.5,
    )  # fmt: skip
    noisy = with_noise(batch, settings, torch.Generator().manual_seed(3))
    return (noisy.Ca - batch.Ca).square().sum(-1).mean(-1).div(3).sqrt()


def test_noise_has_the_set_width_in_every_complex() -> None:
    narrow = shifts(0.0)
    assert (narrow > 0.035).all()
    assert (narrow < 0.07).all()


def test_some_complexes_get_any_amount_of_noise_up_to_the_widest() -> None:
    some, all_ = shifts(0.4), shifts(1.0)
    narrow = (some > 0.035) & (some < 0.07)
    assert 0.4 < narrow.float().mean() < 0.85  # 0.6, and what of the others happens to be as small
    assert 0.4 < all_.max() < 0.65
    assert all_.min() < 0.1
    assert 0.2 < all_.mean() < 0.3


def test_noise_moves_each_residue_as_a_whole() -> None:
    batch = random_batch(30)
    noisy = with_noise(batch, TrainingSettings(noise_wide_fraction=1.0), torch.Generator().manual_seed(0))
    for a, b in ((batch.N, batch.Ca), (batch.Ca, batch.C), (batch.N, batch.C)):
        name = {id(batch.N): "N", id(batch.Ca): "Ca", id(batch.C): "C"}
        moved = (getattr(noisy, name[id(a)]) - getattr(noisy, name[id(b)])).norm(dim=-1)
        torch.testing.assert_close(moved, (a - b).norm(dim=-1), atol=1e-4, rtol=1e-4)
    R, _ = build_frames_from_3_points(noisy.N, noisy.Ca, noisy.C)
    assert torch.isfinite(R).all()


def test_noise_carries_the_oxygen_along() -> None:
    batch = random_batch(30)
    noisy = with_noise(batch, TrainingSettings(noise_wide_fraction=1.0), torch.Generator().manual_seed(0))
    assert (noisy.oxygen - batch.oxygen).norm(dim=-1).min() > 0
    for name in ("N", "Ca", "C"):
        moved = (noisy.oxygen - getattr(noisy, name)).norm(dim=-1)
        torch.testing.assert_close(moved, (batch.oxygen - getattr(batch, name)).norm(dim=-1), atol=1e-4, rtol=1e-4)


def test_of_some_complexes_no_geometry_is_read() -> None:
    batch = random_batch(*[6] * 400)

    def share(fraction: float, seed: int = 0) -> float:
        told = without_some_geometry(batch, fraction, torch.Generator().manual_seed(seed)).geometry
        return float(told.float().mean())

    assert share(0.0) == 1.0
    assert share(1.0) == 0.0
    assert abs(share(0.25) - 0.75) < 0.07
    assert share(0.25) == share(0.25)


def test_plans_follow_from_the_seed_and_have_the_set_shares() -> None:
    model = Stage1(ModelSettings(**TINY, recycles=1))
    settings = TrainingSettings(shown_fraction=0.6, structure_fraction=0.25)
    plans = [StepPlan.draw(model, settings, seed) for seed in range(2000)]
    assert plans == [StepPlan.draw(model, settings, seed) for seed in range(2000)]
    assert abs(sum(plan.shows for plan in plans) / 2000 - 0.6) < 0.04
    assert abs(sum(plan.structure for plan in plans) / 2000 - 0.25) < 0.04
    both = sum(plan.shows and plan.structure for plan in plans) / 2000
    assert abs(both - 0.15) < 0.03  # drawn apart


def test_a_model_that_can_be_shown_nothing_is_shown_nothing() -> None:
    model = Stage1(ModelSettings(**TINY, recycles=0))
    settings = TrainingSettings(shown_fraction=1.0)
    assert not any(StepPlan.draw(model, settings, seed).shows for seed in range(20))
