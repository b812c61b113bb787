"""`bindrae fit`: networks of refinement and a calibrated confidence for a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from prediction_cases import random_turns
from safetensors.torch import load_file

from bindrae.cli import app
from bindrae.config import RefinementSettings
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_json, sha256_file
from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.confidence import read_calibrations
from bindrae.prediction.fit import run_fit
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.surroundings import SurroundingsNetwork


@pytest.fixture
def begun(model_path: Path, tmp_path: Path) -> Path:
    """A model file with networks that have learnt nothing."""
    networks = RefinementNetworks(SurroundingsNetwork().requires_grad_(False), random_turns(3))
    rewrite_metadata(model_path, networks.to_metadata(), tmp_path / "begun.safetensors")
    return tmp_path / "begun.safetensors"


def numbers(path: Path) -> list[torch.Tensor]:
    """All weights of the networks in a model file, one tensor a network."""
    found = read_networks(path)
    assert found is not None
    assert found.turns is not None
    return [torch.cat([x.flatten() for x in network.parameters()]) for network in (found.surroundings, found.turns)]


def test_the_networks_and_the_confidence_are_fitted(
    demo_layout: DataLayout, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "fitted.safetensors"
    settings = '{"epochs": 1, "complexes": 1}'
    arguments = ["--data", demo_layout.root, "--model", model_path, "--output", out, "--settings", settings]
    app(["fit", *map(str, arguments)], standalone_mode=False)
    printed = capsys.readouterr().out
    for arranged in ("by search", "by the networks"):
        assert f"what surroundings are worth, arranged {arranged}" in printed
    assert printed.count("step 1 of 1: loss") == 4
    networks = read_networks(out)
    assert networks is not None
    assert networks.turns is not None
    assert networks.surroundings.direct.abs().max() > 0, "0 at the start"
    assert networks.turns.direct.abs().max() > 0, "0 at the start"
    calibrations = read_calibrations(out)
    assert calibrations.fitted
    assert np.ptp(calibrations.refined(np.linspace(0, 1, 5))) > 0
    weights, fitted = load_file(model_path), load_file(out)
    assert all(torch.equal(weights[name], fitted[name]) for name in weights)
    record = read_json(out.with_suffix(".json"))
    assert (record["stage"], record["inputs"]) == ("fit", {"model": sha256_file(model_path)})
    assert record["settings"]["complexes"] == record["counts"]["complexes"] == 1
    assert record["counts"]["choices"] > record["counts"]["calibration_complexes"] > 0
    assert record["counts"]["side_chains"] > 0


def test_networks_that_are_there_go_on(
    demo_layout: DataLayout, model_path: Path, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "n.safetensors"
    run_fit(demo_layout, model_path, out, RefinementSettings(epochs=1, complexes=1, start=str(begun)))
    printed = capsys.readouterr().out
    assert "arranged by search" not in printed
    assert printed.count("step 1 of 1: loss") == 2
    for old, new in zip(numbers(begun), numbers(out), strict=True):
        assert 0 < (new - old).abs().max() < 0.01, "one step at a fiftieth of the rate"


def test_networks_are_taken_as_they_are(demo_layout: DataLayout, model_path: Path, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "n.safetensors"
    run_fit(demo_layout, model_path, out, RefinementSettings(epochs=0, start=str(begun)))
    for old, new in zip(numbers(begun), numbers(out), strict=True):
        assert torch.equal(old, new)
    assert read_calibrations(out).fitted
    assert "complexes" not in read_json(out.with_suffix(".json"))["counts"], "the training side is not asked"


@pytest.mark.parametrize(("start", "says"), [("none.safetensors", "does not exist"), ("model", "holds no networks")])
def test_what_cannot_go_on_is_named(
    demo_layout: DataLayout, model_path: Path, tmp_path: Path, start: str, says: str
) -> None:
    path = str(model_path) if start == "model" else start
    with pytest.raises(BindraeError, match=says):
        run_fit(demo_layout, model_path, tmp_path / "n.safetensors", RefinementSettings(start=path))
    with pytest.raises(ValueError, match="epochs 0 fits nothing"):
        RefinementSettings(epochs=0)
