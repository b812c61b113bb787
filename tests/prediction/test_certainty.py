"""How sure refinement is of a chi1: by the model alone, and by the networks that it asks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import random_turns

from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import Refined, refine_chis
from bindrae.prediction.rotamers import Rotamers, mass_around
from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.tune import Trial, try_sample
from bindrae.prediction.turns import TurnNetwork

P = (0.5, 0.2, 0.3)


@pytest.fixture(scope="module")
def trial(predictor: Predictor) -> Trial:
    return try_sample(predictor.model, "x", random_sample(40, 6))


def indifferent() -> SurroundingsNetwork:
    """All surroundings are worth the same."""
    network = SurroundingsNetwork().requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.zero_()
    return network


def three_candidates(trial: Trial) -> Rotamers:
    """The second stands 10 degrees from the first, the third in another mode; of `P` both ways to read chi1 differ."""
    chi = trial.rotamers.chi[:, :1].repeat(1, 3, 1)
    chi[:, 1, 0] += math.radians(10.0)
    chi[:, 2, 0] += math.radians(120.0)
    log_p = torch.tensor(P).log().repeat(len(chi), 1)
    return replace(trial.rotamers, chi=chi, log_p=log_p, spread=trial.rotamers.spread[:, :1].repeat(1, 3, 1))


def refined(trial: Trial, rotamers: Rotamers, networks: RefinementNetworks | None) -> Refined:
    return refine_chis(trial.scene, trial.circle, rotamers, weight=0.0, polish_weight=0.0, networks=networks)


def test_without_networks_the_model_tells(trial: Trial) -> None:
    for found in (refine_chis(trial.scene, trial.circle, trial.rotamers), trial.unrefined()):
        mass = mass_around(trial.inputs, torch.atan2(*found.circle[:, 3:].unbind(-1)))
        assert mass is not None
        assert found.chi1_probability == pytest.approx(mass[:, 0].numpy())


def test_candidates_of_the_same_chi1_count_together(trial: Trial) -> None:
    found = refined(trial, three_candidates(trial), RefinementNetworks(indifferent()))
    movable = trial.scene.movable.numpy()
    assert found.chi1_probability is not None
    assert found.chi1_probability[movable] == pytest.approx(P[0] + P[1], abs=1e-6)
    assert found.chi1_probability[~movable] == pytest.approx(1.0), "one candidate"


def test_how_sure_the_last_turn_is_counts_too(trial: Trial) -> None:
    networks = RefinementNetworks(indifferent(), random_turns(3))
    sure = refined(trial, three_candidates(trial), networks).chi1_probability
    flat = TurnNetwork().requires_grad_(False).eval()
    flat.trust.zero_()  # all turns of 36 degrees to either side are as likely
    unsure = refined(trial, three_candidates(trial), RefinementNetworks(indifferent(), flat)).chi1_probability
    movable = trial.scene.movable.numpy()
    assert sure is not None
    assert unsure is not None
    assert (sure >= 0).all()
    assert (sure <= 1).all()
    # Within 20 of 36 degrees, 25 turns 3 degrees apart: 13 and part of the two at the edge.
    assert unsure[movable] == pytest.approx((P[0] + P[1]) * 13.5 / 25, abs=0.02)
    assert np.ptp(sure[movable]) > 0.05


def test_a_head_without_distributions_is_not_sure_of_anything(trial: Trial) -> None:
    rotamers = replace(three_candidates(trial), inputs=None)
    for networks in (None, RefinementNetworks(indifferent())):
        assert refined(trial, rotamers, networks).chi1_probability is None
