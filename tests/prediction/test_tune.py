"""The table by which the costs of refinement are chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from safetensors.torch import load_file, save_file

from bindrae.data.layout import SIDES, DataLayout
from bindrae.prediction import tune
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import refine_chis
from bindrae.prediction.tune import Trial, figures, recall_trial, try_sample


def test_figures_of_the_truth_and_of_the_model(predictor: Predictor) -> None:
    trials = [try_sample(predictor.model, str(seed), random_sample(30, seed)) for seed in range(2)]
    true, model = figures(trials, tune.crystal), figures(trials, Trial.unrefined)
    assert true["chi1"] == true["all_chi"] == true["pocket_chi1"] == 100.0
    assert model["all_chi"] <= model["chi1"] < 60.0


def test_an_answer_that_was_kept_is_the_trial(predictor: Predictor, tmp_path: Path) -> None:
    """Also of the proposals, and of what the head says later of other chis."""
    sample, path = random_sample(30, 3), tmp_path / "answer.safetensors"
    trial = try_sample(predictor.model, "x", sample)
    save_file(trial.answer(), path)
    again = recall_trial(predictor.model, "x", sample, load_file(path))
    first, second = (refine_chis(t.scene, t.circle, t.rotamers) for t in (trial, again))
    assert torch.equal(first.xyz, second.xyz)
    assert first.chi1_probability is not None
    assert second.chi1_probability is not None
    assert np.array_equal(first.chi1_probability, second.chi1_probability)


def test_the_table_has_a_row_for_every_pair_of_costs(
    demo_layout: DataLayout, model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    side = SIDES[1]
    arguments = [
        "tune",
        str(demo_layout.root),
        str(model_path),
        "--side",
        side,
        "--weights",
        "5,10",
        "--polish",
        "0,50",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    tune.main()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[4:]]
    assert [row[0] for row in rows[:2]] == ["crystal", "model alone"]
    assert [row[0] for row in rows[2:]] == [f"refined, {w} and {p}" for w in (5, 10) for p in (0, 50)]
    clashes = [float(row[5]) for row in rows]
    assert clashes[0] < clashes[-1] < clashes[1]


@pytest.mark.parametrize(
    "command",
    [
        "prediction.tune {folder} {none}", "evaluation.noise {folder} {none}", "model.export {folder} {none}",
        "evaluation.cross_pairs pairs.csv {folder} {none}", "data.forecast {folder}", "reporting.peers X FASPR={none}",
    ],
)  # fmt: skip
def test_a_users_error_ends_a_program_with_its_message(command: str, tmp_path: Path) -> None:
    module, *given = command.format(folder=tmp_path, none=tmp_path / "none").split()
    done = subprocess.run(
        [sys.executable, "-m", f"bindrae.{module}", *given], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
