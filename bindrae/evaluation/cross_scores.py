"""Predictions for swapped ligands and the baselines beside them, residue by residue and as figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bindrae.data.batch import Sample
from bindrae.errors import RejectedComplex
from bindrae.evaluation.aggregate import Figures, Ratio, bootstrap_weights, summarise
from bindrae.evaluation.compare import difference
from bindrae.evaluation.crystals import (
    Crossed,
    Crystal,
    UnusablePairError,
    check_same_site,
    cross,
    partners,
    read_crystal,
    without_ligand,
)
from bindrae.evaluation.metrics import ACCURACY_DEG, chi_errors
from bindrae.evaluation.pair_list import CrystalPair
from bindrae.evaluation.predictors import Predictor
from bindrae.progress import track
from bindrae.structure.torsions import residue_torsions

MOVED_DEG = 40.0
"""A residue has moved when its chi1 differs by more than this between the two crystals."""
LABELS = {
    "crossed": "other backbone, ligand",
    "no_ligand": "other backbone, no ligand",
    "kept": "side chains of the other crystal",
    "own": "own backbone, ligand",
    "own_no_ligand": "own backbone, no ligand",
}
"""What is scored against the crystal that the ligand belongs to."""
PARTS = {"moved": "moved", "unmoved": "not moved", "pocket": "whole pocket"}
COMPARISONS = {
    "ligand": ("crossed", "no_ligand"),
    "own_ligand": ("own", "own_no_ligand"),
    "backbone": ("own", "crossed"),
}
_HITS = tuple(f"hit{deg:.0f}" for deg in ACCURACY_DEG)


def score_direction(
    backbone: Crystal, donor: Crystal, rows: np.ndarray, predicted: dict[str, np.ndarray]
) -> pd.DataFrame:
    """A row for each residue of the ligand's pocket with a chi1 in both crystals.

    Parameters
    ----------
    backbone, donor : Crystal
        The crystals that give the backbone and the ligand; the latter is the truth.
    rows : numpy.ndarray
        [N of the donor] row in `backbone`, -1 for none.
    predicted : dict of str to numpy.ndarray
        Chis (radians, NaN where missing) by the names of `LABELS`, but for ``kept``: ``crossed`` and ``no_ligand`` in
        the rows of `backbone`, [N, 4], the others in those of `donor`.

    Returns
    -------
    pandas.DataFrame
        ``row`` in the donor, ``moved``, ``n`` (1), and for each of `LABELS` ``_error`` (degrees, 180 where missing),
        ``_hit20``, ``_hit40`` and ``_nearer``: nearer to the donor's chi1 than to that of the other crystal.
    """
    at = np.flatnonzero(donor.pocket & (rows >= 0) & donor.defined[:, 0])
    at = at[backbone.defined[rows[at], 0]]
    kind = donor.sample["aatype"].numpy().astype(np.int64)[at]
    true, other = donor.chi[at], backbone.chi[rows[at]]
    chis = {name: chi[rows[at] if name in ("crossed", "no_ligand") else at] for name, chi in predicted.items()}
    chis["kept"] = other
    columns: dict[str, np.ndarray] = {
        "row": at,
        "moved": chi_errors(other, true, kind)[:, 0] > MOVED_DEG,
        "n": np.ones(len(at), np.int64),
    }
    for name in LABELS:
        error, away = (np.nan_to_num(chi_errors(chis[name], to, kind)[:, 0], nan=180.0) for to in (true, other))
        columns[f"{name}_error"] = error
        for hit, deg in zip(_HITS, ACCURACY_DEG, strict=True):
            columns[f"{name}_{hit}"] = (error < deg).astype(np.int64)
        columns[f"{name}_nearer"] = (error < away).astype(np.int64)
    return pd.DataFrame(columns)


class Bench:
    """Scores pairs; each complex is read once, and predicted once with its own ligand and once without.

    Parameters
    ----------
    files : dict of str to (Path, list of str)
        Protein and ligand files by id, from `find_truths`.
    predict : callable
        Atoms for the id and the sample of a complex.

    Attributes
    ----------
    dropped : list of dict
        ``pair``, ``code`` and ``message`` of each pair that could not be scored.
    directions : list of dict
        Facts of each scored prediction.
    """

    def __init__(self, files: dict[str, tuple[Path, list[str]]], predict: Predictor) -> None:
        self._files, self._predict = files, predict
        self._crystals: dict[str, Crystal | UnusablePairError] = {}
        self._chi: dict[tuple[str, bool], np.ndarray] = {}
        self.dropped: list[dict[str, str]] = []
        self.directions: list[dict[str, Any]] = []

    def score(self, pairs: list[CrystalPair]) -> pd.DataFrame:
        """The rows of `score_direction` for both directions of each pair, with ``pair``, ``cluster`` and the ids."""
        tables: list[pd.DataFrame] = []
        for pair in track(pairs, len(pairs), "cross pairs", "pairs"):
            try:
                first, second = self._crystal(pair.first), self._crystal(pair.second)
                there = partners(first, second)
                back = partners(second, first)
                check_same_site(first, second, there)
                both = [
                    (backbone, donor, rows, cross(backbone, donor, rows))
                    for backbone, donor, rows in ((first, second, there), (second, first, back))
                ]
            except UnusablePairError as fault:
                self.dropped.append({"pair": pair.name, "code": fault.code, "message": fault.message})
                continue
            tables += [self._direction(pair, *direction) for direction in both]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _direction(
        self, pair: CrystalPair, backbone: Crystal, donor: Crystal, rows: np.ndarray, crossed: Crossed
    ) -> pd.DataFrame:
        table = score_direction(
            backbone,
            donor,
            rows,
            {
                "crossed": self._chis(f"{backbone.id}+{donor.id}", crossed.sample),
                "no_ligand": self._alone(backbone, False),
                "own": self._alone(donor, True),
                "own_no_ligand": self._alone(donor, False),
            },
        )
        names = {"pair": pair.name, "cluster": pair.cluster, "backbone": backbone.id, "ligand": donor.id}
        self.directions.append(names | _facts(crossed, table))
        return table.assign(**names)

    def _crystal(self, identifier: str) -> Crystal:
        if identifier not in self._crystals:
            self._crystals[identifier] = self._read(identifier)
        found = self._crystals[identifier]
        if isinstance(found, UnusablePairError):
            raise found
        return found

    def _read(self, identifier: str) -> Crystal | UnusablePairError:
        if identifier not in self._files:
            return UnusablePairError("not_in_folder", f"{identifier}: no protein file in the folder of complexes")
        try:
            return read_crystal(identifier, *self._files[identifier])
        except RejectedComplex as fault:
            return UnusablePairError(fault.code, f"{identifier}: {fault.message}")

    def _alone(self, crystal: Crystal, with_ligand: bool) -> np.ndarray:
        key = crystal.id, with_ligand
        if key not in self._chi:
            sample = crystal.sample if with_ligand else without_ligand(crystal.sample)
            self._chi[key] = self._chis(crystal.id, sample)
        return self._chi[key]

    def _chis(self, identifier: str, sample: Sample) -> np.ndarray:
        """[N, 4] predicted chis (radians), NaN where the prediction lacks an atom."""
        kind, linked = sample["aatype"].numpy().astype(np.int64), sample["linked"].numpy()
        xyz, mask = self._predict(identifier, sample)[:2]
        angles, found = residue_torsions(xyz, mask, kind, linked)
        return np.where(found[:, 3:], angles[:, 3:], np.nan)


def _facts(crossed: Crossed, table: pd.DataFrame) -> dict[str, Any]:
    moved = table[table["moved"]]
    return {
        "pocket_backbone_rmsd": round(crossed.pocket_rmsd, 3),
        "ligand_distance": round(min(crossed.ligand_distance, 99.0), 3),
        "displaced_atoms": crossed.displaced,
        "pocket_residues": len(table),
        "moved_residues": len(moved),
        **{f"moved_{name}_hit20": int(moved[f"{name}_hit20"].sum()) for name in LABELS},
    }


def cross_figures(residues: pd.DataFrame, samples: int, seed: int) -> dict[str, Any]:
    """Figures with intervals over clusters, and paired differences.

    Parameters
    ----------
    residues : pandas.DataFrame
        From `Bench.score`.
    samples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        For each of `PARTS` the figures ``<label>_acc20``, ``_acc40`` and ``_nearer`` (%), and under ``differences`` for
        each part the `COMPARISONS` of chi1 within 20 degrees (points).
    """
    categories = sorted(residues["cluster"].unique())
    table = residues.assign(cluster=pd.Categorical(residues["cluster"], categories))
    weights = bootstrap_weights(len(categories), samples, seed)
    parts = {"moved": table[table["moved"]], "unmoved": table[~table["moved"]], "pocket": table}
    ratios = [
        Ratio(f"{name}_{figure}", f"{name}_{column}", "n")
        for name in LABELS
        for figure, column in (("acc20", "hit20"), ("acc40", "hit40"), ("nearer", "nearer"))
    ]
    figures: dict[str, Any] = {part: summarise(rows, ratios, weights) for part, rows in parts.items()}
    figures["differences"] = {part: _differences(rows, weights) for part, rows in parts.items()}
    return figures


def _differences(rows: pd.DataFrame, weights: np.ndarray) -> Figures:
    found: Figures = {}
    for name, both in COMPARISONS.items():
        one, other = (rows[["cluster", "n"]].assign(hits=rows[f"{label}_hit20"]) for label in both)
        found |= difference(one, other, [Ratio(name, "hits", "n")], weights)
    return found
