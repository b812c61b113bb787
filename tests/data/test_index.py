"""The index: every layout, what is missing, ids that cannot be, and batches that stay put."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bindrae.config import IndexSettings
from bindrae.data.index import (
    DEMO_COMPLEXES,
    batch_of,
    files_changed,
    find_demo,
    find_folders,
    find_pairs,
    run_index,
)
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_json, read_table, rejected_path, sidecar_path
from bindrae.errors import REJECTION_CODES, BindraeError

Layout = Callable[..., DataLayout]


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(root: Path, identifier: str, *suffixes: str) -> None:
    for suffix in suffixes or ("_protein.pdb", "_ligand.sdf"):
        touch(root / identifier / f"{identifier}{suffix}")


@pytest.fixture
def index(tmp_path: Path) -> Layout:
    def run(root: Path | None, layout: str = "casf2016", n_batches: int = 4) -> DataLayout:
        data = DataLayout(tmp_path / "results" / "data")
        run_index(data, root, IndexSettings(layout=layout, n_batches=n_batches))
        return data

    return run


def entries(data: DataLayout) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_table(data.entries).to_pylist()}


@pytest.mark.parametrize("inner", ["", "coreset"])
@pytest.mark.parametrize("layout", ["casf2016", "pdbbind"])
def test_folders_are_found_above_or_at_the_coreset(tmp_path: Path, index: Layout, layout: str, inner: str) -> None:
    root = tmp_path / "set"
    folder(root / inner, "1abc", "_protein.pdb", "_ligand.mol2", "_ligand.sdf", "_pocket.pdb")
    folder(root / inner, "2xyz", "_protein.cif.gz", "_ligand.mol2.gz")
    folder(root / inner, ".hidden")
    (root / inner / "readme").mkdir()
    touch(root / inner / "INDEX.dat")
    rows = entries(index(root, layout))
    assert set(rows) == {"1abc", "2xyz"}
    at = root / inner
    assert rows["1abc"]["protein"] == str(at / "1abc" / "1abc_protein.pdb")
    assert rows["1abc"]["ligand"] == [str(at / "1abc" / f"1abc_ligand.{e}") for e in ("sdf", "mol2")], "SDF before MOL2"
    assert rows["2xyz"]["ligand"] == [str(at / "2xyz" / "2xyz_ligand.mol2.gz")]
    assert rows["1abc"]["size"] == 3
    assert {row["source"] for row in rows.values()} == {at.name}


def test_pairs_are_found_in_one_folder(tmp_path: Path, index: Layout) -> None:
    root = tmp_path / "pairs"
    for name in ("a_b_protein.pdb.gz", "a_b_ligand.sdf", "a_b_ligand.mol2", "lonely_ligand.sdf", "notes.txt"):
        touch(root / name)
    data = index(root, "pairs")
    assert list(entries(data)) == ["a_b"]
    assert entries(data)["a_b"]["protein"].endswith("a_b_protein.pdb.gz")
    assert [row["id"] for row in read_table(rejected_path(data.entries)).to_pylist()] == ["lonely"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_sheets_take_paths_from_their_own_folder(tmp_path: Path, index: Layout, suffix: str) -> None:
    there = touch(tmp_path / "elsewhere" / "p.pdb")
    touch(tmp_path / "set" / "files" / "l.sdf")
    sheet = pd.DataFrame(
        {"id": ["1e10", "007"], "protein": [str(there)] * 2, "ligand": ["files/l.sdf"] * 2, "extra": [1, 2]}
    )
    path = tmp_path / "set" / f"sheet{suffix}"
    if suffix == ".parquet":
        sheet.to_parquet(path)
    else:
        sheet.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    rows = entries(index(path, "sheet"))
    assert list(rows) == ["1e10", "007"], "ids are text, not numbers"
    assert rows["007"]["protein"] == str(there)
    assert rows["007"]["ligand"] == [str(tmp_path / "set" / "files" / "l.sdf")]


def test_sheets_may_name_a_group_of_the_protein_file(tmp_path: Path, index: Layout) -> None:
    touch(tmp_path / "set" / "p.pdb", "four")
    lines = [
        "id,protein,ligand",
        "a,p.pdb,hetatm:STI/A/201",
        "b,p.pdb,hetatm:STI",
        "c,p.pdb,hetatm:A B",
        "d,q.pdb,hetatm:ZN",
    ]
    data = index(touch(tmp_path / "set" / "sheet.csv", "\n".join(lines)), "sheet")
    rows = entries(data)
    assert {i: row["ligand"] for i, row in rows.items()} == {"a": ["hetatm:STI/A/201"], "b": ["hetatm:STI"]}
    assert rows["a"]["size"] == 4, "the ligand is part of the protein file"
    rejected = {row["id"]: row for row in read_table(rejected_path(data.entries)).to_pylist()}
    assert {i: row["code"] for i, row in rejected.items()} == {"c": "ligand_missing", "d": "protein_missing"}
    assert "hetatm:NAME/CHAIN/NUMBER" in rejected["c"]["message"]


def test_the_demo_lies_inside_packages(index: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "distribution", nowhere)
        with pytest.raises(BindraeError, match="posebusters") as caught:
            find_demo(None)
        assert "demo" in caught.value.hint
    try:
        data = index(None, "demo")
    except BindraeError as error:
        pytest.skip(f"{error.message}")
    assert set(entries(data)) == {identifier for _, identifier, _, _ in DEMO_COMPLEXES}


def test_a_missing_file_is_a_rejected_row(tmp_path: Path, index: Layout) -> None:
    folder(tmp_path / "set", "good")
    folder(tmp_path / "set", "noligand", "_protein.pdb")
    folder(tmp_path / "set", "noprotein", "_ligand.mol2")
    data = index(tmp_path / "set")
    assert list(entries(data)) == ["good"]
    rejected = {row["id"]: row for row in read_table(rejected_path(data.entries)).to_pylist()}
    assert {i: row["code"] for i, row in rejected.items()} == {
        "noligand": "ligand_missing",
        "noprotein": "protein_missing",
    }
    assert all(row["stage"] == "index" and row["hint"] == REJECTION_CODES[row["code"]] for row in rejected.values())
    assert "noprotein_protein.pdb" in rejected["noprotein"]["message"]
    assert read_json(sidecar_path(data.entries))["counts"] == {"in": 3, "out": 1, "rejected": 2}


@pytest.mark.parametrize(("layout", "kind"), [("casf2016", "folder"), ("pairs", "folder"), ("sheet", "file")])
def test_a_root_that_is_not_there_is_said_so(tmp_path: Path, index: Layout, layout: str, kind: str) -> None:
    for root in (None, tmp_path / "nowhere", touch(tmp_path / "file") if kind == "folder" else tmp_path):
        with pytest.raises(BindraeError, match=f"is not a {kind}") as caught:
            index(root, layout)
        assert "root" in caught.value.hint
    assert not (tmp_path / "results").exists()


def test_a_folder_without_complexes_is_an_error(tmp_path: Path, index: Layout) -> None:
    (tmp_path / "set").mkdir()
    for layout in ("casf2016", "pairs"):
        with pytest.raises(BindraeError, match="no complexes") as caught:
            index(tmp_path / "set", layout)
        assert "index.layout" in caught.value.hint
    folder(tmp_path / "set", "only", "_protein.pdb")
    with pytest.raises(BindraeError, match="all 1 complexes lack a file"):
        index(tmp_path / "set")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,protein\na,p\n", "ligand"),
        ("", "sheet.csv"),
        ('id,protein,ligand\na,"p,l\n', "sheet.csv"),
        ("id,protein,ligand\n", "no complexes"),
        ("id,protein,ligand\na,p,l\nb,p,l\na,p,l\n", "more than once: a$"),
        ("id,protein,ligand\n../x,p,l\n", r"'\.\./x'"),
        ("id,protein,ligand\n/etc/x,p,l\n", "'/etc/x'"),
        ("id,protein,ligand\n,p,l\n", "''"),
        ("id,protein,ligand\na b,p,l\n", "'a b'"),
        ('id,protein,ligand\n"a\n",p,l\n', "cannot be file names"),
    ],
)
def test_sheets_that_cannot_be_are_refused(tmp_path: Path, index: Layout, text: str, match: str) -> None:
    sheet = touch(tmp_path / "set" / "sheet.csv", text)
    with pytest.raises(BindraeError) as caught:
        index(sheet, "sheet")
    assert re.search(match, caught.value.message)
    assert not (tmp_path / "results").exists()


def test_a_sheet_of_another_kind_is_refused(tmp_path: Path, index: Layout) -> None:
    with pytest.raises(BindraeError, match=r"\.csv, \.tsv or \.parquet"):
        index(touch(tmp_path / "sheet.xlsx"), "sheet")
    with pytest.raises(BindraeError, match=r"sheet\.parquet"):
        index(touch(tmp_path / "sheet.parquet"), "sheet")


def test_batches_are_stable_and_even() -> None:
    ids = [f"c{i}" for i in range(2000)]
    counts = Counter(batch_of(i, 8) for i in ids)
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1.5 * min(counts.values())
    # Fixed for good: another hash would move every complex of every user to another batch.
    assert [batch_of(i, 8) for i in ("1abc", "3gr2", "1s2g")] == [6, 1, 2]


def test_new_complexes_move_no_other_and_touch_only_their_batches(tmp_path: Path, index: Layout) -> None:
    root = tmp_path / "set"
    for i in range(30):
        folder(root, f"c{i}")
    data = index(root, n_batches=8)
    before, prints = entries(data), read_json(data.batches)
    assert list(prints) == [str(n) for n in range(8)] == [str(n) for n in data.batch_numbers()]
    bytes_before = data.entries.read_bytes()
    index(root, n_batches=8)
    assert data.entries.read_bytes() == bytes_before
    assert read_json(data.batches) == prints

    for new in ("aaa", "zzz"):
        folder(root, new)
    index(root, n_batches=8)
    after = entries(data)
    assert {i: after[i] for i in before} == before
    touched = {str(after[i]["batch"]) for i in ("aaa", "zzz")}
    changed = {n for n, value in read_json(data.batches).items() if value != prints[n]}
    assert changed == touched


def test_a_changed_file_changes_the_fingerprint_of_its_batch_only(tmp_path: Path, index: Layout) -> None:
    root = tmp_path / "set"
    for i in range(12):
        folder(root, f"c{i}")
    data = index(root, n_batches=8)
    prints = read_json(data.batches)
    touch(root / "c3" / "c3_ligand.sdf", "longer")
    index(root, n_batches=8)
    changed = {n for n, value in read_json(data.batches).items() if value != prints[n]}
    assert changed == {str(entries(data)["c3"]["batch"])}


@pytest.mark.timeout(15)  # one pass over the ids; a search for each of them would take minutes
def test_many_ids_with_one_twice_are_told_in_time(tmp_path: Path, index: Layout) -> None:
    lines = [f"c{i},p,l" for i in range(60_000)]
    sheet = touch(tmp_path / "big.csv", "\n".join(["id,protein,ligand", *lines, "c7,p,l"]))
    with pytest.raises(BindraeError, match="more than once: c7"):
        index(sheet, "sheet")


@pytest.mark.parametrize("find", [find_folders, find_pairs])
def test_the_order_does_not_depend_on_the_file_system(
    tmp_path: Path, find: Callable[[Path], list[dict[str, Any]]]
) -> None:
    names = ["b", "a", "c10", "c2"]
    for name in names:
        if find is find_pairs:
            touch(tmp_path / f"{name}_protein.pdb")
        else:
            folder(tmp_path, name)
    assert [row["id"] for row in find(tmp_path)] == sorted(names)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_100_000_folders_and_a_sheet_of_500_000_rows_in_a_minute_each(tmp_path: Path, index: Layout) -> None:
    root = tmp_path / "set"
    for i in range(100_000):
        folder(root, f"c{i:06d}")
    start = time.monotonic()
    assert read_json(sidecar_path(index(root, "pdbbind", n_batches=200).entries))["counts"]["out"] == 100_000
    assert time.monotonic() - start < 60
    lines = [f"e{i},set/c{i % 1000:06d}/c{i % 1000:06d}_protein.pdb,hetatm:STI/A/1" for i in range(500_000)]
    sheet = touch(tmp_path / "big.csv", "\n".join(["id,protein,ligand", *lines]))
    start = time.monotonic()
    assert read_json(sidecar_path(index(sheet, "sheet", n_batches=200).entries))["counts"]["out"] == 500_000
    assert time.monotonic() - start < 60


def test_changes_inside_folders_are_seen_without_reading_files(tmp_path: Path, index: Layout) -> None:
    root = tmp_path / "set"
    for i in range(20):
        folder(root, f"c{i}")
    folder(root, "half", "_protein.pdb")
    data = index(root, n_batches=8)
    settings = IndexSettings(layout="casf2016", n_batches=8)

    def seen() -> list[int]:
        return files_changed(data, root, settings)

    assert seen() == []
    touch(root / "c3" / "c3_protein.pdb", "another")
    assert seen() == [batch_of("c3", 8)]
    touch(root / "c5" / "c5_ligand.mol2")  # a second file for the ligand
    (root / "c6" / "c6_ligand.sdf").unlink()
    touch(root / "half" / "half_ligand.sdf")  # was rejected by the index
    assert set(seen()) == {batch_of(i, 8) for i in ("c3", "c5", "c6", "half")}
    touch(root / "c7" / "c7_pocket.pdb")  # nothing that is read
    index(root, n_batches=8)
    assert seen() == []


def test_the_demo_never_changes(index: Layout, demo: dict[str, Any]) -> None:
    data = index(None, "demo")
    assert files_changed(data, None, IndexSettings(layout="demo", n_batches=4)) == []
