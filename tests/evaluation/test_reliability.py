from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from residue_tables import Residue, residue_table

from bindrae.evaluation.aggregate import bootstrap_weights
from bindrae.evaluation.reliability import reliability_figures


def graded() -> pd.DataFrame:
    """Ten residues at 95 % with nine hits, ten at 35 % with one; the last of each in the pocket."""
    return residue_table(
        [
            Residue("VAL", (180.0,), (0.0 if wrong else 175.0,), confidence, cluster=f"k{i % 4}", contact=i == 9)
            for confidence, n_wrong in ((0.95, 1), (0.35, 9))
            for i, wrong in enumerate([True] * n_wrong + [False] * (10 - n_wrong))
        ]
    )


def test_known_reliability() -> None:
    found = reliability_figures(graded(), bootstrap_weights(4, 200, 0), calibrated=True)
    assert found is not None
    part = found["overall"]
    assert found["calibrated"]
    assert (found["without"], part["n"]) == (0, 20)
    assert part["bins"] == [
        {"low": 30.0, "high": 40.0, "n": 10, "confidence": pytest.approx(35.0), "right": pytest.approx(10.0)},
        {"low": 90.0, "high": 100.0, "n": 10, "confidence": pytest.approx(95.0), "right": pytest.approx(90.0)},
    ]
    assert part["calibration_error"] == pytest.approx((25.0 + 5.0) / 2)
    assert part["confidence"] == pytest.approx(65.0)
    assert part["chi1_acc20"]["value"] == pytest.approx(50.0)
    half = part["surer_half"]
    assert half["value"] == pytest.approx(90.0)
    assert half["low"] <= half["value"] <= half["high"]
    assert (found["pocket"]["n"], found["pocket"]["surer_half"]["value"]) == (2, 100.0)


def test_coverage_goes_from_the_surest_to_all_whatever_the_order_of_the_rows() -> None:
    table = graded()
    shuffled = table.iloc[np.random.default_rng(0).permutation(len(table))]
    for rows in (table, shuffled):
        found = reliability_figures(rows, None, calibrated=False)
        assert found is not None
        coverage = {row["share"]: row for row in found["overall"]["coverage"]}
        assert (coverage[50]["chi1_acc20"], coverage[50]["confidence"]) == (pytest.approx(90.0), pytest.approx(95.0))
        assert (coverage[100]["chi1_acc20"], coverage[100]["confidence"]) == (pytest.approx(50.0), pytest.approx(35.0))
        assert list(coverage) == list(range(5, 101, 5))


def test_residues_without_confidence_take_no_part_and_are_counted() -> None:
    table = pd.concat([graded(), residue_table([Residue("VAL", (180.0,), None), Residue("GLY", (), ())])])
    found = reliability_figures(table, None, calibrated=False)
    assert found is not None
    assert (found["without"], found["overall"]["n"]) == (1, 20)


def test_no_confidence_no_figures() -> None:
    assert reliability_figures(graded().assign(confidence=np.nan), None, calibrated=False) is None
    alone = reliability_figures(graded().assign(contact=False), None, calibrated=False)
    assert alone is not None
    assert alone["pocket"] is None
