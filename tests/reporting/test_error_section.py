"""The error analysis on the page of a run: its tables, its figures, and what it does without confidences."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bindrae.data.layout import DataLayout, RunLayout
from bindrae.evaluation.report import run_report
from bindrae.reporting.error_tables import worst_residue_rows

EVIL = "<script>alert(1)</script>"
CheckPage = Callable[[Path], str]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, surveyed: Path, build_run: Callable[[Path], RunLayout]) -> Path:
    root = tmp_path_factory.mktemp("report")
    run = build_run(root)
    run_report(data_folder(root, surveyed), run, None)
    return run.report


def data_folder(root: Path, surveyed: Path) -> DataLayout:
    layout = DataLayout(root / "data")
    layout.root.mkdir()
    layout.quality.write_bytes(surveyed.read_bytes())
    return layout


def test_kinds_wells_and_flips(report: Path, check_page: CheckPage) -> None:
    words = check_page(report)
    assert "Kind Residues Share Pocket Unrefined No learning every χ within 20° 31 68.9 % 0.0 % 66.7 % 66.7 %" in words
    assert "last χ of ASN, GLN or HIS half a turn off, the others right 1 2.2 %" in words
    assert "proline in the other pucker 1 2.2 % 100.0 %" in words
    assert "60° 1 0.0 % 100.0 % 0.0 % 0.0 % 180° 1 0.0 % 0.0 % 100.0 % 0.0 % −60° 42 0.0 % 0.0 % 100.0 %" in words
    assert "ASN χ2 1 0.0 % 100.0 % 0.0 %" in words
    assert "PHE χ2 1 0.0 % 100.0 % 0.0 %" in words  # named the other way


def test_worst_cases_are_named_and_escaped(report: Path, check_page: CheckPage) -> None:
    words = check_page(report)
    assert "3 predicted residues have a χ1 more than 40° off. Of 31 residues with a confidence of at least" in words
    assert "at least 90 %, 1 (3.23 %) is one of them." in words
    assert "Worst residues: the most confidently wrong first (3 of 3)" in words
    assert f"{EVIL} {EVIL}:41B MSE (VAL) -62 175 123 2.25 98.5 27 12.2 4.5" in words
    assert f"t0 {EVIL}:42B MSE (SER) 180 60 120 1.50 25.0 18 – –" in words  # B-factor 0: not given
    assert words.index(f"{EVIL}:41B") < words.index(f"{EVIL}:45B") < words.index(f"{EVIL}:42B")
    assert "t0 44 95.5 93.2 70.5" in words


def test_reliability_and_refinement(report: Path, check_page: CheckPage) -> None:
    words = check_page(report)
    assert "Confidence: in the surer half of the residues χ1 is within 20° for 95.5 %; what it promises" in words
    assert "calibrated on residues that were not trained on" in words
    assert "50 to 60 % 10 55.0 100.0 +45.0" in words
    assert "90 to 100 % 31 95.1 96.8 +1.7" in words
    assert "χ1 turns by more than 40° in 1 of 45 residues (2.2 %)" in words
    assert "all residues χ1 within 20° 45 41 1 0 3 +1 +2.22" in words
    assert "all residues within the protein 90 0 45 0 0" in words
    assert "Model minus unrefined, paired over clusters" in words


def test_residues_without_chain_or_labels_are_told_by_what_is_known(run: RunLayout) -> None:
    worst = json.loads(run.evaluation.read_text())["errors"]["worst_residues"]
    worst["residues"][0]["chain"] = ""
    assert worst_residue_rows(worst)[0][1] == "41B"
    for residue in worst["residues"]:
        for name in ("chain", "number", "insertion", "name"):
            del residue[name]
    assert [row[:3] for row in worst_residue_rows(worst)] == [
        [EVIL, "row 0", "VAL"], ["t0", "row 43", "PRO"], ["t0", "row 40", "SER"]
    ]  # fmt: skip


def test_without_confidence_and_refinement_the_page_says_so(
    run: RunLayout, tmp_path: Path, surveyed: Path, check_page: CheckPage
) -> None:
    record = json.loads(run.evaluation.read_text())
    record |= {"reliability": None, "refinement": None}
    del record["errors"]["kinds"]["unrefined"]
    worst = record["errors"]["worst_residues"]
    worst |= {"order": "sidechain_rmsd", "n_sure": None, "n_sure_wrong": None}
    for residue in worst["residues"]:
        residue["confidence"] = None
    run.evaluation.write_text(json.dumps(record))
    run_report(data_folder(tmp_path, surveyed), run, None)
    words = check_page(run.report)
    assert "This evaluation has no confidence" in words
    assert "Side chains were not refined" in words
    assert "Worst residues: the largest side-chain RMSD first" in words
    assert "Confidence: in the surer half" not in words
    assert "Kind Residues Share Pocket No learning every χ" in words


def test_figures_tell_their_numbers_in_words(report: Path) -> None:
    page = html.unescape(report.read_text())
    told = dict(re.findall(r"<title[^>]*>([^<]*)</title><desc[^>]*>([^<]*)</desc>", page))
    wells, kept = told["Wells of χ1, all types but proline"], told["Accuracy of the surest residues"]
    assert "true −60°: 0 predicted 60°, 0 predicted 180°, 42 predicted −60°" in wells
    assert "all residues: 25 promised 0 found, 45 promised 0 found" in told["Confidence and share of hits"]
    assert "all residues: 75.0 of the surest 10" in kept  # three of the four surest
    assert "45 values" in told["Errors of χ1"]
