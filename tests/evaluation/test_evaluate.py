from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bindrae.config import EvaluationSettings, ModelSettings
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json, read_table
from bindrae.errors import BindraeError
from bindrae.evaluation.evaluate import run_evaluation
from bindrae.model.stage1 import Stage1, save_model


@pytest.fixture(scope="module")
def run(demo_layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    torch.manual_seed(0)
    folder = RunLayout(tmp_path_factory.mktemp("run"))
    save_model(Stage1(ModelSettings(c_s=32, c_z=16, depth=1, local_hidden=32, d_lig=16)), folder.model, {})
    run_evaluation(demo_layout, folder, EvaluationSettings(bootstrap=100), threads=2)
    return folder


def test_rows_stand_in_the_order_that_they_must(run: RunLayout) -> None:
    rows = read_json(run.evaluation)["rows"]
    chi1 = {name: row["overall"]["chi1_acc20"]["value"] for name, row in rows.items()}
    assert chi1["crystal"] == chi1["rebuilt"] == 100.0
    assert chi1["model"] < 35.0 < chi1["no_learning"] < 90.0  # untrained; counted on one protein
    assert rows["crystal"]["overall"]["sidechain_rmsd"]["value"] == 0.0
    assert 0.05 < rows["rebuilt"]["overall"]["sidechain_rmsd"]["value"] < 0.6
    assert rows["crystal"]["overall"]["clash_atoms_pct"]["value"] < 3.0


def test_figures_follow_from_the_residue_table(run: RunLayout, demo_layout: DataLayout) -> None:
    result = read_json(run.evaluation)
    residues = read_table(run.residues).to_pandas()
    dataset = ShardDataset(demo_layout, "test")
    assert result["n_residues"] == len(residues) == sum(len(dataset[i][1]["aatype"]) for i in range(len(dataset)))
    chi1 = residues["chi1_error"].dropna()
    assert result["rows"]["model"]["overall"]["chi1_acc20"]["value"] == pytest.approx(100 * (chi1 < 20).mean())
    assert sum(entry["n"] for entry in result["by_type"].values()) == len(chi1)
    assert [entry["id"] for entry in result["by_complex"]] == dataset.ids
    assert result["by_complex"][0]["n_pocket"] == residues["contact"].sum() > 5


def test_a_run_without_a_model_is_named(demo_layout: DataLayout, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match=r"model.safetensors does not exist"):
        run_evaluation(demo_layout, RunLayout(tmp_path), EvaluationSettings())


def test_another_dataset_can_be_scored_whole(demo_layout: DataLayout, run: RunLayout, tmp_path: Path) -> None:
    other = RunLayout(tmp_path)
    other.root.mkdir(exist_ok=True)
    shutil.copy(run.model, other.model)
    settings = EvaluationSettings(side="all", data=str(demo_layout.root), bootstrap=100)
    run_evaluation(demo_layout, other, settings, threads=2)
    result = read_json(other.evaluation)
    assert sorted(entry["id"] for entry in result["by_complex"]) == ["1s2g", "1s3v", "1uou"]
    assert result["rows"]["crystal"]["overall"]["chi1_acc20"]["low"] == 100.0
