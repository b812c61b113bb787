"""The data quality report: what went in, what was rejected and why, and how the data look.

Batches are read one after the other and only counts are kept: the size of the dataset does not matter.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bindrae.config import QualitySettings
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.pocket_pdb import export_pockets, write_pocket_index
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import read_json, read_table, sidecar_path, write_json, write_text
from bindrae.reporting.floors import Floors
from bindrae.reporting.ledger import Ledger
from bindrae.reporting.quality_page import quality_page
from bindrae.reporting.survey import STAGES, Survey

N_SOURCES = 20


def _split_summary(layout: DataLayout, split: pa.Table, sides: dict[str, Counter[str]]) -> dict[str, Any]:
    clusters = split.group_by(["cluster", "split"]).aggregate([("id", "count")])
    by_side = Counter(clusters["split"].to_pylist())
    n_clusters = pc.count_distinct(clusters["cluster"]).as_py()
    # A side that neither trains nor scores (complexes held out) cannot leak.
    used = clusters.filter(pc.is_in(clusters["split"], pa.array(SIDES)))
    record = read_json(sidecar_path(layout.split)) if sidecar_path(layout.split).is_file() else {}
    largest = clusters.sort_by([("id_count", "descending"), ("cluster", "ascending")]).slice(0, 5)
    order = sorted(
        set(by_side) | set(sides) - {"none"}, key=lambda s: (SIDES.index(s) if s in SIDES else len(SIDES), s)
    )
    keys = ("complexes", "residues", "pocket_residues")
    sides = defaultdict(Counter, sides)
    return {
        "sides": {s: {**{key: sides[s][key] for key in keys}, "clusters": by_side[s]} for s in order},
        "clusters": n_clusters,
        "clusters_on_two_sides": used.num_rows - pc.count_distinct(used["cluster"]).as_py(),
        "largest_clusters": [
            {"cluster": row["cluster"], "split": row["split"], "complexes": row["id_count"]}
            for row in largest.to_pylist()
        ],
        "without_side": sides["none"]["complexes"],
        "without_data": split.num_rows - sum(c["complexes"] for s, c in sides.items() if s != "none"),
        "leakage": record.get("counts", {}).get("leakage"),
    }


def _input_summary(layout: DataLayout, index_settings: dict[str, Any], fingerprint: int) -> dict[str, Any]:
    entries = read_table(layout.entries, ["source", "size", "mtime"])
    sources = entries.group_by("source").aggregate([("size", "count"), ("size", "sum")])
    ranked = sources.sort_by([("size_count", "descending"), ("source", "ascending")]).slice(0, N_SOURCES).to_pylist()
    newest = pc.max(entries["mtime"]).as_py()
    return {
        "root": index_settings.get("root"),
        "layout": index_settings.get("layout"),
        "complexes": entries.num_rows,
        "bytes": pc.sum(entries["size"]).as_py() or 0,
        "newest": datetime.fromtimestamp(newest / 1e9, UTC).isoformat(timespec="seconds") if newest else None,
        "n_sources": sources.num_rows,
        "sources": [{"source": r["source"], "complexes": r["size_count"], "bytes": r["size_sum"]} for r in ranked],
        "fingerprint": f"{fingerprint:064x}",
    }


def run_quality(layout: DataLayout, settings: QualitySettings) -> None:
    """Write quality.json and quality.html of a dataset.

    Parameters
    ----------
    layout : DataLayout
        With the index, the tables of all batches and the split in place.
    settings : QualitySettings

    Raises
    ------
    BindraeError
        When a file is missing, when tables do not belong together, or when complexes were lost.
    """
    start = time.monotonic()
    split = read_table(layout.split, ["id", "cluster", "split"])
    ledger = Ledger(settings.max_examples)
    ledger.add("index", layout.entries)
    survey = Survey(split)
    floors = Floors(split["id"].to_pylist(), settings.floor_complexes, settings.seed)
    pockets: list[tuple[str, Path]] = []
    for number in layout.batch_numbers():
        for stage in STAGES:
            ledger.add(stage, layout.batch(stage, number))
        for stage in ("embed", "shards"):
            ledger.add(stage, layout.batch(stage, number), required=False)
        accepted_ids = survey.add(layout, number)
        floors.add(layout, number, accepted_ids)
        if settings.write_pocket_pdb:
            pockets += export_pockets(layout, number, accepted_ids)
    ledger.add("split", layout.split, required=False)
    ledger.check({"clean": "index", "pocket": "clean", "torsions": "clean", "tokens": "clean"})

    if settings.write_pocket_pdb:
        write_pocket_index(layout, pockets)
    accepted = sum(counts["complexes"] for counts in survey.sides.values())
    stages = ledger.summary()
    data: dict[str, Any] = {
        "found": stages["index"]["in"],
        "accepted": accepted,
        "rejected": ledger.n_rejected,
        "stages": stages,
        "rejections": ledger.rejections(),
        "split": _split_summary(layout, split, survey.sides),
        "inputs": _input_summary(layout, stages["index"]["settings"], survey.fingerprint),
        **survey.summary(),
        "floors": floors.summary(),
    }
    data["provenance"] = {
        "stage": "quality",
        "version": VERSIONS["quality"],
        "settings": settings.model_dump(mode="json"),
        "seconds": round(time.monotonic() - start, 3),
    }
    write_text(quality_page(data), layout.quality.with_suffix(".html"))
    write_json(data, layout.quality)
    print(f"quality: {accepted} of {data['found']} complexes accepted, {ledger.n_rejected} rejected")
