from __future__ import annotations

import numpy as np
import pytest
from residue_tables import Residue, residue_table

from bindrae.chem import residues as aa
from bindrae.evaluation.error_kinds import (
    FLIPPED,
    KINDS,
    WELLS,
    count_half_turns,
    count_kinds,
    count_wells,
    error_figures,
    kinds_of,
    wells,
)

CASES = [
    (Residue("LEU", (-60.0, 170.0), (-65.0, 175.0)), "right"),
    (Residue("LEU", (-60.0, 170.0), (-79.0, 60.0)), "later_chi"),
    (Residue("LEU", (-60.0, 170.0), (-95.0, 170.0)), "chi1_shifted"),
    (Residue("LEU", (118.0, 170.0), (145.0, 170.0)), "chi1_shifted"),  # another well, but only 27 degrees off
    (Residue("LEU", (-60.0, 170.0), (179.0, 170.0)), "other_well"),
    (Residue("LEU", (-60.0, 170.0), (-110.0, 170.0)), "chi1_shifted"),  # 50 degrees off in the same well
    (Residue("ASN", (-70.0, -30.0), (-70.0, 155.0)), "flipped"),
    (Residue("ASN", (-70.0, -30.0), (-70.0, 90.0)), "later_chi"),
    (Residue("ASN", (-70.0, -30.0), (60.0, 150.0)), "other_well"),
    (Residue("GLN", (-70.0, 180.0, 0.0), (-70.0, -175.0, -170.0)), "flipped"),
    (Residue("GLN", (-70.0, 180.0, 0.0), (-70.0, 60.0, 180.0)), "later_chi"),
    (Residue("ASP", (-70.0, -20.0), (-70.0, 158.0)), "right"),  # half a turn is a name
    (Residue("LEU", (-70.0, -20.0), (-70.0, 160.0)), "later_chi"),
    (Residue("PRO", (30.0, -40.0), (-30.0, 40.0)), "other_pucker"),
    (Residue("PRO", (35.0, -40.0), (5.0, 0.0)), "chi1_shifted"),
    (Residue("SER", (60.0,), None), "no_angle"),
]


@pytest.mark.parametrize(("residue", "kind"), CASES)
def test_kind(residue: Residue, kind: str) -> None:
    assert list(KINDS)[kinds_of(residue_table([residue]))[0]] == kind


def test_every_residue_with_a_chi1_is_of_one_kind_and_others_of_none() -> None:
    table = residue_table([*(residue for residue, _ in CASES), Residue("GLY", (), ()), Residue("ALA", (), ())])
    counts = count_kinds(table)
    assert sum(counts.values()) == len(CASES)
    assert {kind: sum(k == kind for _, k in CASES) for kind in KINDS} == counts
    assert kinds_of(table)[-2:].tolist() == [-1, -1]


def test_wells_part_the_turn_and_meet_at_their_borders() -> None:
    chi1 = np.array([0.0, 60.0, 119.9, 120.0, 180.0, -180.0, -120.1, -119.9, -60.0, -0.1, -1e-14, np.nan])
    named = [WELLS[i] if i >= 0 else None for i in wells(chi1)]
    assert named == ["60", "60", "60", "180", "180", "180", "180", "-60", "-60", "-60", "-60", None]


def test_wells_are_counted_true_against_predicted_and_proline_apart() -> None:
    table = residue_table(
        [
            *[Residue("VAL", (175.0,), (-179.0,))] * 3,
            *[Residue("VAL", (175.0,), (-60.0,))] * 2,
            Residue("SER", (-65.0,), (55.0,)),
            Residue("SER", (65.0,), None),
            Residue("PRO", (28.0, 0.0), (-25.0, 0.0)),
            Residue("GLY", (), ()),
        ]
    )
    found = count_wells(table)
    assert found["tetrahedral"] == {
        "60": {"60": 0, "180": 0, "-60": 0, "none": 1},
        "180": {"60": 0, "180": 3, "-60": 2, "none": 0},
        "-60": {"60": 1, "180": 0, "-60": 0, "none": 0},
    }
    assert found["proline"]["30"] == {"30": 0, "-30": 1, "none": 0}
    assert sum(sum(row.values()) for part in found.values() for row in part.values()) == 8


def test_half_turns_are_counted_where_the_chis_before_are_right() -> None:
    table = residue_table(
        [
            *[Residue("HIS", (-60.0, 90.0), (-60.0, 95.0))] * 4,
            *[Residue("HIS", (-60.0, 90.0), (-60.0, -80.0))] * 2,
            Residue("HIS", (-60.0, 90.0), (-60.0, 0.0)),
            Residue("HIS", (-60.0, 90.0), (60.0, -90.0)),  # chi1 wrong: says nothing of chi2
            Residue("HIS", (-60.0,), (-60.0,)),  # no chi2 in the crystal
            Residue("HIS", (-60.0, 90.0), None),
            Residue("PHE", (-60.0, 90.0), (-60.0, -90.0)),
            Residue("PHE", (-60.0, 90.0), (-60.0, 90.0)),
        ]
    )
    assert count_half_turns(table, FLIPPED) == {"HIS": {"chi": 2, "n": 7, "right": 4, "half_turn": 2, "other": 1}}
    assert count_half_turns(table, aa.PI_PERIODIC) == {
        "PHE": {"chi": 2, "n": 2, "right": 1, "half_turn": 1, "other": 0}
    }


def test_the_histogram_holds_every_predicted_chi1() -> None:
    table = residue_table([residue for residue, _ in CASES])
    found = error_figures({"model": table, "no_learning": table.iloc[:3]})
    histogram = found["histogram"]
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert sum(histogram["counts"]) == len(CASES) - 1  # but the one that failed
    assert histogram["counts"][5] == 1  # the 50 degrees
    assert sum(found["kinds"]["no_learning"].values()) == 3
    assert sum(found["pocket_kinds"].values()) == 0
