"""Counts of angles: the same residues on both sides, whole wells, half turns."""

from __future__ import annotations

import numpy as np
import pytest
from residue_tables import Residue, residue_table

from bindrae.evaluation.chi_counts import chi_counts
from bindrae.reporting.chi_figures import chi_figures, overlap


def bins(counts: list[int], edges: list[float]) -> dict[float, int]:
    return {edges[i]: n for i, n in enumerate(counts) if n}


def test_angles_are_counted_where_both_are_known() -> None:
    table = residue_table(
        [
            Residue("LEU", (-179.0, 65.0), (178.0, 65.0)),
            Residue("LEU", (181.0, 65.0), None),  # a failed prediction
            Residue("SER", (-60.5,), (240.0,)),
        ]
    )
    found = chi_counts(table)
    edges = found["edges"]
    assert (edges[0], edges[-1]) == (-120.0, 240.0)
    # The trans well is in one piece: -179 lies beside 178.
    assert bins(found["chi1"]["LEU"]["true"], edges) == {180.0: 1}
    assert bins(found["chi1"]["LEU"]["pred"], edges) == {170.0: 1}
    assert bins(found["chi1"]["SER"]["true"], edges) == {-70.0: 1}
    assert bins(found["chi1"]["SER"]["pred"], edges) == {-120.0: 1}  # 240 degrees and -120 are the same
    assert set(found["chi2"]) == {"LEU"}


def test_half_turns_count_as_one() -> None:
    table = residue_table(
        [Residue("PHE", (-70.0, 95.0), (-70.0, -85.0)), Residue("TRP", (-70.0, 95.0), (-70.0, -85.0))]
    )
    found = chi_counts(table)
    assert found["chi2"]["PHE"]["true"] == found["chi2"]["PHE"]["pred"]
    assert found["chi2"]["TRP"]["true"] != found["chi2"]["TRP"]["pred"]


def test_no_angle_is_lost_at_the_seam() -> None:
    seam = np.nextafter(np.float32(-120.0), np.float32(-200.0))
    table = residue_table([Residue("SER", (float(seam),), (-120.0,)), Residue("SER", (239.999,), (120.0,))])
    assert sum(chi_counts(table)["chi1"]["SER"]["true"]) == 2


def test_figures_tell_how_much_is_common() -> None:
    assert overlap({"true": [3, 1, 0], "pred": [6, 0, 2]}) == pytest.approx(75.0)
    assert overlap({"true": [0], "pred": [0]}) is None
    table = residue_table([Residue("SER", (60.0,), (61.0,)), Residue("SER", (60.0,), (180.0,))])
    figures = chi_figures(chi_counts(table))
    assert set(figures) == {"chi1_types"}  # no residue has a second angle
    assert "common part (%): SER 50." in figures["chi1_types"]
    assert chi_figures({}) == {}
