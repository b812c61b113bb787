"""Running a stage: order, rejections, bugs, and the same bytes whatever the number of processes."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bindrae.config import PocketSettings
from bindrae.data.runner import map_complexes, run_stage
from bindrae.data.schema import TORSIONS, iterate_rows
from bindrae.data.storage import read_json, read_table, rejected_path, sidecar_path
from bindrae.errors import REJECTION_CODES, RejectedComplex

NOTED = pa.schema([("id", pa.string()), ("notes", pa.map_(pa.string(), pa.int32()))])


def measure(row: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
    """A stage's work; module-level, so that worker processes find it."""
    number = int(row["id"][1:])
    if number % 4 == 3:
        raise RejectedComplex("ligand_far", f"{row['id']} is too far", *(["a hint of its own"] if number == 7 else []))
    angles = np.full((number, 7), scale * number, dtype=np.float32)
    return {"id": row["id"], "angles": angles, "defined": angles > 4}


def fail(row: dict[str, Any]) -> dict[str, Any]:
    if row["id"] == "c5":
        raise ZeroDivisionError("a bug")
    return measure(row)


def note(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "notes": [("odd", 1), ("all", 2)] if row["id"] in ("c1", "c3") else [("all", 2)]}


ITEMS = [{"id": f"c{i}"} for i in range(9)]


def run(output: Path, processes: int, work: Any = measure, items: list[dict[str, Any]] = ITEMS) -> None:
    source = output.parent.parent / "in.parquet"
    source.write_bytes(b"source")
    run_stage("torsions", 3, work, items, TORSIONS, output, PocketSettings(hops=2), {"clean": source}, processes)


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_keep_their_order_and_rejections_their_reason(tmp_path: Path, processes: int) -> None:
    output = tmp_path / "t" / "0000.parquet"
    run(output, processes)
    rows = list(iterate_rows(read_table(output)))
    assert [row["id"] for row in rows] == ["c0", "c1", "c2", "c4", "c5", "c6", "c8"]
    assert all(row["angles"].shape == (int(row["id"][1:]), 7) for row in rows)
    assert read_table(rejected_path(output)).to_pylist() == [
        {"id": i, "stage": "torsions", "code": "ligand_far", "message": f"{i} is too far", "hint": hint}
        for i, hint in (("c3", REJECTION_CODES["ligand_far"]), ("c7", "a hint of its own"))
    ]
    record = read_json(sidecar_path(output))
    seconds = record.pop("seconds")
    assert 0 <= seconds < 60
    assert record == {
        "stage": "torsions",
        "version": 3,
        "settings": PocketSettings(hops=2).model_dump(),
        "inputs": {"clean": hashlib.sha256(b"source").hexdigest()},
        "counts": {"in": 9, "out": 7, "rejected": 2},
    }


def test_the_number_of_processes_does_not_change_a_byte(tmp_path: Path) -> None:
    outputs = [tmp_path / f"p{n}" / "0000.parquet" for n in (1, 2)]
    for n, output in enumerate(outputs, start=1):
        run(output, n, partial(measure, scale=0.1))
    for path in (lambda output: output, rejected_path):
        one, two = (path(output).read_bytes() for output in outputs)
        assert one == two


@pytest.mark.parametrize("processes", [1, 2])
def test_a_bug_propagates_with_its_complex_and_leaves_no_output(tmp_path: Path, processes: int) -> None:
    output = tmp_path / "t" / "0000.parquet"
    output.parent.mkdir()
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        run(output, processes, fail)
    assert any("'c5'" in line for line in caught.value.__notes__)
    assert list(output.parent.iterdir()) == []


def test_a_stage_without_rows_writes_all_its_files(tmp_path: Path) -> None:
    for name, items in (("none", []), ("all_rejected", [{"id": "c3"}])):
        output = tmp_path / name / "0000.parquet"
        run(output, 1, items=items)
        assert read_table(output).num_rows == 0
        assert read_table(output).schema == TORSIONS
        assert read_table(rejected_path(output)).num_rows == len(items)
        assert read_json(sidecar_path(output))["counts"] == {"in": len(items), "out": 0, "rejected": len(items)}


def test_notes_are_summed_in_the_sidecar(tmp_path: Path) -> None:
    output = tmp_path / "0000.parquet"
    run_stage("clean", 1, note, ITEMS[:4], NOTED, output, PocketSettings(), {})
    assert read_json(sidecar_path(output))["counts"]["notes"] == {"all": 8, "odd": 2}


def test_the_log_ends_with_the_count(capfd: pytest.CaptureFixture[str]) -> None:
    results = list(map_complexes(measure, ITEMS, 1, "measuring"))
    assert isinstance(results[3], RejectedComplex)
    assert "measuring: 9/9 complexes" in capfd.readouterr().err
