"""The check between the sides, and the report of how near they come."""

from __future__ import annotations

import numpy as np
import pytest
from split_cases import mutated, random_sequence

from bindrae.config import SplitSettings
from bindrae.data.layout import EXCLUDED
from bindrae.data.leakage import Member, Sides, check_no_kin_across, ligand_leakage, sequence_leakage
from bindrae.data.mmseqs import align_all
from bindrae.errors import BindraeError

BENZENE, TOLUENE, ASPIRIN, GLUCOSE = "c1ccccc1", "Cc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "OCC1OC(O)C(O)C(O)C1O"


def sides_of(*members: tuple[str, str, list[int], str]) -> Sides:
    return Sides([Member(*member) for member in members], 6)


def test_kin_across_sides_is_named() -> None:
    sides = sides_of(("a", "train", [0, 1], ""), ("b", "train", [2], ""), ("c", "test", [3], ""), ("d", "val", [4], ""))
    check_no_kin_across(sides, {"kin": np.array([[0, 1], [1, 2], [0, 5]])})
    for pair in ([2, 3], [3, 2]):
        with pytest.raises(BindraeError, match=r"c \(test\) and b \(train\) have kin, and 0 further"):
            check_no_kin_across(sides, {"none": np.empty((0, 2), int), "kin": np.array([[0, 1], pair])})
    with pytest.raises(BindraeError, match=r"c \(test\) and d \(val\)"):
        check_no_kin_across(sides, {"kin": np.array([[3, 4]])})


def test_the_same_chain_on_two_sides_is_kin() -> None:
    sides = sides_of(("a", "train", [0], ""), ("b", "val", [0], ""))
    with pytest.raises(BindraeError, match=r"b \(val\) and a \(train\) have the same chain"):
        check_no_kin_across(sides, {"the same chain": np.array([[0, 0]])})


def test_the_benchmark_may_meet_test_and_excluded_but_not_train_or_val() -> None:
    pairs = {"kin": np.array([[0, 1]])}
    for side in ("test", EXCLUDED):
        check_no_kin_across(sides_of(("a", side, [0], ""), ("b", "benchmark", [1], "")), pairs)
    for side in ("train", "val"):
        with pytest.raises(BindraeError, match=rf"b \(benchmark\) and a \({side}\)"):
            check_no_kin_across(sides_of(("a", side, [0], ""), ("b", "benchmark", [1], "")), pairs)


def test_highest_identity_between_sides() -> None:
    base = random_sequence(1, 200)
    sequences = [base, mutated(base, 0.5, 1), base[:90] + random_sequence(2, 110), random_sequence(3, 200)]
    sides = sides_of(("a", "train", [0], ""), ("b", "test", [1], ""), ("c", "test", [2], ""), ("d", "val", [3], ""))
    report = sequence_leakage(sides, align_all(sequences, SplitSettings()), 0.8)
    assert set(report) == {"test-train", "val-train", "test-val"}
    near = report["test-train"]
    same = np.mean([x == y for x, y in zip(base, sequences[1], strict=True)])
    assert near["identity"] == pytest.approx(same, abs=0.03)
    assert (near["test"], near["train"]) == ("b", "a")
    # The shared stretch is less than 80 % of the chain: more identical, but no kinship of the whole.
    assert near["local_identity"] > near["identity"]
    assert near["local_length"] < 160
    assert near["local_test"] == "c"
    assert report["val-train"]["identity"] is None
    assert report["val-train"]["significant_alignments"] == 0


def test_ligand_similarity_between_sides() -> None:
    sides = sides_of(
        ("a", "train", [0], BENZENE), ("b", "train", [0], GLUCOSE), ("c", "test", [1], TOLUENE),
        ("d", "test", [1], GLUCOSE), ("e", "test", [1], "no molecule"), ("f", "test", [1], ""),
        ("g", "val", [2], ASPIRIN), ("h", EXCLUDED, [3], ASPIRIN),
    )  # fmt: skip
    summary, distribution = ligand_leakage(sides)
    near = summary["test-train"]
    assert (near["highest"], near["test"], near["train"]) == (1.0, "d", "b")
    assert (near["ligands_compared"], near["unreadable"]) == (2, 2)
    # Benzene has 3 environments, toluene 9, of which one is benzene's own aromatic carbon and one its neighbourhood.
    assert near["median"] == pytest.approx((1.0 + 3 / 11) / 2, abs=0.05)
    assert sum(v for k, v in distribution["test-train"].items() if k != "same_smiles") == 2
    assert (distribution["test-train"]["0.9-1"], distribution["test-train"]["same_smiles"]) == (1, 1)
    assert summary["val-train"]["highest"] < 0.5


def test_a_side_without_readable_ligands_has_no_similarity() -> None:
    assert ligand_leakage(sides_of(("a", "train", [0], ""), ("b", "test", [1], BENZENE))) == ({}, {})
