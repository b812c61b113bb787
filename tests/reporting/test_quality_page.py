"""The data quality report: its numbers against a slow count, its page, its refusals."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bindrae.chem.residues import RESIDUE_NAMES
from bindrae.config import QualitySettings
from bindrae.data import schema
from bindrae.data.layout import DataLayout
from bindrae.data.quality import run_quality
from bindrae.data.storage import REJECTED_SCHEMA, rejected_path, sidecar_path, write_sidecar, write_table
from bindrae.errors import BindraeError

Dataset = tuple[DataLayout, list[dict[str, dict[str, Any]]]]


def quality_of(layout: DataLayout, **settings: Any) -> dict[str, Any]:
    run_quality(layout, QualitySettings(**settings))
    return dict(json.loads(layout.quality.read_text()))


def omega_of(torsions: dict[str, Any]) -> tuple[list[float], list[bool]]:
    return [math.degrees(angle) for angle in torsions["angles"][:, 2]], torsions["defined"][:, 2].tolist()


def is_twisted(degrees: float, defined: bool) -> bool:
    return defined and 30 <= abs(degrees) <= 150


def test_numbers_equal_a_slow_count(dataset: Dataset) -> None:
    layout, complexes = dataset
    data = quality_of(layout)
    assert (data["found"], data["accepted"], data["rejected"]) == (15, 12, 3)
    per_complex = {
        "protein_length": [len(c["clean"]["aatype"]) for c in complexes],
        "pocket_size": [int(c["pocket"]["contact"].sum()) for c in complexes],
        "tokens": [len(c["tokens"]["xyz"]) for c in complexes],
        "ligand_atoms": [len(c["clean"]["ligand_element"]) for c in complexes],
        "missing_heavy_atoms": [dict(c["clean"]["notes"]).get("missing_heavy_atoms", 0) for c in complexes],
        "chains": [1] * 12,
        "context_atoms": [0] * 12,
        "twisted_peptides": [sum(map(is_twisted, *omega_of(c["torsions"]))) for c in complexes],
    }
    ids = [c["clean"]["id"] for c in complexes]
    for name, values in per_complex.items():
        found = data["distributions"][name]
        assert found["n"] == 12
        assert found["total"] == sum(values)
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values))
        assert (found["min"], found["max"]) == (min(values), max(values))
        for key, q in (("q05", 0.05), ("median", 0.5), ("q95", 0.95)):
            assert found[key] == np.quantile(values, q, method="inverted_cdf")
        edges = found["edges"]
        counts = [sum(low <= v < high for v in values) for low, high in pairwise(edges)]
        counts[-1] = sum(v >= edges[-2] for v in values)
        assert found["counts"] == counts
        ranked = sorted(zip(values, ids, strict=True))
        assert data["outliers"][name]["smallest"] == [{"id": i, "value": v} for v, i in ranked[:5]]
        ranked = sorted(zip(values, ids, strict=True), key=lambda p: (-p[0], p[1]))
        assert data["outliers"][name]["largest"] == [{"id": i, "value": v} for v, i in ranked[:5]]


def test_residues_and_angles_equal_a_slow_count(dataset: Dataset) -> None:
    layout, complexes = dataset
    data = quality_of(layout)
    names = (*RESIDUE_NAMES, "UNK")
    types: dict[str, Counter[str]] = {name: Counter() for name in names}
    histogram = {f"chi{k}": [0] * 72 for k in (1, 2, 3, 4)}
    for c in complexes:
        for i, aatype in enumerate(c["clean"]["aatype"]):
            found = types[names[aatype]]
            found["residues"] += 1
            found["pocket"] += int(c["pocket"]["contact"][i])
            for k in range(4):
                found[f"chi{k + 1}"] += int(c["torsions"]["defined"][i, 3 + k])
                if c["torsions"]["defined"][i, 3 + k]:
                    place = (math.degrees(c["torsions"]["angles"][i, 3 + k]) + 180) // 5
                    histogram[f"chi{k + 1}"][min(71, max(0, int(place)))] += 1
    assert {k: dict(v) for k, v in types.items() if v} == {
        k: v for k, v in data["residue_types"].items() if v["residues"]
    }
    assert {name: data["chi"][name] for name in histogram} == histogram
    for name in histogram:
        by_type = [counts[name] for counts in data["chi"]["by_type"].values()]
        assert np.sum(by_type, axis=0).tolist() == histogram[name]


def test_bfactors_notes_routes_and_split_equal_a_slow_count(dataset: Dataset) -> None:
    layout, complexes = dataset
    data = quality_of(layout)
    known = [c["clean"] for c in complexes if (c["clean"]["bfactor"] * c["clean"]["atom14_mask"]).max() >= 1]
    values = np.concatenate([c["bfactor"][c["atom14_mask"]] for c in known]).astype(float)
    found = data["distributions"]["bfactors"]
    assert found["n"] == len(values)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["sd"] == pytest.approx(values.std())
    assert found["counts"] == np.histogram(np.minimum(values, 150), found["edges"])[0].tolist()
    assert data["flags"]["complexes_without_bfactors"] == 12 - len(known) == 4
    assert data["flags"]["atoms_above_40"] == (values > 40).sum()
    noted = [dict(c["clean"]["notes"]) for c in complexes]
    assert data["notes"]["missing_heavy_atoms"] == {
        "total": sum(n.get("missing_heavy_atoms", 0) for n in noted),
        "complexes": sum(bool(n) for n in noted),
    }
    assert data["ligand_routes"] == Counter(c["clean"]["ligand_route"] for c in complexes)
    assert data["flags"]["ligands_without_inchikey"] == sum(not c["clean"]["ligand_inchikey"] for c in complexes)
    sides = data["split"]["sides"]
    assert list(sides) == ["train", "val", "test"]
    assert [sides[s]["complexes"] for s in sides] == [4, 4, 4]
    assert [sides[s]["clusters"] for s in sides] == [2, 2, 2]
    assert sum(s["residues"] for s in sides.values()) == data["distributions"]["protein_length"]["total"]
    assert data["split"]["clusters"] == 6
    assert data["split"]["clusters_on_two_sides"] == 0


def test_stages_inputs_and_provenance(dataset: Dataset) -> None:
    layout, _ = dataset
    data = quality_of(layout, max_examples=1)
    assert data["stages"]["clean"] | {"settings": 0} == {
        "batches": 3, "in": 14, "out": 12, "rejected": 2, "seconds": 7.5, "slowest": 3.5, "versions": [1],
        "settings": 0, "settings_agree": True,
    }  # fmt: skip
    reasons = [(r["stage"], r["code"], r["count"], len(r["examples"])) for r in data["rejections"]]
    assert reasons == [("index", "ligand_missing", 1, 1), ("clean", "ligand_far", 2, 1)]
    assert data["inputs"]["sources"] == [{"source": "set", "complexes": 14, "bytes": 14000}]
    assert data["provenance"]["settings"] == QualitySettings(max_examples=1).model_dump()
    assert set(data["provenance"]) == {"stage", "version", "settings", "seconds"}


def test_page_shows_the_numbers_and_escapes(dataset: Dataset, check_page: Callable[[Path], str]) -> None:
    layout, _ = dataset
    data = quality_of(layout, max_examples=1)
    words = check_page(layout.quality.with_suffix(".html"))
    assert "12 of 15 complexes are accepted, 3 rejected (20.0 %)" in words
    assert "<script>alert(1)</script>0" in words  # as text
    assert "ligand_far (clean): 1 more, not listed here" in words
    assert "/data/<set>" in words
    assert f"{data['distributions']['protein_length']['total']:,}" in words
    assert "missing heavy atoms" in words


def test_two_runs_differ_in_seconds_only(dataset: Dataset) -> None:
    layout, _ = dataset
    first, second = quality_of(layout), quality_of(layout)
    first["provenance"]["seconds"] = second["provenance"]["seconds"] = 0
    assert first == second


def test_optional_stages_enter_with_their_time(dataset: Dataset, check_page: Callable[[Path], str]) -> None:
    layout, _ = dataset
    for number, settings in enumerate(({"plm": "none"}, {"plm": "none"}, {"plm": "other"})):
        write_sidecar(layout.batch("embed", number), "embed", 1, settings, {}, {"chains": 2}, 100.0)
    data = quality_of(layout)
    assert data["stages"]["embed"]["seconds"] == 300.0
    assert "in" not in data["stages"]["embed"]
    words = check_page(layout.quality.with_suffix(".html"))
    assert "5m00s" in words
    assert "Batches of embed were made with different settings or versions." in words


def test_a_later_stage_may_reject(dataset: Dataset) -> None:
    layout, complexes = dataset
    lost = complexes[0]["clean"]["id"]
    output = layout.batch("pocket", 0)
    rows = [c["pocket"] for c in complexes[1:7]]
    write_table(schema.rows_to_table(rows, schema.POCKET), output)
    rejected = [{"id": lost, "stage": "pocket", "code": "no_pocket", "message": "m", "hint": "h"}]
    write_table(pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA), rejected_path(output))
    write_sidecar(output, "pocket", 1, {}, {}, {"in": 7, "out": 6, "rejected": 1}, 1.0)
    data = quality_of(layout)
    assert (data["accepted"], data["rejected"]) == (11, 4)
    assert data["distributions"]["protein_length"]["n"] == data["distributions"]["tokens"]["n"] == 11
    assert data["split"]["without_data"] == 1


def test_leaking_clusters_are_shown(dataset: Dataset, check_page: Callable[[Path], str]) -> None:
    layout, complexes = dataset
    sides = [
        {"id": c["clean"]["id"], "cluster": "one", "split": ("train", "test")[i % 2]} for i, c in enumerate(complexes)
    ]
    write_table(pa.Table.from_pylist(sides[:-1], schema=schema.SPLIT), layout.split)
    data = quality_of(layout)
    assert data["split"]["clusters_on_two_sides"] == 1
    assert data["split"]["without_side"] == 1
    words = check_page(layout.quality.with_suffix(".html"))
    assert "1 sequence cluster on more than one side" in words


def test_lost_complexes_and_missing_files_are_refused(dataset: Dataset) -> None:
    layout, _ = dataset
    output = layout.batch("clean", 0)
    write_sidecar(output, "clean", 1, {}, {}, {"in": 9, "out": 7, "rejected": 1}, 1.0)
    with pytest.raises(BindraeError, match="clean: 15 complexes went in, 12 came out, 2 were rejected"):
        quality_of(layout)
    for path in (
        sidecar_path(output),
        rejected_path(layout.batch("tokens", 2)),
        layout.batch("torsions", 0),
        layout.split,
    ):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(BindraeError, match=path.name):
            quality_of(layout)
        path.write_bytes(content)


def test_tables_of_two_runs_are_refused(dataset: Dataset) -> None:
    layout, complexes = dataset
    rows = [c["pocket"] for c in complexes[:7]]
    rows[3] = {**rows[3], "contact": rows[3]["contact"][:-1]}
    write_table(schema.rows_to_table(rows, schema.POCKET), layout.batch("pocket", 0))
    with pytest.raises(BindraeError, match="different residues"):
        quality_of(layout)


def test_peptide_bonds_and_ramachandran_equal_a_slow_count(dataset: Dataset) -> None:
    layout, complexes = dataset
    found = quality_of(layout)["backbone"]
    wanted: Counter[str] = Counter()
    residues: Counter[str] = Counter()
    for c in complexes:
        types = c["clean"]["aatype"]
        omegas = list(zip(*omega_of(c["torsions"]), strict=True))
        for i, (omega, defined) in enumerate(omegas):
            wanted["peptide_bonds"] += defined
            wanted["twisted"] += is_twisted(omega, defined)
            # The conftest's angles are random: the last row of a complex may be "defined" too; only here.
            if defined and abs(omega) < 30 and i + 1 < len(omegas):
                wanted["cis_before_proline" if types[i + 1] == 14 else "cis_before_others"] += 1
        both = c["torsions"]["defined"][:, :2].all(1)
        for kind in types[both]:
            residues[{7: "GLY", 14: "PRO"}.get(int(kind), "general")] += 1
    assert found["peptide_bonds"] == wanted["peptide_bonds"]
    assert found["twisted"] == wanted["twisted"]
    cis = ("cis_before_proline", "cis_before_others")
    assert 0 <= sum(found[key] - wanted[key] for key in cis) <= len(complexes)
    assert {name: sum(n for *_, n in cells) for name, cells in found["ramachandran"].items()} == residues


def test_an_excluded_side_and_the_leakage_report_are_shown(dataset: Dataset, check_page: Callable[[Path], str]) -> None:
    layout, complexes = dataset
    sides = [
        {"id": c["clean"]["id"], "cluster": "one", "split": ("excluded", "test")[i % 2]}
        for i, c in enumerate(complexes)
    ]
    write_table(pa.Table.from_pylist(sides, schema=schema.SPLIT), layout.split)
    leakage = {
        "highest identity": {"train-test": {"identity": 0.287, "pairs": 3}, "val-test": {"identity": None, "pairs": 0}},
        "hits_above": 0,
    }
    write_sidecar(layout.split, "split", 1, {}, {}, {"complexes": 12, "leakage": leakage}, 1.0)
    data = quality_of(layout)
    assert list(data["split"]["sides"]) == ["test", "excluded"]
    assert data["split"]["sides"]["excluded"]["complexes"] == 6
    assert data["split"]["clusters_on_two_sides"] == 0
    assert data["split"]["leakage"] == leakage
    words = check_page(layout.quality.with_suffix(".html"))
    assert "6 accepted complexes on the side “excluded”" in words
    assert "Leakage between the sides: highest identity" in words
    assert "train-test 0.287 3" in words
    assert "hits above 0" in words


def test_a_sample_of_no_complex_leaves_the_floors_out(dataset: Dataset, check_page: Callable[[Path], str]) -> None:
    layout, _ = dataset
    data = quality_of(layout, floor_complexes=0)
    assert data["floors"]["complexes"] == 0
    assert data["floors"]["clash_atoms_pct"] is None
    assert "Crystal clashes" not in check_page(layout.quality.with_suffix(".html"))
