"""The split of whole datasets: leak-free, stable when complexes are added, and honest in its record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from split_cases import Complexes, clusters_of, families, mutated, random_sequence, split_of, write_clean

from bindrae.config import SplitSettings, load_settings
from bindrae.data import split as split_module
from bindrae.data.layout import EXCLUDED, DataLayout
from bindrae.data.schema import CLEAN
from bindrae.data.split import check_rejected
from bindrae.data.storage import REJECTED_SCHEMA, read_json, rejected_path, sidecar_path, write_json, write_table
from bindrae.errors import BindraeError

SIZES = [8, 6, 5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1]


def record(layout: DataLayout) -> dict:
    """The split's sidecar without its time."""
    data = read_json(sidecar_path(layout.split))
    del data["seconds"]
    return data


def with_domains(sizes: list[int]) -> Complexes:
    """Families, and for each a complex with one domain of its founder, which only the final search finds."""
    complexes = families(sizes)
    for f in range(len(sizes)):
        complexes[f"domain{f:02d}"] = [mutated(random_sequence(100 + f)[20:100], 0.15, f)]
    return complexes


def test_families_stay_together_with_their_domains(tmp_path: Path) -> None:
    complexes = with_domains(SIZES)
    layout = write_clean(tmp_path, complexes)
    sides = split_of(layout)
    assert set(sides) == set(complexes)
    for f, size in enumerate(SIZES):
        family = {f"domain{f:02d}", *(f"{f:02d}-{m}" for m in range(size))}
        assert len({sides[i] for i in family}) == 1
        assert len({clusters_of(layout)[i] for i in family}) == 1
    assert set(sides.values()) == {"train", "val", "test"}
    counts = record(layout)["counts"]
    assert (counts["complexes"], counts["clusters"], counts["excluded"]) == (len(complexes), len(SIZES), 0)
    leakage = counts["leakage"]
    assert leakage["rules"]["joined_by_final_search"] == len(complexes)
    assert leakage["clusters"]["complexes_in_largest"] == 9
    assert leakage["clusters"]["share_of_largest"] == round(9 / len(complexes), 4)
    for entry in leakage["sequence"].values():
        assert entry["identity"] is None or entry["identity"] < 0.3


def test_the_check_finds_what_clustering_alone_would_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    join = split_module.join_complexes
    monkeypatch.setattr(
        split_module, "join_complexes", lambda chains, linking, pairs: join(chains, linking, np.empty((0, 2), np.int64))
    )
    layout = write_clean(tmp_path, with_domains(SIZES))
    with pytest.raises(BindraeError, match=r"leakage: \S+ \((test|val)\) and \S+ \((train|val)\) have chains that are"):
        split_of(layout)
    assert not layout.split.exists()
    assert not layout.pins.exists()


def test_same_bytes_on_a_rerun_and_with_more_threads(tmp_path: Path) -> None:
    layout = write_clean(tmp_path, with_domains(SIZES))
    split_of(layout)
    first = layout.split.read_bytes(), layout.pins.read_bytes(), record(layout)
    split_of(layout, threads=2)
    assert (layout.split.read_bytes(), layout.pins.read_bytes(), record(layout)) == first
    layout.pins.unlink()
    split_of(layout)
    assert (layout.split.read_bytes(), layout.pins.read_bytes(), record(layout)) == first


def test_added_complexes_move_no_old_one(tmp_path: Path) -> None:
    old = families(SIZES)
    layout = write_clean(tmp_path, old)
    before, names = split_of(layout), clusters_of(layout)
    # New members of old families with names that come first, and new families.
    added = {f"000-{f}": [mutated(random_sequence(100 + f), 0.25, 77 + f)] for f in range(len(SIZES))}
    added |= {f"new{name}": chains for name, chains in families([3, 3, 2, 1, 1, 1], 500).items()}
    write_clean(tmp_path, old | added)
    after = split_of(layout)
    assert {i: after[i] for i in old} == before
    assert {i: clusters_of(layout)[i] for i in old} == names
    assert all(after[f"000-{f}"] == before[f"{f:02d}-0"] for f in range(len(SIZES)))
    assert EXCLUDED not in after.values()


def test_a_complex_that_bridges_two_sides_moves_nothing_into_training_or_test(tmp_path: Path) -> None:
    old = families(SIZES)
    layout = write_clean(tmp_path, old)
    before = split_of(layout)
    test = next(i for i in sorted(old) if before[i] == "test")
    train = next(i for i in sorted(old) if before[i] == "train")
    write_clean(tmp_path, old | {"bridge": [*old[test], *old[train]]})
    after = split_of(layout)
    changed = {i for i in old if after[i] != before[i]}
    assert changed == {i for i in old if i[:2] == train[:2]}
    assert {after[i] for i in (*changed, "bridge")} == {EXCLUDED}
    rules = record(layout)["counts"]["leakage"]["rules"]
    assert rules["excluded_kin_of_two_sides"] == len(changed) + 1
    # Without the bridge all is as before.
    write_clean(tmp_path, old)
    assert split_of(layout) == before


def test_another_seed_draws_anew_and_going_back_brings_the_old_sides(tmp_path: Path) -> None:
    layout = write_clean(tmp_path, families(SIZES))
    before = split_of(layout)
    assert split_of(layout, SplitSettings(seed=3)) != before
    assert split_of(layout) == before


def test_kin_of_the_benchmark_leaves(tmp_path: Path) -> None:
    complexes = with_domains(SIZES)
    smiles = {"03-0": "CC(=O)Oc1ccccc1C(=O)O", "12-0": "OCC1OC(O)C(O)C(O)C1O"}
    layout = write_clean(tmp_path / "own", complexes, smiles)
    # The same protein, a domain of another one, a stranger; one id is in both datasets.
    benchmark = {"12-0": complexes["12-0"], "b1": [random_sequence(103)[20:100]], "b2": [random_sequence(9)]}
    write_clean(tmp_path / "other", benchmark, {"b1": "CC(=O)Oc1ccccc1C(=O)O"})
    settings = SplitSettings(protocol="benchmark", benchmark=str(tmp_path / "other"), fractions=(0.8, 0.2, 0.0))
    sides = split_of(layout, settings)
    left = {i for i, side in sides.items() if side == EXCLUDED}
    assert left == {i for i in complexes if i[:2] in ("03", "12") or i in ("domain03", "domain12")}
    assert Counter(sides.values()).keys() == {"train", "val", EXCLUDED}
    leakage = record(layout)["counts"]["leakage"]
    assert leakage["rules"]["excluded_in_clusters_of_benchmark"] == len(left)
    assert 3 <= leakage["rules"]["of_these_similar_to_it_themselves"] <= len(left)
    assert set(leakage["sequence"]) == {"val-train", "benchmark-train", "benchmark-val"}
    assert set(record(layout)["inputs"]) == {"clean/0000", "clean/0001", "benchmark/0000", "benchmark/0001"}


def test_benchmarks_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    layout = write_clean(tmp_path / "own", families([2, 1]))
    for folder, message in ((tmp_path / "none", "holds no prepared dataset"), (tmp_path / "own", "itself")):
        with pytest.raises(BindraeError, match=message):
            split_of(layout, SplitSettings(protocol="benchmark", benchmark=str(folder)))
    write_clean(tmp_path / "empty", {})
    with pytest.raises(BindraeError, match="no accepted complex"):
        split_of(layout, SplitSettings(protocol="benchmark", benchmark=str(tmp_path / "empty")))
    for half in ({"protocol": "benchmark"}, {"benchmark": "x"}):
        with pytest.raises(BindraeError, match="go together"):
            load_settings(SplitSettings, json.dumps(half))


def rejections(layout: DataLayout, accepted: int, rejected: int) -> None:
    write_json({"0": "x"}, layout.batches)
    rows = [
        {"id": str(i), "stage": "clean", "code": "ligand_far", "message": f"m{i}", "hint": "h"} for i in range(rejected)
    ]
    write_table(pa.Table.from_pylist([], schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    write_table(pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA), rejected_path(layout.batch("clean", 0)))
    write_table(pa.Table.from_pylist([{"id": str(i)} for i in range(accepted)], schema=CLEAN), layout.batch("clean", 0))


def test_too_many_rejections_and_an_empty_dataset_stop_the_run(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path)
    rejections(layout, accepted=8, rejected=2)
    assert check_rejected(layout, 0.2) == {"ligand_far": 2}
    with pytest.raises(BindraeError, match=r"2 of 10 complexes were rejected \(20.0%.*ligand_far 2"):
        check_rejected(layout, 0.19)
    rejections(layout, accepted=0, rejected=3)
    with pytest.raises(BindraeError, match="no complex was accepted"):
        check_rejected(layout, 1.0)
