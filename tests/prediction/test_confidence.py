"""Calibration: fitted, stored with the model, and judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.model.model_file import load_model
from bindrae.prediction.calibrate import calibrate, judge_trial, report
from bindrae.prediction.confidence import (
    METADATA_KEY,
    Calibrations,
    calibration_error,
    fit_calibration,
    read_calibrations,
    reliability,
    top_half_accuracy,
)
from bindrae.prediction.predict import Predictor
from bindrae.prediction.tune import try_sample


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Masses whose true share of hits is their square."""
    rng = np.random.default_rng(seed)
    mass = rng.random(n)
    return mass, rng.random(n) < mass**2


def test_a_known_distortion_is_undone() -> None:
    calibration = fit_calibration(*overconfident(40000, 0))
    grid = np.linspace(0.05, 0.95, 19)
    assert np.abs(calibration(grid) - grid**2).max() < 0.03
    mass, hit = overconfident(40000, 1)
    assert calibration_error(calibration(mass), hit) < 0.015 < calibration_error(mass, hit)


def test_calibrations_never_fall() -> None:
    rng = np.random.default_rng(2)
    mass = rng.random(200)
    calibration = fit_calibration(mass, rng.random(200) < 1 - mass)
    assert (np.diff(calibration(np.linspace(0, 1, 101))) >= 0).all()
    constant = fit_calibration(np.full(100, 0.5), np.arange(100) < 30)
    assert constant(np.array([0.5]))[0] == pytest.approx(0.3)


def test_too_few_residues_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_calibration(*overconfident(30, 0))


def test_what_was_promised_and_what_came() -> None:
    confidence = np.array([0.05, 0.95, 0.95, 0.95, 1.0])
    hit = np.array([False, True, True, False, True])
    rows = reliability(confidence, hit)
    assert [(row["low"], row["n"], row["right"]) for row in rows] == [(0.0, 1, 0.0), (0.9, 4, 0.75)]
    assert calibration_error(confidence, hit) == pytest.approx(0.2 * 0.05 + 0.8 * (0.9625 - 0.75))
    assert top_half_accuracy(confidence, hit) == 1.0


def test_the_model_file_carries_its_calibration(model_path: Path, tmp_path: Path) -> None:
    assert read_calibrations(model_path) == Calibrations(fitted=False)
    model = load_model(model_path)
    judged = [judge_trial(None, try_sample(model, str(seed), random_sample(40, seed))) for seed in range(3)]
    calibrations = calibrate(judged)
    rewrite_metadata(model_path, {METADATA_KEY: calibrations.to_json()}, tmp_path / "new.safetensors")
    read = read_calibrations(tmp_path / "new.safetensors")
    assert read.fitted
    grid = np.linspace(0, 1, 50)
    assert np.allclose(read.refined(grid), calibrations.refined(grid), atol=1e-4)
    weights, new = load_file(model_path), load_file(tmp_path / "new.safetensors")
    assert all(torch.equal(weights[name], new[name]) for name in weights)
    assert Predictor.load(tmp_path / "new.safetensors").calibrations == read
    text = report(judged, calibrations, "all")
    assert f"{sum(len(j['refined'][1]) for j in judged)} residues" in text


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        '{"refined": {}}',
        '{"refined": {"mass": [0, 1], "share": [1, 0]}, "unrefined": {"mass": [0, 1], "share": [0, 1]}}',
    ],
)
def test_a_damaged_calibration_is_an_error(model_path: Path, tmp_path: Path, damaged: str) -> None:
    with safe_open(model_path, "pt") as file:
        metadata = dict(file.metadata())
    save_file(load_file(model_path), tmp_path / "m.safetensors", metadata | {METADATA_KEY: damaged})
    with pytest.raises(BindraeError, match="calibration"):
        read_calibrations(tmp_path / "m.safetensors")
