from __future__ import annotations

import dataclasses
import json

import numpy as np
from residue_tables import Residue, residue_table

from bindrae.evaluation.worst import worst_complexes, worst_residues

WRONG = Residue("VAL", (180.0,), (-60.0,), rmsd=1.5)
RIGHT = Residue("VAL", (180.0,), (178.0,))


def test_the_most_confidently_wrong_come_first() -> None:
    change = dataclasses.replace
    table = residue_table(
        [
            change(RIGHT, confidence=0.99),
            change(WRONG, confidence=0.3),
            change(WRONG, confidence=0.95, bfactor=0.0, ligand_distance=np.nan),
            change(WRONG, confidence=0.92, pred=(150.0,)),  # 30 degrees: not among the wrong
            change(WRONG, confidence=0.95, id="2abc"),
            change(WRONG, confidence=np.nan),
            change(WRONG, confidence=1.0, pred=None),  # no prediction is not a sure one
        ]
    )
    found = worst_residues(table)
    assert [(r["id"], r["row"]) for r in found["residues"]] == [("1abc", 2), ("2abc", 0), ("1abc", 1), ("1abc", 4)]
    assert (found["order"], found["n"], found["n_sure"], found["n_sure_wrong"]) == ("confidence", 4, 4, 2)
    first = found["residues"][0]
    assert (first["type"], first["chi1_pred"], first["chi1_true"], first["chi1_error"]) == ("VAL", -60.0, 180.0, 120.0)
    assert (first["ligand_distance"], first["bfactor"], first["neighbours"]) == (None, 0.0, 18)
    assert found["residues"][-1]["confidence"] is None
    assert len(worst_residues(table, limit=2)["residues"]) == 2
    json.dumps(found, allow_nan=False)


def test_without_confidence_the_largest_rmsd_comes_first() -> None:
    table = residue_table([dataclasses.replace(WRONG, rmsd=rmsd) for rmsd in (1.0, 3.0, np.nan, 2.0)])
    found = worst_residues(table)
    assert [r["row"] for r in found["residues"]] == [1, 3, 0, 2]
    assert (found["order"], found["n_sure"], found["n_sure_wrong"]) == ("sidechain_rmsd", None, None)


def test_labels_are_told_where_they_are_known() -> None:
    table = residue_table([WRONG])
    assert "chain" not in worst_residues(table)["residues"][0]
    labelled = table.assign(chain="B", number=np.int32(45), insertion="A", name="VAL")
    first = worst_residues(labelled)["residues"][0]
    assert [first[name] for name in ("chain", "number", "insertion", "name")] == ["B", 45, "A", "VAL"]


def test_the_worst_complexes_have_enough_residues_and_a_prediction() -> None:
    def rows(identifier: str, n_right: int, n_wrong: int, **changes: object) -> list[Residue]:
        kinds = [RIGHT] * n_right + [WRONG] * n_wrong
        return [dataclasses.replace(r, id=identifier, **changes) for r in kinds]  # type: ignore[arg-type]

    table = residue_table(
        [
            *rows("good", 19, 1),
            *rows("poor", 5, 15, bfactor=30.0),
            *rows("tiny", 0, 19),
            *rows("lost", 0, 30, pred=None),
            *rows("bare", 10, 10, bfactor=0.0),
        ]
    )
    base = table.assign(chi1_hit20=1)
    found = worst_complexes(table, base)
    assert [(c["id"], c["n"], c["chi1_acc20"]) for c in found] == [
        ("poor", 20, 25.0), ("bare", 20, 50.0), ("good", 20, 95.0)
    ]  # fmt: skip
    assert [c["median_bfactor"] for c in found] == [30.0, None, 20.0]
    assert found[0]["base_chi1_acc20"] == 100.0
    assert [c["id"] for c in worst_complexes(table, base, limit=1, fewest=1)] == ["tiny"]
