"""Small generated datasets and runs, written with the project's own writers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from residue_tables import Residue, residue_table

from bindrae.config import QualitySettings
from bindrae.data import schema
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.quality import run_quality
from bindrae.data.storage import (
    REJECTED_SCHEMA,
    rejected_path,
    write_json,
    write_sidecar,
    write_table,
)
from bindrae.evaluation.error_kinds import error_figures
from bindrae.evaluation.refinement import refinement_figures
from bindrae.evaluation.reliability import reliability_figures
from bindrae.evaluation.worst import worst_complexes, worst_residues

Row = dict[str, Any]
EVIL = "<script>alert(1)</script>"


def complex_rows(rng: np.random.Generator, identifier: str, with_bfactors: bool) -> dict[str, Row]:
    """One complex of random content in each of the four tables."""
    n, m, k = int(rng.integers(3, 60)), int(rng.integers(1, 20)), int(rng.integers(1, 130))
    empty = {"context_xyz": np.zeros((0, 3), np.float32), "context_name": []}
    empty |= {name: np.zeros(0, np.int16) for name in ("context_element", "context_charge")}
    clean = {
        "id": identifier,
        "n_residues": n,
        "sequences": ["A" * n],
        "chain": ["A"] * n,
        "number": np.arange(n, dtype=np.int32),
        "insertion": [""] * n,
        "name": ["ALA"] * n,
        "aatype": rng.integers(0, 21, n).astype(np.int8),
        "chain_index": np.zeros(n, np.int16),
        "linked": np.ones(n, bool),
        "atom14": np.zeros((n, 14, 3), np.float32),
        "atom14_mask": rng.random((n, 14)) < 0.6,
        "bfactor": rng.uniform(0, 200 if with_bfactors else 0.9, (n, 14)).astype(np.float32),
        "ligand_xyz": np.zeros((m, 3), np.float32),
        "ligand_element": np.full(m, 6, np.int16),
        "ligand_charge": np.zeros(m, np.int8),
        "ligand_bonds": np.zeros((0, 2), np.int16),
        "ligand_block": "",
        "ligand_smiles": "C",
        "ligand_inchikey": "" if rng.random() < 0.3 else "KEY",
        "ligand_route": str(rng.choice(["sdf", "mol2"])),
        **empty,
        "notes": [("missing_heavy_atoms", int(rng.integers(1, 30)))] if rng.random() < 0.7 else [],
        "protein_sha256": f"p{identifier}",
        "ligand_sha256": f"l{identifier}",
    }
    # Columns that neither the report nor the export reads.
    clean |= {field.name: [] for field in schema.CLEAN if field.name not in clean}
    angles = rng.uniform(-np.pi, np.pi, (n, 7)).astype(np.float32)
    angles[0] = np.float32(np.pi)  # a little more than pi
    angles[1] = -np.float32(np.pi)
    weights = dict.fromkeys(("w_res", "w_res_backbone", "distance"), np.zeros(n, np.float32))
    pocket = {
        "id": identifier, **weights, "contact": rng.random(n) < 0.3, "member": np.zeros(n, bool)
    }  # fmt: skip
    torsions = {"id": identifier, "angles": angles, "defined": rng.random((n, 7)) < 0.7}
    tokens = {"id": identifier, "xyz": np.zeros((k, 3), np.float32), "types": np.zeros((k, 12), np.float32)}
    tokens["is_context"] = np.zeros(k, dtype=bool)
    return {"clean": clean, "pocket": pocket, "torsions": torsions, "tokens": tokens}


def rejection(identifier: str, stage: str, code: str) -> Row:
    return {
        "id": identifier,
        "stage": stage,
        "code": code,
        "message": f"{identifier} fails",
        "hint": "mend it",
    }


SCHEMAS = {
    "clean": schema.CLEAN,
    "pocket": schema.POCKET,
    "torsions": schema.TORSIONS,
    "tokens": schema.TOKENS,
}


def build(root: Path, batch_sizes: tuple[int, ...] = (7, 0, 5)) -> tuple[DataLayout, list[dict[str, Row]]]:
    """A whole data folder: one rejection by the index, one with an evil id in each batch that is filled."""
    layout = DataLayout(root)
    rng = np.random.default_rng(3)
    complexes: list[dict[str, Row]] = []
    entries: list[Row] = []
    for number, n in enumerate(batch_sizes):
        rows = [complex_rows(rng, f"c{number}{i}", with_bfactors=i > 1) for i in range(n)]
        rejected = [rejection(f"{EVIL}{number}", "clean", "ligand_far")] if n else []
        for stage, table_schema in SCHEMAS.items():
            output, lost = layout.batch(stage, number), rejected if stage == "clean" else []
            write_table(schema.rows_to_table([r[stage] for r in rows], table_schema), output)
            write_table(pa.Table.from_pylist(lost, schema=REJECTED_SCHEMA), rejected_path(output))
            counts = {"in": n + len(lost), "out": n, "rejected": len(lost)}
            write_sidecar(output, stage, 1, {"key": stage}, {}, counts, 1.5 + number)
        complexes += rows
        for identifier in [*(r["clean"]["id"] for r in rows), *(r["id"] for r in rejected)]:
            entry = {"id": identifier, "protein": "p", "ligand": ["l"], "batch": number}
            entries.append({**entry, "source": "set", "size": 1000, "mtime": 10**18})
    lost = [rejection("gone", "index", "ligand_missing")]
    write_table(pa.Table.from_pylist(entries, schema=schema.ENTRIES), layout.entries)
    write_table(pa.Table.from_pylist(lost, schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    counts = {"in": len(entries) + 1, "out": len(entries), "rejected": 1}
    write_sidecar(layout.entries, "index", 1, {"root": "/data/<set>", "layout": "sheet"}, {}, counts, 0.5)
    write_json({str(number): "x" for number in range(len(batch_sizes))}, layout.batches)
    sides = [
        {"id": c["clean"]["id"], "cluster": f"k{i // 2}", "split": ("train", "val", "test")[i // 2 % 3]}
        for i, c in enumerate(complexes)
    ]
    write_table(pa.Table.from_pylist(sides, schema=schema.SPLIT), layout.split)
    return layout, complexes


@pytest.fixture(scope="session")
def build_dataset() -> Callable[..., tuple[DataLayout, list[dict[str, Row]]]]:
    """For fixtures that live longer than a test."""
    return build


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[DataLayout, list[dict[str, Row]]]:
    """Two filled batches with an empty one between them, and the rows that went in."""
    return build(tmp_path / "data")


def _scores(value: float) -> Row:
    keys = ("chi1_acc20", "chi1_acc40", "chi2_acc20", "chi3_acc20", "chi4_acc20", "all_chi_acc20",
            "chi1_mae_deg", "sidechain_rmsd", "clash_atoms_pct", "clash_pairs_pct", "fape")  # fmt: skip
    overall: Row = {key: {"value": value, "low": value - 1.5, "high": value + 1.25} for key in keys}
    overall["ligand_clash_atoms_pct"] = {"value": None, "low": None, "high": None}
    pocket = {key: {"value": value / 2, "low": value / 2 - 1, "high": value / 2 + 1} for key in (*keys, "irmsd")}
    return {"overall": overall, "pocket": pocket}


def _differences() -> Row:
    """The model is better in chi1, worse in FAPE, and not told apart in clashes; the pocket has one cluster."""
    return {
        "overall": {
            "chi1_acc20": {"value": 20.0, "low": 18.5, "high": 21.5},
            "clash_atoms_pct": {"value": 0.25, "low": -0.5, "high": 1.0},
            "fape": {"value": 20.0, "low": 19.0, "high": 21.0},
        },
        "pocket": {"irmsd": {"value": -0.5, "low": None, "high": None}},
    }


def _band() -> Row:
    value = {"value": 91.25, "low": 90.0, "high": 92.5}
    gain = {"value": 20.5, "low": 19.0, "high": 22.0}
    model, difference = ({"chi1_acc20": entry} for entry in (value, gain))
    return {"n_residues": 700, "n": 600, "model": model, "no_learning": {}, "difference": difference}


def _analysis() -> tuple[pd.DataFrame, Row]:
    """A few scored residues, one of them in a complex of an evil name; their errors, reliability and refinement."""
    residues = [
        *[Residue("LEU", (-60.0, 170.0), (-65.0, 172.0), 0.95, id="t0")] * 30,
        *[Residue("LEU", (-60.0, 170.0), (-65.0, 60.0), 0.55, id="t0")] * 10,
        Residue("VAL", (175.0,), (-62.0,), 0.985, EVIL, neighbours=27, bfactor=12.25, ligand_distance=4.5, rmsd=2.25),
        Residue("SER", (60.0,), (180.0,), 0.25, "t0", bfactor=0.0, ligand_distance=float("nan"), rmsd=1.5),
        Residue("ASN", (-70.0, -30.0), (-70.0, 155.0), 0.75, id="t0"),
        Residue("PHE", (-70.0, 90.0), (-70.0, -95.0), 0.75, id="t0"),
        Residue("PRO", (30.0, 0.0), (-30.0, 0.0), 0.45, id="t0", contact=True),
    ]
    model = residue_table(residues)
    labels = {"chain": EVIL, "number": range(1, len(model) + 1), "insertion": "B", "name": "MSE"}
    before = residue_table([replace(r, pred=r.pred if i else (60.0, 0.0), clashes=2) for i, r in enumerate(residues)])
    worst = {
        "worst_residues": worst_residues(model.assign(**labels)),
        "worst_complexes": worst_complexes(model, before),
    }
    return model.assign(**labels), {
        "errors": error_figures({"model": model, "unrefined": before, "no_learning": before}) | worst,
        "reliability": reliability_figures(model, None, calibrated=True),
        "refinement": refinement_figures(model, before),
    }


def write_run(root: Path) -> RunLayout:
    """A run with its records."""
    layout = RunLayout(root / "runs" / "first")
    by_complex = [
        {"id": f"t{i}", "cluster": "k", "n_residues": 200 + i, "n_pocket": 17, "chi1_acc20": 81.25,
         "pocket_chi1_acc20": None, "pocket_irmsd": float(i) if i else None, "sidechain_rmsd": 0.75,
         "clash_atoms_pct": 0.125, "fape": 0.5}
        for i in range(4)
    ]  # fmt: skip
    by_complex[1]["id"] = EVIL
    residues, analysis = _analysis()
    plain = residues.astype({"type": str, "cluster": str})
    write_table(pa.Table.from_pandas(plain, preserve_index=False), layout.residues)
    evaluation = {
        "side": "test", "n_complexes": 4, "n_residues": 1234, "n_clusters": 3,
        "failed": [{"id": "bad&id", "message": "out of <memory>"}],
        "attention": "reference", "bootstrap": 1000, "by_complex": by_complex, **analysis,
        "seconds": 75.0,
        "comparison": {"model_minus_no_learning": _differences(), "model_minus_unrefined": _differences()},
        "bands": {"burial": {"buried: 21 or more": _band()}, "type": {"ARG": _band(), "ALA": _band() | {"n": 0}}},
        "rows": {"model": _scores(82.5), "no_learning": _scores(62.5), "crystal": _scores(99.5)},
        "settings": {"side": "test"}, "something_new": 1,
    }  # fmt: skip
    write_json(evaluation, layout.evaluation)
    losses = {"loss": 2.0, "torsion": 1.0, "fape": 0.5, "distance": 0.3, "clash": None}
    lines: list[Row] = [{"event": "start", "device": "cpu"}]
    for epoch in (0, 1, 1, 2):  # epoch 1 twice: a resumed run
        val = {
            **losses,
            "chi1_acc20": 70.0,
            "pocket_chi1_acc20": 65.0,
            "pocket_irmsd": 1.5,
            "clash_atoms_pct": 2.0,
        }
        line = {"event": "epoch", "epoch": epoch, "step": epoch, "lr": 1e-4, "seconds": 1.0, "train": losses}
        lines.append({**line, "residues_per_second": 10.0, "val": val, "best": epoch == 1, "line": len(lines)})
    layout.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = {"parameters": 3301223, "epochs": 3, "steps": 9, "best_epoch": 1, "train_complexes": 226}
    training = {"stage": "train", "version": 1, "settings": {"lr": 1e-4}, "inputs": {}, "counts": counts}
    write_json({**training, "seconds": 3700.0, "device": "cpu"}, layout.training)
    return layout


@pytest.fixture(scope="session")
def build_run() -> Callable[[Path], RunLayout]:
    """For fixtures that live longer than a test."""
    return write_run


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return write_run(tmp_path)


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quality.json of a small dataset."""
    layout, _ = build(tmp_path_factory.mktemp("surveyed"))
    run_quality(layout, QualitySettings())
    return layout.quality


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def check_page() -> Callable[[Path], str]:
    """Check that a page is self-contained and accessible; returns its text."""

    def check(path: Path) -> str:
        raw = path.read_text(encoding="ascii")
        page = _Page()
        page.feed(raw)
        without_namespace = raw.replace('xmlns="http://www.w3.org/2000/svg"', "")
        # An address may stand in a settings table as text, never in a tag or a style.
        markup = re.sub(r"(<t[dh][^>]*>)[^<]*", r"\1", without_namespace)
        assert "http://" not in markup
        assert "https://" not in markup
        for forbidden in (
            "<script",
            "<link",
            "<iframe",
            "<img",
            "@import",
            "url(h",
            EVIL,
        ):
            assert forbidden not in without_namespace
        for _, attributes in page.tags:
            for name in ("href", "xlink:href", "src", "srcset", "action", "data"):
                assert (attributes.get(name) or "#").startswith("#")
            assert not any(name.startswith("on") for name in attributes)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in page.tags:
            referred = (attributes.get("aria-labelledby") or "").split()
            if (attributes.get("href") or "").startswith("#"):
                referred.append(str(attributes["href"])[1:])
            assert set(referred) <= set(ids)
        tags = [tag for tag, _ in page.tags]
        assert tags.count("h1") == 1
        assert tags.count("table") == tags.count("caption") > 5
        assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
        assert tags.count("svg") == tags.count("figure") >= 2
        assert all(attributes.get("role") == "img" for tag, attributes in page.tags if tag == "svg")
        return " ".join(" ".join(page.text).split())

    return check
