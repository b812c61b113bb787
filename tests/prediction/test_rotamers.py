"""Candidates from the head: modes, the beam over chi1 to chi4, and the probability of given chis."""

from __future__ import annotations

import math

import pytest
import torch
from batches import random_batch

from bindrae.chem import residues as aa
from bindrae.config import ModelSettings
from bindrae.model.heads import bin_centres
from bindrae.model.stage1 import Stage1
from bindrae.prediction.predict import Predictor
from bindrae.prediction.rotamers import WITHIN, mass_around, modes, propose_rotamers, run_model, wrap

BINS = 72


def peaks(*where: tuple[float, float, float]) -> torch.Tensor:
    """Logits of a sum of normal peaks: (degrees, width, share)."""
    at = bin_centres(BINS)
    p = sum(
        share * torch.exp(-0.5 * (wrap(at - math.radians(deg)) / math.radians(width)) ** 2) / width
        for deg, width, share in where
    )
    assert isinstance(p, torch.Tensor)
    return torch.log(p + 1e-9)


def test_modes_are_found_in_order_with_mass_and_width() -> None:
    logits = peaks((-65, 6, 0.6), (180, 6, 0.3), (60, 6, 0.1))[None]
    angle, mass, spread = modes(logits, torch.zeros_like(logits), torch.tensor([False]), 3)
    assert torch.allclose(wrap(angle[0] - torch.deg2rad(torch.tensor([-65.0, 180.0, 60.0]))).abs(),
                          torch.zeros(3), atol=math.radians(2.6))  # fmt: skip
    assert torch.allclose(mass[0], torch.tensor([0.6, 0.3, 0.1]), atol=0.02)
    assert torch.allclose(spread[0], torch.full((3,), math.radians(6.0)), atol=math.radians(1.5))


def test_half_a_turn_of_a_periodic_chi_is_one_mode() -> None:
    logits = peaks((80, 6, 0.5), (-100, 6, 0.4), (0, 6, 0.1))[None]
    angle, mass, _ = modes(logits, torch.zeros_like(logits), torch.tensor([True]), 2)
    assert math.degrees(float(angle[0, 0])) == pytest.approx(80, abs=3)
    assert float(mass[0, 0]) == pytest.approx(0.9, abs=0.03)
    assert abs(math.degrees(float(angle[0, 1]))) < 3


def test_no_probability_counts_twice() -> None:
    """Of a periodic chi a bin and the one half a turn away may point to places that are not half a turn apart."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(200, 72, generator=generator)
    offsets = (torch.rand(200, 72, generator=generator) - 0.5) * math.radians(5.0)
    for periodic in (True, False):
        _, mass, _ = modes(logits, offsets, torch.full((200,), periodic), 9)
        assert mass.sum(-1).max() <= 1 + 1e-5


def test_the_models_own_choice_comes_first(predictor: Predictor) -> None:
    output, inputs = run_model(predictor.model, random_batch(30, seed=5))
    rotamers = propose_rotamers(output, inputs, torch.ones(30, dtype=torch.bool))
    decoded = torch.atan2(*output.torsions.circle[0, :, 3:].unbind(-1))
    assert torch.equal(rotamers.chi[:, 0], decoded)
    assert torch.isfinite(rotamers.log_p[:, 0]).all()
    assert (torch.isfinite(rotamers.log_p).sum(1) > 1).any()
    # Probabilities of distinct candidates add up to no more than 1.
    assert float(rotamers.log_p.exp().sum(1).max()) <= 1 + 1e-5


def test_a_candidates_probability_is_that_of_its_chis(predictor: Predictor) -> None:
    output, inputs = run_model(predictor.model, random_batch(30, seed=6))
    rotamers = propose_rotamers(output, inputs, torch.ones(30, dtype=torch.bool))
    kind = inputs.aatype[0].numpy()
    for place in (0, 2):
        mass = mass_around(inputs, rotamers.chi[:, place])
        assert mass is not None
        joint = mass.prod(-1).log()
        there = torch.isfinite(rotamers.log_p[:, place]) & torch.as_tensor(aa.CHI_MASK[kind][:, 0])
        # A later mode leaves out what an earlier one has taken, so it can hold less.
        assert bool((rotamers.log_p[:, place] <= joint + 1e-4)[there].all())
        if place == 0:
            # The two bins half a turn apart of a pi-periodic chi have offsets of their own: one may be just outside.
            exact = there & ~torch.as_tensor(aa.CHI_PI_PERIODIC[kind]).any(-1)
            assert exact.sum() > 10
            assert torch.allclose(rotamers.log_p[exact, 0], joint[exact], atol=1e-4)


def test_candidates_differ(predictor: Predictor) -> None:
    output, inputs = run_model(predictor.model, random_batch(30, seed=7))
    rotamers = propose_rotamers(output, inputs, torch.ones(30, dtype=torch.bool))
    kind = inputs.aatype[0].numpy()
    for row in range(30):
        own = rotamers.chi[row, torch.isfinite(rotamers.log_p[row])][:, aa.CHI_MASK[kind[row]]]
        if not own.shape[1]:
            assert len(own) == 1
            continue
        away = wrap(own[:, None] - own[None]).abs().amax(-1) + 10 * torch.eye(len(own))
        assert len(own) < 2 or float(away.min()) > WITHIN


def test_residues_that_do_not_move_have_one_candidate(predictor: Predictor) -> None:
    output, inputs = run_model(predictor.model, random_batch(12, seed=8))
    rotamers = propose_rotamers(output, inputs, torch.arange(12) < 6)
    assert torch.isfinite(rotamers.log_p[6:]).sum() == 6


def test_a_head_without_distribution_has_one_candidate() -> None:
    torch.manual_seed(0)
    sizes = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}
    model = Stage1(ModelSettings(**sizes, chi_head="sincos")).eval()
    output, inputs = run_model(model, random_batch(12, seed=9))
    rotamers = propose_rotamers(output, inputs, torch.ones(12, dtype=torch.bool))
    assert rotamers.chi.shape == (12, 1, 4)
    assert mass_around(inputs, rotamers.chi[:, 0]) is None


def test_one_complex_at_a_time(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="one complex at a time"):
        run_model(predictor.model, random_batch(5, 6))
