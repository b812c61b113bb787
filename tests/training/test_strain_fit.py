"""The fit of the network of the backbone's geometry, and when a training makes it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from batches import random_sample

from bindrae.chem import residues as aa
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.geometry.backbone_strain import NAMES
from bindrae.model.model_file import load_single
from bindrae.model.strain import StrainNetwork, between_bins
from bindrae.training.loop import run_training
from bindrae.training.strain_fit import TrueChi1, fit_geometry, fit_strain, nats_by_strain, true_chi1_of
from tests.model.test_strain import residues
from tests.training.test_loop import MODEL, TRAINING

GLY = aa.TYPE_OF_NAME["GLY"]


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


def test_a_side_without_a_sound_chi1_teaches_nothing(demo_layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bindrae.training.strain_fit._MAX_BFACTOR", -1.0)
    assert fit_geometry(ShardDataset(demo_layout, "train"), 8) is None


def test_a_training_fits_it_once_and_goes_on_with_that_of_its_start(
    demo_layout: DataLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = TRAINING.model_copy(update={"max_epochs": 1})

    def trained(name: str, **changes: object) -> StrainNetwork:
        run = RunLayout(tmp_path / name)
        run_training(demo_layout, run, MODEL, short.model_copy(update=changes))
        geometry = load_single(run.model).geometry
        assert geometry is not None
        return geometry.network

    first = trained("first")
    assert "pass 8 of 8" in capsys.readouterr().err
    expected = fit_geometry(ShardDataset(demo_layout, "train"), 8)
    assert all(torch.equal(expected[name], x) for name, x in first.state_dict().items()), "as it was fitted"
    capsys.readouterr()
    further = trained("further", init=str(tmp_path / "first" / "model.safetensors"), seed=5)
    assert "pass" not in capsys.readouterr().err
    assert all(torch.equal(expected[name], x) for name, x in further.state_dict().items())
    assert not trained("without", geometry_passes=0).last.weight.any()
