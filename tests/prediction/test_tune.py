"""The table by which the costs of refinement are chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from batches import random_sample

from bindrae.data.layout import SIDES, DataLayout
from bindrae.prediction import tune
from bindrae.prediction.predict import Predictor
from bindrae.prediction.tune import Trial, figures, try_sample


def test_figures_of_the_truth_and_of_the_model(predictor: Predictor) -> None:
    trials = [try_sample(predictor.model, str(seed), random_sample(30, seed)) for seed in range(2)]
    true, model = figures(trials, tune.crystal), figures(trials, Trial.unrefined)
    assert true["chi1"] == true["all_chi"] == true["pocket_chi1"] == 100.0
    assert model["all_chi"] <= model["chi1"] < 60.0


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
    "program",
    [
        "prediction.tune", "prediction.calibrate", "prediction.networks_fit", "evaluation.noise", "model.export",
        "evaluation.cross_pairs pairs.csv",
    ],
)  # fmt: skip
def test_a_users_error_ends_a_program_with_its_message(program: str, tmp_path: Path) -> None:
    module, *first = program.split()
    command = [sys.executable, "-m", f"bindrae.{module}", *first, str(tmp_path), str(tmp_path / "no.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
