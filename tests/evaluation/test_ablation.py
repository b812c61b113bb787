"""Grids: what they change, what they refuse, and the figures that compare their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bindrae.config import ModelSettings, load_config
from bindrae.data.layout import RunLayout
from bindrae.data.storage import read_json, write_json, write_table
from bindrae.errors import BindraeError
from bindrae.evaluation.ablation import compare_rows, run_ablation
from bindrae.evaluation.grid import AblationGrid, configuration_of, read_grid
from bindrae.evaluation.scoring import RESIDUE_RATIOS

ROOT = Path(__file__).parents[2]
BASE = load_config(ROOT / "config" / "config.yaml")


def grid_of(**changes: Any) -> AblationGrid:
    rows = {"default": {"label": "as it is"}, "other": {"label": "<other>", "model": {"z_rank": 1}}}
    return AblationGrid.model_validate({"rows": rows, **changes})


def residues(hits: np.ndarray) -> pd.DataFrame:
    """Residues of six complexes in three clusters, `hits` of them with a right chi1."""
    n = len(hits)
    table = pd.DataFrame({"id": [f"c{i % 6}" for i in range(n)], "row": np.arange(n)})
    table["cluster"] = [f"k{i % 3}" for i in range(n)]
    table["contact"] = np.arange(n) % 2 == 0
    for ratio in RESIDUE_RATIOS:
        table[ratio.denominator] = 1
        table[ratio.numerator] = hits.astype(int)
    return table


@pytest.mark.parametrize("name", ["ablation", "probes"])
def test_the_grids_of_the_repository_are_sound_for_every_row_and_seed(name: str) -> None:
    grid, base = read_grid(ROOT / "config" / "grids" / f"{name}.yaml"), BASE
    seen = {}
    for row in grid.rows:
        for seed in grid.seeds:
            config = configuration_of(grid, row, seed, base)
            assert (config.training.seed, config.training.max_epochs) == (seed, grid.training["max_epochs"])
            assert config.evaluation.side == "val"
            seen[row] = config.model_dump_json(include={"model", "training"})
    assert len(set(seen.values())) == len(grid.rows)  # no two rows are the same


def test_a_row_changes_what_it_names_and_nothing_else() -> None:
    base = BASE
    grid = grid_of(training={"max_epochs": 3})
    got = configuration_of(grid, "other", 7, base)
    assert got.model == base.model.model_copy(update={"z_rank": 1})
    assert got.training == base.training.model_copy(update={"max_epochs": 3, "seed": 7})


def test_a_preset_replaces_the_whole_section_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("c_s: 48\n")
    rows = {"default": {"label": "a"}, "small": {"label": "b", "model": {"preset": str(tmp_path / "small.yaml")}}}
    base = BASE.model_copy(update={"model": ModelSettings(depth=5, c_s=256)})
    got = configuration_of(AblationGrid.model_validate({"rows": rows}), "small", 0, base).model
    assert (got.c_s, got.depth) == (48, ModelSettings().depth)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "nothing"}, "is no row"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seedz": [1]}, "did you mean 'seeds'"),
        ({"rows": {"a/b": {"label": "x"}}}, "rows"),
    ],
)
def test_wrong_grids_are_refused_by_name(tmp_path: Path, changes: dict, message: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(json.dumps({"rows": {"default": {"label": "x"}}, **changes}))
    with pytest.raises(BindraeError, match=message):
        read_grid(path)


def test_wrong_keys_of_a_row_are_refused_by_name() -> None:
    grid = grid_of(rows={"default": {"label": "x", "model": {"z_rnk": 1}}})
    with pytest.raises(BindraeError, match=r"row 'default'.*z_rnk"):
        configuration_of(grid, "default", 0, BASE)
    with pytest.raises(BindraeError, match="no row 'x'"):
        configuration_of(grid, "x", 0, BASE)


def test_rows_are_compared_in_pairs_over_seeds() -> None:
    rng = np.random.default_rng(0)
    reference = [residues(rng.random(600) < 0.6) for _ in range(3)]
    # Right in nine of ten residues where the reference is wrong: always ahead, in every cluster.
    better = [residues(table["chi1_hit20"].to_numpy(bool) | (rng.random(600) < 0.9)) for table in reference]
    result = compare_rows({"a": reference, "b": better}, "a")
    row = result["b"]["overall"]
    assert row["seeds"]["chi1_acc20"] == pytest.approx([100 * table["chi1_hit20"].mean() for table in better])
    pooled = np.mean([table["chi1_hit20"].mean() for table in better])
    assert row["figures"]["chi1_acc20"]["value"] == pytest.approx(100 * pooled)
    change = row["difference"]["chi1_acc20"]
    assert change["value"] == pytest.approx(
        np.mean(row["seeds"]["chi1_acc20"]) - np.mean(result["a"]["overall"]["seeds"]["chi1_acc20"])
    )
    assert 0 < change["low"] < change["value"] < change["high"]
    assert result["a"]["pocket"]["difference"]["chi1_acc20"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    inside = [table[table["contact"]]["chi1_hit20"].mean() for table in better]
    assert result["b"]["pocket"]["figures"]["chi1_acc20"]["value"] == pytest.approx(100 * np.mean(inside))


def test_runs_that_scored_other_residues_are_refused() -> None:
    table = residues(np.ones(30, dtype=bool))
    with pytest.raises(BindraeError, match="scored other residues"):
        compare_rows({"a": [table], "b": [table.iloc[:-1]]}, "a")


def test_table_and_page_from_finished_runs(tmp_path: Path) -> None:
    grid = grid_of(seeds=[0, 1])
    for row in grid.rows:
        for seed in grid.seeds:
            run = RunLayout(tmp_path / f"{row}-{seed}")
            run.root.mkdir()
            write_json({"side": "val"}, run.evaluation)
            write_json({"counts": {"parameters": 12345, "steps": 7}, "seconds": 70.0}, run.training)
            hits = residues(np.arange(60) % (2 + seed) == 0)
            write_table(pa.Table.from_pandas(hits, preserve_index=False), run.residues)
    run_ablation(tmp_path, grid)
    result = read_json(tmp_path / "ablation.json")
    assert result["rows"]["other"]["overall"]["difference"]["chi1_acc20"]["value"] == 0.0
    page = (tmp_path / "ablation.html").read_text()
    assert "&lt;other&gt;" in page
    assert "<other>" not in page
    assert "Fewer than three seeds" in page
    assert "12,345" in page
    write_json({"side": "test"}, RunLayout(tmp_path / "other-1").evaluation)
    with pytest.raises(BindraeError, match="scored the test side"):
        run_ablation(tmp_path, grid)
