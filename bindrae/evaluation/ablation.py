"""Ablations: rows that each change one thing, trained alike with several seeds, compared in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from bindrae.data.layout import RunLayout
from bindrae.data.storage import read_json, write_json, write_text
from bindrae.errors import BindraeError
from bindrae.evaluation.aggregate import Figures, bootstrap_weights, summarise
from bindrae.evaluation.compare import difference
from bindrae.evaluation.grid import AblationGrid
from bindrae.evaluation.scoring import RESIDUE_RATIOS
from bindrae.reporting.ablation_page import ablation_page

SHOWN = ("chi1_acc20", "all_chi_acc20", "sidechain_rmsd", "clash_atoms_pct")
_BOOTSTRAP = 1000


def compare_rows(tables: dict[str, list[pd.DataFrame]], reference: str, seed: int = 0) -> dict[str, Any]:
    """Figures of each row over its seeds, and their paired difference from the reference.

    Parameters
    ----------
    tables : dict of str to list of pandas.DataFrame
        Row to the residues of each seed, as `run_evaluation` writes them; the same residues everywhere.
    reference : str
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Row to ``overall`` and ``pocket``, each with ``figures`` (pooled over seeds, interval over clusters),
        ``difference`` (row minus reference, paired over clusters and seeds) and ``seeds`` (the value of each seed).

    Raises
    ------
    BindraeError
        When two runs scored other residues.
    """
    keys = tables[reference][0][["id", "row"]]
    clusters = sorted(tables[reference][0]["cluster"].unique())
    weights = bootstrap_weights(len(clusters), _BOOTSTRAP, seed)
    pooled = {}
    for row, runs in tables.items():
        for run in runs:
            if not run[["id", "row"]].equals(keys):
                raise BindraeError(
                    f"row '{row}' scored other residues than '{reference}'", "delete its folder and run it again"
                )
        joined = pd.concat(runs, ignore_index=True)
        pooled[row] = joined.assign(cluster=pd.Categorical(joined["cluster"], clusters))
    result: dict[str, Any] = {}
    for row, table in pooled.items():
        result[row] = {
            part: _row(tables[row], table, pooled[reference], part == "pocket", weights)
            for part in ("overall", "pocket")
        }
    return result


def _row(
    runs: list[pd.DataFrame], table: pd.DataFrame, reference: pd.DataFrame, pocket: bool, weights: np.ndarray
) -> dict[str, Any]:
    ratios = [ratio for ratio in RESIDUE_RATIOS if ratio.name in SHOWN]
    keep = table["contact"].to_numpy() if pocket else np.ones(len(table), dtype=bool)
    each: list[Figures] = [summarise(run[run["contact"]] if pocket else run, ratios, None) for run in runs]
    return {
        "figures": summarise(table[keep], ratios, weights),
        "difference": difference(table[keep], reference[keep], ratios, weights),
        "seeds": {ratio.name: [figures[ratio.name]["value"] for figures in each] for ratio in ratios},
    }


def run_ablation(folder: Path, grid: AblationGrid) -> None:
    """Write ``ablation.json`` and ``ablation.html`` from the evaluations under ``<folder>/<row>-<seed>``.

    Raises
    ------
    BindraeError
        When an evaluation is missing or was made on another side.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    facts: dict[str, Any] = {}
    for row in grid.rows:
        tables[row] = []
        for seed in grid.seeds:
            run = RunLayout(folder / f"{row}-{seed}")
            evaluation, training = read_json(run.evaluation), read_json(run.training)
            if evaluation["side"] != grid.side:
                raise BindraeError(f"{run.evaluation} scored the {evaluation['side']} side", f"evaluate on {grid.side}")
            tables[row].append(pq.read_table(run.residues).to_pandas())
            facts.setdefault(row, {"parameters": training["counts"]["parameters"], "seconds": [], "steps": []})
            facts[row]["seconds"].append(training["seconds"])
            facts[row]["steps"].append(training["counts"]["steps"])
    result = {
        "side": grid.side,
        "reference": grid.reference,
        "seeds": list(grid.seeds),
        "labels": {row: changes.label for row, changes in grid.rows.items()},
        "facts": facts,
        "rows": compare_rows(tables, grid.reference),
    }
    write_json(result, folder / "ablation.json")
    write_text(ablation_page(result), folder / "ablation.html")
    print(f"ablation: {folder / 'ablation.html'}")
