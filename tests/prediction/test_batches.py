"""The index of a dataset as a sheet: one batch of it, several files of one ligand, failures that are allowed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bindrae.cli import app
from bindrae.errors import BindraeError
from bindrae.prediction.run import find_jobs
from complexes import write_complex


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three complexes in two batches, the paths as `bindrae index` writes them: from the working folder."""
    root = tmp_path / "set"
    for name in ("one", "two", "torn"):
        write_complex(root, name)
    (root / "torn" / "torn_ligand.sdf").write_text("torn")
    relative = Path(os.path.relpath(root))
    rows = [
        {"id": name, "protein": str(relative / name / f"{name}_protein.pdb"), "batch": batch,
         "ligand": [str(relative / name / f"{name}_ligand.sdf")]}
        for name, batch in (("one", 0), ("two", 1), ("torn", 1))
    ]  # fmt: skip
    (tmp_path / "index").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "index" / "entries.parquet")
    return tmp_path / "index" / "entries.parquet"


def test_one_batch_of_an_index(index: Path, tmp_path: Path) -> None:
    jobs = find_jobs(index, tmp_path / "out", batch=1)
    assert [job.id for job in jobs] == ["two", "torn"]
    assert all(job.protein.is_file() for job in jobs)
    assert all(isinstance(job.ligand, str) and Path(job.ligand).is_file() for job in jobs)
    assert find_jobs(index, tmp_path / "out", batch=7) == []


def test_two_files_of_one_ligand_stay_together(index: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(index)
    table["ligand"] = [["a.sdf", "a.mol2"]] * len(table)
    table.to_parquet(index)
    assert find_jobs(index, tmp_path / "out", batch=0)[0].ligand == ["a.sdf", "a.mol2"]


def test_a_sheet_without_batches_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("id,protein\na,a.pdb\n")
    with pytest.raises(BindraeError, match="batch"):
        find_jobs(tmp_path / "sheet.csv", tmp_path, batch=0)
    with pytest.raises(BindraeError, match="has no batches"):
        find_jobs(tmp_path, tmp_path, batch=0)


@pytest.mark.parametrize(("allowed", "code"), [("0.4", 1), ("0.5", 0)])
def test_some_may_fail(index: Path, model_path: Path, tmp_path: Path, allowed: str, code: int) -> None:
    out = tmp_path / "out"
    arguments = ["predict", index, "--batch", 1, "-o", out, "--model", model_path, "--max-failed-fraction", allowed]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert [c["status"] for c in summary["complexes"]] == ["done", "failed"]
    assert (out / "two.pdb").is_file()


def test_a_batch_without_complexes_leaves_a_summary(index: Path, model_path: Path, tmp_path: Path) -> None:
    arguments = ["predict", index, "--batch", 5, "-o", tmp_path / "out", "--model", model_path]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["complexes"] == []
