"""The report of a run: what it shows, what it escapes, what it refuses."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bindrae.config import Config
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_table, write_table
from bindrae.errors import BindraeError
from bindrae.evaluation.report import read_epochs, run_report
from bindrae.reporting.html import duration, flatten, number, percent, size, text


@pytest.fixture
def layout(tmp_path: Path, surveyed: Path) -> DataLayout:
    """A data folder of which only the survey is left: the report reads nothing else."""
    layout = DataLayout(tmp_path / "data")
    layout.root.mkdir()
    layout.quality.write_bytes(surveyed.read_bytes())
    return layout


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_page_shows_the_numbers_and_escapes(
    layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]
) -> None:
    config = Config(dataset="set1", root="/data/<set>")
    run_report(layout, run, config)
    words = check_page(run.report)
    assert "Run first" in words
    assert "Dataset set1: 4 complexes of the test side, 1,234 residues, 3 sequence clusters" in words
    interval = "82.5 % (95 % interval 81.0 to 83.8)"
    assert f"χ1 within 20°: {interval}, better than no learning (62.5 %); crystal 99.5 %." in words
    assert "FAPE: 82.50 Å (95 % interval 81.00 to 83.75), worse than no learning (62.50 Å)" in words
    assert "Atoms clashing with the ligand (%) – – – – – –" in words  # null prints a dash
    assert "ARG 600 91.2 90.0–92.5 – 20.5 19.0 to 22.0 – – – – –" in words
    assert "ALA 0" not in words  # no χ1
    assert "<script>alert(1)</script> 201 17 81.2 – 1.00 0.75 0.12 0.50" in words
    assert "1 complex could not be predicted. All their residues count as misses" in words
    assert "bad&id out of <memory>" in words
    assert "all residues Clashing atoms (%) +0.25 -0.50 to +1.00 not told apart" in words
    assert "pocket Pocket iRMSD (Å) -0.50 – –" in words
    assert "Clashing atoms: 82.50 % (95 % interval 81.00 to 83.75), not told apart from no learning" in words
    assert "burial buried: 21 or more 600 91.2 90.0–92.5 – 20.5 19.0 to 22.0 – – – – –" in words
    assert "12 of 15 complexes are accepted, 3 rejected (20.0 %)" in words
    assert "3 epochs; the model is that of epoch 1" in words
    assert "parameters 3,301,223" in words
    assert "training.noise_translation_angstrom 0.1" in words
    assert "attention backend reference" in words
    assert "train: device cpu" in words
    assert "train 1 1h01m" in words
    assert "evaluate 1 1m15s" in words
    order = [words.index(f"{name} 20{i} 17") for i, name in ((3, "t3"), (2, "t2"), (1, "</script>"), (0, "t0"))]
    assert order == sorted(order)  # the worst pocket first, the undefined last


def test_without_config_the_recorded_settings_are_shown(
    layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]
) -> None:
    run_report(layout, run, None)
    words = check_page(run.report)
    assert "train.lr 0.0001" in words
    assert "clean.key clean" in words


def test_sparse_records_give_a_page(layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]) -> None:
    run.metrics.write_text("")
    nothing = {"overall": {"chi1_acc20": {"value": None, "low": None, "high": None}}, "pocket": {}}
    edit(run.evaluation, rows={"model": nothing, "no_learning": None}, by_complex=[], failed=[])
    edit(run.evaluation, comparison={}, bands={}, reliability=None, refinement=None)
    run_report(layout, run, None)
    words = check_page(run.report)
    assert "No epoch is recorded." in words
    assert "χ1 within 20°: undefined on this side." in words
    assert "Every complex was predicted." in words


def test_without_interval_nothing_is_claimed(
    layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]
) -> None:
    alone = {"overall": {"chi1_acc20": {"value": 17.25, "low": None, "high": None}}, "pocket": {}}
    base = {"overall": {"chi1_acc20": {"value": 46.75, "low": None, "high": None}}, "pocket": {}}
    edit(run.evaluation, rows={"model": alone, "no_learning": base, "crystal": base, "another": alone}, comparison={})
    run_report(layout, run, None)
    words = check_page(run.report)
    assert "χ1 within 20°: 17.2 % (no interval), no learning (46.8 %); crystal 46.8 %." in words
    assert "Crystal 95 % another 95 % χ1 within 20° (%) 17.2 – 46.8 – 46.8 – 17.2 –" in words


def test_long_lists_of_complexes_are_cut_and_say_so(layout: DataLayout, run: RunLayout) -> None:
    one = json.loads(run.evaluation.read_text())["by_complex"][3]
    edit(run.evaluation, by_complex=[one | {"id": f"x{i}", "pocket_irmsd": float(i)} for i in range(600)])
    run_report(layout, run, None)
    page = run.report.read_text()
    assert "The 500 complexes with the largest pocket iRMSD of 600" in page
    assert ">x599<" in page
    assert ">x99<" not in page


@pytest.mark.parametrize("name", ["evaluation", "metrics", "training", "quality", "residues"])
def test_a_missing_file_is_named(layout: DataLayout, run: RunLayout, name: str) -> None:
    path: Path = layout.quality if name == "quality" else getattr(run, name)
    path.unlink()
    with pytest.raises(BindraeError, match=path.name):
        run_report(layout, run, None)
    assert not run.report.exists()


def test_a_record_without_its_parts_is_refused(layout: DataLayout, run: RunLayout) -> None:
    run.evaluation.write_text('{"side": "test"}')
    with pytest.raises(BindraeError, match=r"evaluation\.json lacks n_complexes.*\n.*bindrae evaluate"):
        run_report(layout, run, None)


def test_residues_without_their_columns_are_refused(layout: DataLayout, run: RunLayout) -> None:
    write_table(read_table(run.residues).drop_columns(["confidence", "chi2_pred"]), run.residues)
    with pytest.raises(BindraeError, match=r"residues\.parquet lacks confidence, chi2_pred\n.*bindrae evaluate"):
        run_report(layout, run, None)


def test_the_four_figures_come_first_then_what_explains_them(
    layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]
) -> None:
    run_report(layout, run, None)
    words = check_page(run.report)
    assert "1 of 4 targets is met: All χ within 20°. Missed: χ1 within 20° (by 4.5 points), Clashing atoms (by" in words
    assert "χ1 within 20° 82.5 % target ≥ 87.0 % missed by 4.5 points 95 %: 81.0 to 83.8" in words
    assert "FASPR and ProMod3 are shown as scored by the same code on CASF-2016 (285 complexes)." in words
    assert "χ1 within 20° (%) 82.5 81.0–83.8 ≥ 87.0 missed by 4.5 points 62.5 99.5 82.0 81.3" in words
    assert "χ1 by residue type, true and predicted" in words
    headings = re.findall(r"<h2[^>]*>([^<]*)<", html.unescape(run.report.read_text()))
    assert headings == [
        "Verdict", "Training", "Angles", "Reliability of the confidence", "Worst cases", "Burial, B-factor and place",
        "What refinement changes", "Complexes", "What went in", "Time", "Provenance",
    ]  # fmt: skip


def test_a_report_may_outlive_its_shards(layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]) -> None:
    run_report(layout, run, None)
    words = check_page(run.report)  # which also allows no script on a page without views
    assert f"No pocket is shown: {layout.batches} does not exist" in words
    assert "script-src" not in run.report.read_text()
    edit(run.evaluation, by_complex=[])
    run_report(layout, run, None)
    assert "No pocket is shown: no complex has a pocket iRMSD." in check_page(run.report)


def test_epochs_of_a_resumed_run(run: RunLayout) -> None:
    epochs = read_epochs(run.metrics)
    assert [e["epoch"] for e in epochs] == [0, 1, 2]
    assert epochs[1]["line"] == 3  # the later of the two
    run.metrics.write_text('{"event": "epoch", "epoch": 0}\n{"event": "epo')
    with pytest.raises(BindraeError, match="line 2"):
        read_epochs(run.metrics)


def test_two_runs_give_the_same_bytes(layout: DataLayout, run: RunLayout) -> None:
    run_report(layout, run, None)
    first = run.report.read_bytes()
    run_report(layout, run, None)
    assert run.report.read_bytes() == first


def test_matplotlib_is_not_imported_with_the_modules() -> None:
    code = "import sys, bindrae.data.quality, bindrae.evaluation.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_for_reading() -> None:
    assert [number(v) for v in (None, float("nan"), 1234567, 3.0, 0.01234, 12.345)] == [
        "–", "–", "1,234,567", "3", "0.0123", "12.3",
    ]  # fmt: skip
    assert number(2.0, 2) == "2.00"
    assert [duration(v) for v in (None, 4.31, 185, 7620)] == ["–", "4.3 s", "3m05s", "2h07m"]
    assert [size(v) for v in (None, 12, 12345, 5e12)] == ["–", "12 B", "12.3 kB", "5.0 TB"]
    assert [percent(1, 8), percent(1, 0), percent(None, 3)] == ["12.5 %", "–", "–"]
    assert [text(v) for v in (None, True, 1e-4, [1.0, None], 226 / 283)] == [
        "null", "true", "0.0001", "[1, null]", str(226 / 283),
    ]  # fmt: skip
    assert flatten({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "d": [2]}


def test_predicted_structures_are_listed_with_what_failed(
    layout: DataLayout, run: RunLayout, check_page: Callable[[Path], str]
) -> None:
    run_report(layout, run, None)
    assert "Predicted structures" not in check_page(run.report)
    sample = {"mean_confidence": 87.5, "clashing_atoms_pct": 0.125, "ligand_clashing_atoms": 2, "residues": []}
    entries = [
        {"id": "1abc", "status": "done", "built": 40, "residues_total": 41, "samples": [sample]},
        {"id": "2xyz", "status": "failed", "code": "x", "message": "no such <file>", "hint": ""},
    ]
    run.predicted(0).mkdir(parents=True)
    (run.predicted(0) / "summary.json").write_text(json.dumps({"complexes": entries}))
    run_report(layout, run, None)
    assert "Predicted structures" not in check_page(run.report)  # of no batch that the index knows
    layout.batches.parent.mkdir()
    layout.batches.write_text('{"0": []}')
    run_report(layout, run, Config(dataset="set1", root="/data"))
    assert "Predicted structures" not in check_page(run.report)  # left behind: nothing is to be predicted
    run_report(layout, run, None)
    words = check_page(run.report)
    assert "1abc 40 of 41 88 0.12 2 0 –" in words
    assert "2xyz no such <file> – – – – –" in words
