"""What the backbone's own geometry tells of chi1: what is read, what it adds, the fit, where it is asked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import random_strain

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.evaluation.noise_trial import answer
from bindrae.geometry.backbone_strain import NAMES, BackboneStrain
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.predict import PredictionOptions, Predictor, predict_complex
from bindrae.prediction.refine import Arrangements
from bindrae.prediction.rotamers import run_model
from bindrae.prediction.strain import BINS, Strained, StrainNetwork, between_bins, weigh
from bindrae.prediction.strain_fit import TrueChi1, fit_strain, nats_by_strain, true_chi1_of
from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.tune import Trial, try_sample

SER, GLY = aa.TYPE_OF_NAME["SER"], aa.TYPE_OF_NAME["GLY"]


@pytest.fixture(scope="module")
def trial(predictor: Predictor) -> Trial:
    return try_sample(predictor.model, "x", random_sample(40, 6))


def residues(count: int, seed: int = 0) -> Strained:
    """One chain of serines."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, len(NAMES), generator=generator)
    known = torch.ones(count, len(NAMES), dtype=torch.bool)
    strain = BackboneStrain(values, known, torch.zeros(count, 3, 2))
    return Strained.of(strain, torch.full((count,), SER), torch.ones(count, dtype=torch.bool))


def test_neighbours_are_those_of_the_chain() -> None:
    strain = BackboneStrain(
        torch.arange(7.0).unsqueeze(-1).repeat(1, len(NAMES)), torch.ones(7, len(NAMES), dtype=torch.bool),
        torch.ones(7, 3, 2),
    )  # fmt: skip
    linked = torch.tensor([True, True, False, True, True, True, True])  # the last one links to nothing
    found = Strained.of(strain, torch.arange(7), linked)
    none = aa.N_TYPES
    assert found.kinds.tolist() == [
        [none, none, 0, 1, 2], [none, 0, 1, 2, none], [0, 1, 2, none, none],
        [none, none, 3, 4, 5], [none, 3, 4, 5, 6], [3, 4, 5, 6, none], [4, 5, 6, none, none],
    ]  # fmt: skip
    values = found.values.view(7, 5, len(NAMES))[:, :, 0]
    assert values[2].tolist() == [0, 1, 2, 0, 0]
    assert values[4].tolist() == [0, 3, 4, 5, 6]
    assert (found.torsions.view(7, 5, -1)[2, 3:] == 0).all()
    assert found.usual[0, 0] == pytest.approx(math.sqrt(sum(x * x for x in range(7)) / 7))


def test_without_geometry_nothing_of_it_is_read() -> None:
    network, some = random_strain(), residues(12)
    other = replace(some, values=some.values + 1, known=~some.known, usual=some.usual * 3)
    untold, told = torch.zeros(12, dtype=torch.bool), torch.ones(12, dtype=torch.bool)
    assert torch.equal(network(some, untold), network(other, untold))
    assert not torch.allclose(network(some, told), network(other, told), atol=1e-3)
    assert torch.allclose(network(some, told).exp().sum(1), torch.ones(12))
    deaf = random_strain()
    deaf.from_strain.weight.zero_()
    assert torch.allclose(deaf.gain(some), torch.zeros(12, BINS), atol=1e-6)


def test_between_the_centres_of_bins_it_is_linear_and_goes_round() -> None:
    values = torch.arange(float(BINS)).repeat(2, 1)
    degrees = torch.tensor([[5.0, 10.0, 15.0, 0.0], [355.0, -5.0, 178.0, -182.0]])
    found = between_bins(values, torch.deg2rad(degrees))
    assert found[0].tolist() == pytest.approx([0.0, 0.5, 1.0, 17.5], abs=1e-4)
    assert found[1].tolist() == pytest.approx([35.0, 35.0, 17.3, 17.3], abs=1e-4)


def test_probabilities_are_multiplied(trial: Trial) -> None:
    network, strained = random_strain(), trial.scene.strained
    assert strained is not None
    before, after = trial.rotamers.log_p, weigh(trial.rotamers, strained, network).log_p
    assert torch.equal(torch.isfinite(before), torch.isfinite(after))
    gain = between_bins(network.gain(strained), trial.rotamers.chi[..., 0])
    with_chi = torch.as_tensor(aa.CHI_MASK)[trial.scene.aatype, 0]
    there = torch.isfinite(before) & with_chi.unsqueeze(-1)
    assert there.any()
    assert torch.allclose(after[there], (before + gain)[there])
    assert torch.equal(after[~with_chi], before[~with_chi])


def test_refinement_asks_it_of_a_given_backbone_alone(trial: Trial) -> None:
    networks = RefinementNetworks(strain=random_strain())
    plain = Arrangements(trial.scene, trial.circle, trial.rotamers)
    asked = Arrangements(trial.scene, trial.circle, trial.rotamers, networks=networks)
    moved = Arrangements(replace(trial.scene, backbone=None), trial.circle, trial.rotamers, networks=networks)
    assert abs(asked.surprise - plain.surprise).max() > 0.1
    assert (moved.surprise == plain.surprise).all()
    assert not asked.added.any()


def test_a_trial_with_noise_asks_it_of_the_backbone_that_was_given_alone(predictor: Predictor) -> None:
    """As `bindrae predict` does: the moved backbone has ideal bonds and angles."""
    loud = random_strain()
    loud.last.weight.mul_(20.0)
    sample, network = random_sample(40, 6), partial(run_model, predictor.model)
    plain, asked = (answer(network, "x", sample, networks) for networks in (None, RefinementNetworks(strain=loud)))
    assert (asked.on_predicted[0] == plain.on_predicted[0]).all()
    assert (asked.on_input[0] != plain.on_input[0]).any()


def test_a_prediction_can_leave_it_out(predictor: Predictor, protein: Path) -> None:
    def chis(networks: RefinementNetworks | None, **options: bool) -> np.ndarray:
        asked = replace(predictor, networks=networks)
        return predict_complex(asked, protein, None, PredictionOptions(**options)).samples[0].chi

    loud = random_strain()
    loud.last.weight.mul_(20.0)
    networks = RefinementNetworks(strain=loud)
    assert (chis(networks, geometry=False) == chis(None)).all()
    assert (chis(networks) != chis(None)).any()


def test_what_geometry_tells_is_learnt_and_noise_is_not() -> None:
    """In this chain the first value says which of two places chi1 has; the others say nothing."""
    some = residues(6000)
    own = some.values.view(len(some.kinds), 5, len(NAMES))[:, 2, 0]
    chi1 = torch.where(own > 0, math.radians(65.0), math.radians(-65.0))
    network = fit_strain(TrueChi1(some, chi1), passes=24)
    told, untold = nats_by_strain(network, TrueChi1(some, chi1))
    assert untold - told > 0.5 * math.log(2)
    other = residues(2000, 1)
    gain = network.gain(other)
    right = other.values.view(2000, 5, len(NAMES))[:, 2, 0] > 0
    first, second = (between_bins(gain, torch.full((2000, 1), math.radians(x)))[:, 0] for x in (65.0, -65.0))
    assert ((first > second) == right).float().mean() > 0.9


def test_residues_with_a_sound_chi1_are_learnt_from() -> None:
    sample = random_sample(30, 3)
    sample["bfactor"] = torch.full_like(sample["bfactor"], 20.0)
    sample["bfactor"][:10, 5] = 90.0
    found = true_chi1_of(sample)
    rows = torch.nonzero(sample["torsion_mask"][:, 3])[:, 0]
    rows = rows[rows >= 10]
    assert torch.equal(found.chi1, sample["torsion_angles"][rows, 3])
    assert torch.equal(found.residues.kinds[:, 2], sample["aatype"][rows].long())
    assert GLY not in found.residues.kinds[:, 2].tolist()
    generator = torch.Generator().manual_seed(0)
    noisy = [true_chi1_of(sample, generator) for _ in range(4)]
    assert all(torch.equal(one.chi1, found.chi1) for one in noisy)
    assert all(not torch.allclose(one.residues.values, found.residues.values, atol=0.01) for one in noisy)


def test_the_model_file_carries_it(model_path: Path, tmp_path: Path) -> None:
    out, network = tmp_path / "n.safetensors", random_strain()
    about = RefinementNetworks(SurroundingsNetwork(), strain=network).to_metadata()
    rewrite_metadata(model_path, about, out)
    read = read_networks(out)
    assert read is not None
    assert read.turns is None
    assert read.strain is not None
    for name, value in network.named_parameters():
        assert torch.allclose(value, read.strain.get_parameter(name), atol=2e-3), name
    damaged = json.dumps(json.loads(about[StrainNetwork.KEY]) | {"geometry": ["N-CA-C"]})
    rewrite_metadata(model_path, about | {StrainNetwork.KEY: damaged}, out)
    with pytest.raises(BindraeError, match="network of the backbone's geometry in its metadata is damaged"):
        read_networks(out)
