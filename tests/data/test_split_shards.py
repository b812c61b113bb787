"""Excluded complexes reach no shard, and are counted."""

from __future__ import annotations

import shutil
from pathlib import Path

from split_cases import split_of, write_clean

from bindrae.config import ShardSettings, SplitSettings
from bindrae.data.layout import EXCLUDED, SIDES, DataLayout
from bindrae.data.shards import run_shards
from bindrae.data.storage import read_json, read_table, sidecar_path


def test_excluded_complexes_are_left_out_of_all_shards_and_counted(demo_layout: DataLayout, tmp_path: Path) -> None:
    layout = DataLayout(tmp_path / "data")
    shutil.copytree(demo_layout.root, layout.root)
    layout.pins.unlink()
    rows = {row["id"]: row for row in read_table(layout.batch("clean", 0), ["id", "sequences"]).to_pylist()}
    write_clean(tmp_path / "other", {"elsewhere": rows["1s3v"]["sequences"]})
    sides = split_of(layout, SplitSettings(protocol="benchmark", benchmark=str(tmp_path / "other")))
    assert sides["1s3v"] == EXCLUDED
    run_shards(layout, 0, ShardSettings())
    packed = {side: read_table(layout.shard(side, 0), ["id"])["id"].to_pylist() for side in SIDES}
    assert {i: side for side, ids in packed.items() for i in ids} == {i: s for i, s in sides.items() if i != "1s3v"}
    counts = read_json(sidecar_path(layout.batch("shards", 0)))["counts"]
    assert (counts[EXCLUDED], sum(counts.values())) == (1, 3)
