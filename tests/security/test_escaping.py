"""Names, messages and settings stand in the pages as text: none of them becomes markup or a program."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bindrae.config import QualitySettings
from bindrae.data import schema
from bindrae.data.layout import DataLayout
from bindrae.data.quality import run_quality
from bindrae.data.storage import REJECTED_SCHEMA, rejected_path, write_json, write_table
from bindrae.reporting.ablation_page import ablation_page

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"
ATTRIBUTE = '"\' onload=alert(1) x="<img src=x onerror=alert(1)>{{ 7 * 7 }}&lt;b&gt;'
MARKS = (EVIL, ATTRIBUTE)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def check(html: str, *shown: str) -> None:
    """No script, no handler, nothing fetched; the names can be read as they are."""
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert not any((value or "").lower().startswith("javascript:") for value in attributes.values())
    assert "default-src 'none'" in html, "the page allows itself no program"
    for text in shown:
        assert text in page.text


@pytest.mark.parametrize("mark", MARKS)
def test_the_ablation_page_shows_labels_as_text(mark: str) -> None:
    figure = {"value": 70.0, "low": 69.0, "high": 71.0}
    change = {"chi1_acc20": {"value": 1.0, "low": 0.5, "high": 1.5}}
    names = ("chi1_acc20", "all_chi_acc20", "sidechain_rmsd", "clash_atoms_pct")
    part = {
        "figures": dict.fromkeys(names, figure), "difference": change, "seeds": {"chi1_acc20": [70.0, 71.0]}
    }  # fmt: skip
    rows = {name: {"overall": part, "pocket": part} for name in ("default", "other")}
    facts = {name: {"parameters": 1000, "seconds": [60.0, 61.0], "steps": [7, 7]} for name in rows}
    result = {
        "labels": {"default": f"{mark} reference", "other": f"{mark} other"}, "rows": rows, "facts": facts,
        "reference": "default", "seeds": [0, 1], "side": "val", "n_complexes": 3, "n_clusters": 2, "n_residues": 10,
    }  # fmt: skip
    check(ablation_page(result), f"{mark} reference", f"{mark} other")


def _write_dataset(layout: DataLayout, mark: str) -> None:
    """A dataset of one accepted complex and two rejected ones, in which every free text is `mark`."""
    n = 3
    empty = {field.name: [] for field in schema.CLEAN}
    clean = empty | {
        "id": mark, "n_residues": n, "sequences": ["AAA"], "chain": [mark] * n, "number": np.arange(n),
        "insertion": [""] * n, "name": [mark] * n, "aatype": np.zeros(n, np.int8), "chain_index": np.zeros(n, np.int16),
        "linked": np.ones(n, bool), "atom14": np.zeros((n, 14, 3), np.float32), "atom14_mask": np.ones((n, 14), bool),
        "bfactor": np.ones((n, 14), np.float32), "ligand_xyz": np.zeros((2, 3), np.float32),
        "ligand_element": np.full(2, 6, np.int16), "ligand_charge": np.zeros(2, np.int8),
        "ligand_bonds": np.zeros((0, 2), np.int16), "context_xyz": np.zeros((0, 3), np.float32),
        "ligand_block": mark, "ligand_smiles": mark, "ligand_inchikey": mark, "ligand_route": mark,
        "notes": [(mark, 2)], "protein_sha256": mark, "ligand_sha256": mark,
    }  # fmt: skip
    weights = dict.fromkeys(("w_res", "w_res_backbone", "distance"), np.zeros(n, np.float32))
    rows = {
        "clean": clean,
        "pocket": {"id": mark, **weights, "contact": np.ones(n, bool), "member": np.ones(n, bool)},
        "torsions": {"id": mark, "angles": np.zeros((n, 7), np.float32), "defined": np.ones((n, 7), bool)},
        "tokens": {"id": mark, "xyz": np.zeros((2, 3), np.float32), "types": np.zeros((2, 12), np.float32),
                   "is_context": np.zeros(2, bool)},
    }  # fmt: skip
    schemas = {"clean": schema.CLEAN, "pocket": schema.POCKET, "torsions": schema.TORSIONS, "tokens": schema.TOKENS}
    lost = [{"id": f"{mark}{k}", "stage": mark, "code": mark, "message": mark, "hint": mark} for k in range(2)]
    for stage, table in schemas.items():
        output = layout.batch(stage, 0)
        write_table(schema.rows_to_table([rows[stage]], table), output)
        write_table(
            pa.Table.from_pylist(lost if stage == "clean" else [], schema=REJECTED_SCHEMA), rejected_path(output)
        )
        counts = {"in": 3 if stage == "clean" else 1, "out": 1, "rejected": 2 if stage == "clean" else 0}
        counts |= {"notes": {mark: 2}}
        write_json({"stage": stage, "version": 1, "settings": {mark: mark}, "inputs": {}, "counts": counts,
                    "seconds": 1.0}, output.with_suffix(".json"))  # fmt: skip
    entry = {"protein": mark, "ligand": [mark], "batch": 0, "source": mark, "size": 10, "mtime": 1}
    entries = [{"id": identifier, **entry} for identifier in (mark, *(row["id"] for row in lost))]
    write_table(pa.Table.from_pylist(entries, schema=schema.ENTRIES), layout.entries)
    write_table(pa.Table.from_pylist([], schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    write_json({"stage": "index", "version": 1, "settings": {"root": mark}, "inputs": {}, "seconds": 1.0,
                "counts": {"in": 3, "out": 3, "rejected": 0}}, layout.entries.with_suffix(".json"))  # fmt: skip
    write_json({"0": "x"}, layout.batches)
    sides = [{"id": mark, "cluster": mark, "split": "train"}]
    write_table(pa.Table.from_pylist(sides, schema=schema.SPLIT), layout.split)


@pytest.mark.parametrize("mark", MARKS)
def test_the_quality_page_shows_every_text_of_a_dataset_as_text(tmp_path: Path, mark: str) -> None:
    layout = DataLayout(tmp_path / "data")
    _write_dataset(layout, mark)
    run_quality(layout, QualitySettings())
    check(layout.quality.with_suffix(".html").read_text(), f"{mark}0", f"{mark}1")


def test_no_template_marks_text_as_safe() -> None:
    templates = list((ROOT / "bindrae" / "reporting" / "templates").glob("*.j2"))
    assert len(templates) > 3
    for template in templates:
        text = template.read_text()
        assert "|safe" not in text.replace(" ", "")
        assert "autoescape" not in text
