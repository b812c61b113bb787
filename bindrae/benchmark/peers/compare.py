"""Figures of all packers on the same residues of the same complexes, with intervals, and what sets ours apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bindrae.benchmark.peers.given import Entry
from bindrae.benchmark.peers.run import Column, Outcome
from bindrae.config import CleanSettings
from bindrae.data.runner import Row, map_complexes
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.evaluation.aggregate import Figures, Ratio, summarise
from bindrae.evaluation.compare import Tables, difference
from bindrae.evaluation.evaluate import failures, joined
from bindrae.evaluation.pairs import Pair
from bindrae.evaluation.score import score_pair
from bindrae.evaluation.scoring import RESIDUE_RATIOS

CRYSTAL = "crystal"
_RESIDUE = {r.name: r for r in RESIDUE_RATIOS}
OVERALL = [_RESIDUE[name] for name in ("chi1_acc20", "all_chi_acc20", "sidechain_rmsd", "clash_atoms_pct")]
POCKET = [_RESIDUE[name] for name in ("chi1_acc20", "all_chi_acc20", "sidechain_rmsd")]
COMPLEX = [
    Ratio("no_ligand_clash_pct", "ligand_free", "with_ligand"),
    Ratio("ligand_clashes", "ligand_clashing", "ligand_scored", 1.0),
    Ratio("seconds", "seconds", "timed", 1.0),
    Ratio("cpu_seconds", "cpu_seconds", "timed", 1.0),
]


@dataclass(frozen=True)
class Scored:
    """Scores of all packers."""

    tables: dict[str, Tables]  # residues and complexes by packer, the crystal last
    rejected: list[dict[str, str]]  # true complexes that cannot be read: left out for all


def score_columns(entries: list[Entry], columns: list[Column], clusters: dict[str, str], processes: int = 1) -> Scored:
    """Score all packers; a complex without a result counts as misses in all its residues.

    Parameters
    ----------
    entries : list of Entry
        The complexes.
    columns : list of Column
        What each packer made of them.
    clusters : dict of str to str
        Cluster of each id.
    processes : int

    Raises
    ------
    BindraeError
        When no true complex can be read.
    """
    items: list[Row] = [
        {"id": e.id, "pair": Pair(e.id, e.protein, e.ligand, [c.outcomes[e.id].prediction for c in columns])}
        for e in entries
    ]
    scored, rejected = [], []
    work = partial(score_pair, settings=CleanSettings())
    for item, result in zip(items, map_complexes(work, items, processes, "score"), strict=True):
        if isinstance(result, RejectedComplex):
            rejected.append({"id": item["id"], "message": result.message})
        else:
            scored.append(result)
    if not scored:
        raise BindraeError(
            f"none of the {len(entries)} true complexes can be read; {rejected[0]['id']}: {rejected[0]['message']}",
            "the truth goes through `bindrae clean`; mend the files that it rejects",
        )
    tables = {c.name: _tables(scored, k, clusters, c.outcomes) for k, c in enumerate(columns)}
    return Scored(tables | {CRYSTAL: _tables(scored, len(columns), clusters, None)}, rejected)


def _tables(scored: list[Row], k: int, clusters: dict[str, str], outcomes: dict[str, Outcome] | None) -> Tables:
    """Residues and complexes of the k-th packer."""
    residues, complexes = [], []
    for result in scored:
        table, summary = result["scores"][k]
        outcome = outcomes[result["id"]] if outcomes is not None else Outcome(None, None, "")
        failed = outcome.message or result["failed"][k]
        clashing = int(table["ligand_clash_atoms"].sum())
        names = {"id": result["id"], "cluster": clusters[result["id"]]}
        residues.append(table.assign(**names))
        facts = {
            "failed": failed,
            "with_ligand": int(result["has_ligand"]),
            "ligand_free": int(result["has_ligand"] and not failed and clashing == 0),
            "ligand_scored": int(result["has_ligand"] and not failed),
            "ligand_clashing": clashing,
            "seconds": outcome.cost.seconds if outcome.cost else 0.0,
            "cpu_seconds": outcome.cost.cpu_seconds if outcome.cost else 0.0,
            "timed": int(outcome.cost is not None),
        }
        complexes.append(names | summary | facts)
    return joined(residues, complexes)


def figures_of(tables: Tables, weights: np.ndarray | None) -> dict[str, Figures]:
    """Figures ``overall``, of the ``pocket`` and by ``complex``, with intervals where there are weights."""
    residues, complexes = tables
    return {
        "overall": summarise(residues, OVERALL, weights),
        "pocket": summarise(residues[residues["contact"]], POCKET, weights),
        "complex": summarise(complexes, COMPLEX, weights),
    }


def difference_of(first: Tables, second: Tables, weights: np.ndarray | None) -> dict[str, Figures]:
    """First minus second for the same figures, by a paired bootstrap.

    Raises
    ------
    ValueError
        When the tables hold different residues.
    """
    for name in ("id", "row"):
        if not np.array_equal(first[0][name].to_numpy(), second[0][name].to_numpy()):
            raise ValueError(f"the two tables of residues differ in the column {name}: only the same can be paired")
    inside = first[0]["contact"].to_numpy()
    return {
        "overall": difference(first[0], second[0], OVERALL, weights),
        "pocket": difference(first[0][inside], second[0][inside], POCKET, weights),
        "complex": difference(first[1], second[1], COMPLEX, weights),
    }


def counts_of(tables: Tables) -> dict[str, Any]:
    """Complexes, residues and failures of one packer."""
    residues, complexes = tables
    pocket: pd.Series[bool] = residues["contact"]
    return {
        "complexes": len(complexes),
        "residues": len(residues),
        "chi1": int(residues["chi1_n"].sum()),
        "pocket_chi1": int(residues.loc[pocket, "chi1_n"].sum()),
        "residues_missing": int((residues["atoms"] == 0).sum()),
        "failed": failures(complexes),
    }
