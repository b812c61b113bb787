"""Options of `bindrae train`: one a key of the recipe, checked like those of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bindrae.cli import app
from bindrae.config import TrainingSettings
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json
from bindrae.errors import BindraeError

SMALL = json.dumps(
    {"c_s": 32, "c_z": 16, "depth": 1, "local_neighbours": 6, "local_hidden": 32, "d_lig": 16, "ligand_heads": 4}
)


def invoke(*arguments: str) -> object:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["train", *arguments], catch_exceptions=True)


def test_every_key_of_the_recipe_has_an_option() -> None:
    text = invoke("--help").stdout
    for name in TrainingSettings.model_fields:
        assert f"--{name.replace('_', '-')}"[:24] in text, name


def test_options_override_the_settings_and_the_rest_keeps_its_value(demo_layout: DataLayout, tmp_path: Path) -> None:
    settings = json.dumps({"lr": 1e-3, "seed": 7, "device": "cpu", "max_residues": 40, "max_epochs": 9})
    done = invoke(
        *("--data", str(demo_layout.root), "--run", str(tmp_path), "--model", SMALL, "--settings", settings),
        *("--lr", "5e-4", "--max-epochs", "1", "--batch-size", "1", "--select-by", "loss", "--no-compile"),
    )
    assert done.exit_code == 0, done.output
    got = read_json(RunLayout(tmp_path).training)["settings"]["training"]
    expected = TrainingSettings(
        lr=5e-4, seed=7, device="cpu", max_residues=40, max_epochs=1, batch_size=1, select_by="loss"
    )
    assert got == expected.model_dump(mode="json")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--lr", "-1", "lr: Input should be greater than 0"),
        ("--select-by", "luck", "select_by: Input should be 'pocket_irmsd'"),
        ("--processes", "3", r"accumulate \(1\) must be a multiple of processes \(3\)"),
    ],
)
def test_values_out_of_range_are_named(
    demo_layout: DataLayout, tmp_path: Path, option: str, value: str, message: str
) -> None:
    done = invoke("--data", str(demo_layout.root), "--run", str(tmp_path), option, value)
    assert isinstance(done.exception, BindraeError)
    with pytest.raises(BindraeError, match=message):
        raise done.exception
