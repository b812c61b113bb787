"""Predicted structures beside a run: compared with the side chains of their inputs, failures named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bindrae.config import ModelSettings
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table, write_json
from bindrae.evaluation.predicted import predicted_structures
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import Stage1
from bindrae.prediction.predict import PredictionOptions
from bindrae.prediction.run import run_prediction


def summary_of(layout: DataLayout, turned: int) -> tuple[dict[str, Any], int]:
    """A summary that gives a complex its own chis, the first `turned` of them 30 degrees off; how many have a chi1."""
    clean = next(iterate_rows(read_table(layout.batch("clean", 0))))
    torsions = {row["id"]: row for row in iterate_rows(read_table(layout.batch("torsions", 0)))}[clean["id"]]
    residues = []
    count = 0
    for row in range(clean["n_residues"]):
        place = f"{clean['chain'][row]}:{clean['number'][row]}{clean['insertion'][row]}"
        chis: list[float] = []
        if torsions["defined"][row, 3]:
            count += 1
            chis = [float(np.degrees(torsions["angles"][row, 3])) + 360.0 + (30.0 if count <= turned else 0.0)]
        residues.append({"residue": place, "chi_deg": chis})
    sample = {
        "mean_confidence": 87.5, "clashing_atoms_pct": 0.1, "ligand_clashing_atoms": 2, "residues": residues,
    }  # fmt: skip
    done = {"id": clean["id"], "status": "done", "built": 40, "residues_total": 41, "samples": [sample]}
    failed = {"id": "gone", "status": "failed", "code": "x", "message": "no such <file>", "hint": ""}
    return {"complexes": [done, failed]}, count


def test_chi1_is_compared_with_the_input_by_place(demo_layout: DataLayout, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    assert predicted_structures(demo_layout, run) == []
    summary, count = summary_of(demo_layout, turned=10)
    run.predicted(0).mkdir(parents=True)
    write_json(summary, run.predicted(0) / "summary.json")
    done, failed = predicted_structures(demo_layout, run)
    assert done["n_chi1"] == count > 50
    assert done["chi1_acc20"] == pytest.approx(100.0 * (count - 10) / count)
    assert (done["built"], done["residues_total"], done["ligand_clashing_atoms"]) == (40, 41, 2)
    assert failed == {"id": "gone", "status": "failed", "message": "no such <file>"}


def test_without_the_tables_of_the_dataset_nothing_is_compared(demo_layout: DataLayout, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    summary, _ = summary_of(demo_layout, turned=0)
    run.predicted(0).mkdir(parents=True)
    write_json(summary, run.predicted(0) / "summary.json")
    bare = DataLayout(tmp_path / "elsewhere")
    assert predicted_structures(bare, run) == []  # its index says of no batch
    write_json({"0": []}, bare.batches)
    done, _ = predicted_structures(bare, run)
    assert (done["n_chi1"], done["chi1_acc20"]) == (0, None)


def test_a_prediction_of_the_dataset_is_compared_residue_by_residue(demo_layout: DataLayout, tmp_path: Path) -> None:
    """From the command's own files: places are written and read alike."""
    torch.manual_seed(0)
    sizes = {"c_s": 16, "c_z": 8, "c_hidden": 8, "heads": 2, "depth": 1, "local_hidden": 16, "d_lig": 16}
    save_model(Stage1(ModelSettings(**sizes, ligand_heads=2)), tmp_path / "model.safetensors", {})
    run = RunLayout(tmp_path / "run")
    options = PredictionOptions(refine=False)
    run_prediction(
        demo_layout.entries, None, run.predicted(0), model=tmp_path / "model.safetensors", options=options, batch=0
    )
    found = predicted_structures(demo_layout, run)
    truth = {row["id"]: row for row in iterate_rows(read_table(demo_layout.batch("torsions", 0)))}
    assert {entry["id"] for entry in found} == set(truth)
    for entry in found:
        # Cleaning takes the chains near the ligand, a prediction all of them.
        assert entry["n_chi1"] > 0.95 * truth[entry["id"]]["defined"][:, 3].sum()
        assert 0 <= entry["chi1_acc20"] <= 100
