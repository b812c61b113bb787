"""Writing: the whole file or the old file, never a half; the sidecar; errors that say what to do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pytest

from bindrae.data.storage import (
    atomic_path,
    read_json,
    read_table,
    rejected_path,
    sha256_file,
    sidecar_path,
    write_json,
    write_sidecar,
    write_table,
    write_text,
)
from bindrae.errors import BindraeError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def half_write(path: Path, fault: type[BaseException]) -> None:
    before = path.read_text() if path.exists() else None
    with atomic_path(path) as temporary:
        temporary.write_text("half of the new")
        assert (path.read_text() if path.exists() else None) == before, "untouched until the new file is whole"
        raise fault


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: type[BaseException]) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(fault):
        half_write(path, fault)
    assert path.read_text() == "old"
    assert names(tmp_path) == {"out.txt"}


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        half_write(tmp_path / "new" / "out.txt", RuntimeError)
    assert names(tmp_path / "new") == set()


class Full:
    """A disk on which nothing more fits: `os.fsync` and the flush before it are refused."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, handle: int) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Full(number))
        with pytest.raises(BindraeError, match=r"no space left .* while writing .*out\.txt") as caught:
            write_text("new", path)
        assert "same command" in caught.value.hint
        # Writers that do not say why they failed.
        with pytest.raises(BindraeError, match="no space left"):
            half_write(path, RuntimeError)
        with pytest.raises(BindraeError, match="a fault of its own"), atomic_path(path):
            raise BindraeError("a fault of its own")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"out.txt"}


def test_other_failures_of_the_disk_keep_their_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Full(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        write_text("new", tmp_path / "out.txt")
    assert names(tmp_path) == set()


def test_a_write_makes_its_folders_and_is_readable_by_the_group(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.txt"
    before = os.umask(0o022)
    try:
        write_text("text", path)
    finally:
        os.umask(before)
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names(path.parent) == {"out.txt"}


def test_values_that_are_no_json_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json({"b": 1, "a": [2.5, None]}, path)
    old = path.read_bytes()
    assert list(read_json(path)) == ["b", "a"]
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(bad, path)
    assert path.read_bytes() == old
    assert names(tmp_path) == {"a.json"}


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c"], "x": [[1.0], [], [2.0, 3.0]]})
    write_table(table, tmp_path / "a.parquet")
    write_table(table.slice(0), tmp_path / "b.parquet")
    assert sha256_file(tmp_path / "a.parquet") == sha256_file(tmp_path / "b.parquet")
    assert sha256_file(tmp_path / "a.parquet") == hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()
    assert read_table(tmp_path / "a.parquet", ["x"]).column_names == ["x"]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and then nothing", b"{"])
def test_missing_and_damaged_files_are_named_with_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    for read in (read_table, read_json):
        path = tmp_path / "file"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BindraeError, match="file") as caught:
            read(path)
        assert "rerun" in caught.value.hint or "run the stage" in caught.value.hint
        assert caught.value.hint in str(caught.value)


def test_a_cut_off_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(pa.table({"x": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BindraeError, match="not a sound parquet"):
        read_table(path)


def test_the_sidecar_tells_how_the_output_came_about(tmp_path: Path) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out" / "0003.parquet"
    source.write_bytes(b"anything")
    write_sidecar(output, "pocket", 7, {"sigma": 2.0}, {"clean": source}, {"in": 3, "out": 2}, 1.23456)
    assert sidecar_path(output) == output.parent / "0003.json"
    assert rejected_path(output) == output.parent / "0003.rejected.parquet"
    assert json.loads(sidecar_path(output).read_text()) == {
        "stage": "pocket",
        "version": 7,
        "settings": {"sigma": 2.0},
        "inputs": {"clean": hashlib.sha256(b"anything").hexdigest()},
        "counts": {"in": 3, "out": 2},
        "seconds": 1.235,
    }
