"""Scoring the output of any program against true complexes, by the definitions that the model is scored by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bindrae.config import CleanSettings
from bindrae.data.runner import Row, map_complexes
from bindrae.data.storage import write_json, write_table
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.evaluation.aggregate import bootstrap_weights
from bindrae.evaluation.compare import Tables, compare
from bindrae.evaluation.evaluate import by_complex, failures, joined
from bindrae.evaluation.pairs import Pair, find_pairs, read_clusters, read_id_list, unmatched_predictions
from bindrae.evaluation.score_record import difference_block, print_scores, score_block
from bindrae.evaluation.scoring import score_complex
from bindrae.evaluation.structures import Truth, crystal_of, read_prediction, read_truth


@dataclass(frozen=True)
class ScoreOptions:
    """What `score` is asked for."""

    ligand: str | None = None  # file, or hetatm:NAME/CHAIN/NUMBER; for a single pair
    folders: bool = False  # prediction, truth and others are folders
    against: tuple[Path, ...] = ()  # further predictions to compare the first with
    ids: Path | None = None
    clusters: Path | None = None
    json: Path | None = None
    residues: Path | None = None
    complexes: Path | None = None
    bootstrap: int = 1000
    seed: int = 0
    processes: int = 1


def run_score(prediction: Path, truth: Path, options: ScoreOptions) -> dict[str, Any]:
    """Score predictions, print the figures and write what is asked for.

    Parameters
    ----------
    prediction : Path
        A predicted structure, or a folder of them.
    truth : Path
        The true structure, or the folder of true complexes.
    options : ScoreOptions

    Returns
    -------
    dict
        What the JSON file holds.

    Raises
    ------
    BindraeError
        When files are missing or do not belong together, or no prediction can be scored at all.
    """
    predictions = [prediction, *options.against]
    pairs = _find(predictions, truth, options)
    clusters = {p.id: p.id for p in pairs}
    if options.clusters is not None:
        clusters = read_clusters(options.clusters, [p.id for p in pairs])
    items = [{"id": p.id, "pair": p} for p in pairs]
    work = partial(score_pair, settings=CleanSettings())
    scored, rejected = [], []
    for item, result in zip(items, map_complexes(work, items, options.processes, "score"), strict=True):
        if isinstance(result, RejectedComplex):
            if not options.folders:
                raise result
            rejected.append({"id": item["id"], "code": result.code, "message": result.message})
        else:
            scored.append(result)
    if not scored:
        raise BindraeError(
            f"none of the {len(pairs)} true complexes can be read; {rejected[0]['id']}: {rejected[0]['message']}",
            "the truth goes through `bindrae clean`; mend the files that it rejects",
        )
    tables = [_tables(scored, k, clusters) for k in range(len(predictions) + 1)]
    for k, path in enumerate(predictions):
        failed = failures(tables[k][1])
        if len(failed) == len(scored):
            raise BindraeError(
                f"{path}: no prediction can be scored; {failed[0]['id']}: {failed[0]['message']}", scored[0]["hints"][k]
            )
    n_clusters = len(tables[0][1]["cluster"].cat.categories)
    weights = bootstrap_weights(n_clusters, options.bootstrap, options.seed)
    with_ligand = any(result["has_ligand"] for result in scored)
    record: dict[str, Any] = {"prediction": str(prediction), "truth": str(truth)}
    record |= score_block(*tables[0], weights, with_ligand)
    record["crystal"] = score_block(*tables[-1], None, with_ligand, plain=True)
    record |= {"notes": _notes(scored, 0, with_ligand), "failed": failures(tables[0][1]), "rejected": rejected}
    record["unmatched"] = unmatched_predictions(prediction, truth) if options.folders else []
    record["bootstrap"] = {
        "samples": options.bootstrap,
        "seed": options.seed,
        "over": "complexes" if options.clusters is None else "clusters",
        "n": n_clusters,
    }
    record["against"] = {
        str(path): {
            **score_block(*tables[k], weights, with_ligand),
            "notes": _notes(scored, k, with_ligand),
            "failed": failures(tables[k][1]),
            "difference": difference_block(compare(tables[0], tables[k], weights), with_ligand),
        }
        for k, path in enumerate(options.against, start=1)
    }
    print_scores(record)
    _write(record, tables[0], scored, options)
    return record


def _find(predictions: list[Path], truth: Path, options: ScoreOptions) -> list[Pair]:
    if options.folders:
        if options.ligand is not None:
            raise BindraeError("--ligand belongs to a single pair", "with --dir, ligands are found beside the proteins")
        ids = None if options.ids is None else read_id_list(options.ids)
        return find_pairs(predictions, truth, ids)
    for path in (*predictions, truth):
        if path.is_dir():
            raise BindraeError(f"{path} is a folder", "add --dir to score folders")
        if not path.is_file():
            raise BindraeError(f"{path} does not exist", "name a PDB or mmCIF file")
    if options.ids is not None:
        raise BindraeError("--ids belongs to --dir", "leave it out for a single pair")
    ligand = [] if options.ligand is None else [options.ligand]
    return [Pair(truth.name.split(".")[0].removesuffix("_protein"), truth, ligand, list(predictions))]


def score_pair(item: Row, settings: CleanSettings) -> Row:
    """Score all predictions of one complex, and the true file itself.

    Parameters
    ----------
    item : dict
        ``id`` and ``pair`` (`Pair`).
    settings : CleanSettings
        For the truth.

    Returns
    -------
    dict
        ``id``, ``has_ligand``, ``labels`` (a row a residue), ``scores``: residues and summary of each prediction and,
        last, of the crystal; ``failed``, ``hints`` and ``notes`` of each.

    Raises
    ------
    RejectedComplex
        When the truth cannot be used.
    """
    pair: Pair = item["pair"]
    truth = read_truth(pair.protein, pair.ligand, settings)
    scores: list[tuple[pd.DataFrame, dict[str, Any]]] = []
    failed: list[str] = []
    hints: list[str] = []
    notes: list[list[str]] = []
    for path in pair.predictions:
        message, hint, found = "", "", list[str]()
        try:
            if path is None:
                raise BindraeError("no prediction")
            xyz, mask, found = read_prediction(path, truth, settings)
        except BindraeError as error:
            message, hint = error.message, error.hint
            xyz, mask = np.zeros_like(truth.table.xyz), np.zeros_like(truth.table.mask)
        scores.append(_score(truth, xyz, mask))
        failed.append(message)
        hints.append(hint)
        notes.append(found)
    scores.append(_score(truth, *crystal_of(truth)))
    table = truth.table
    labels = {"chain": table.chain, "number": table.number, "insertion": table.insertion, "name": table.name}
    return {
        "id": pair.id,
        "has_ligand": truth.has_ligand,
        "labels": pd.DataFrame(labels),
        "scores": scores,
        "failed": [*failed, ""],
        "hints": hints,
        "notes": [*notes, []],
    }


def _score(truth: Truth, xyz: np.ndarray, mask: np.ndarray) -> tuple[pd.DataFrame, dict[str, Any]]:
    return score_complex(truth.sample, xyz, mask, truth.ligand_radius)


def _tables(scored: list[Row], k: int, clusters: dict[str, str]) -> Tables:
    """Residues and complexes of the k-th prediction; the last is the crystal."""
    tables, summaries = [], []
    for result in scored:
        residues, summary = result["scores"][k]
        names = {"id": result["id"], "cluster": clusters[result["id"]]}
        tables.append(residues.assign(**names))
        summaries.append(names | summary | {"failed": result["failed"][k]})
    return joined(tables, summaries)


def _notes(scored: list[Row], k: int, with_ligand: bool) -> dict[str, list[str]]:
    """Notes by complex; a complex without a ligand takes no part in the pocket, and is told."""
    notes = {}
    for result in scored:
        own = list(result["notes"][k])
        if not result["has_ligand"]:
            own.append("no ligand: no pocket" + ("" if with_ligand else ", give one with --ligand"))
        if own:
            notes[result["id"]] = own
    return notes


def _write(record: dict[str, Any], tables: Tables, scored: list[Row], options: ScoreOptions) -> None:
    residues, complexes = tables
    if options.json is not None:
        write_json(record, options.json)
    if options.residues is not None:
        plain = residues.astype({"cluster": str, "type": str})
        labels = pd.concat([result["labels"] for result in scored], ignore_index=True)
        plain = pd.concat([plain[["id", "cluster"]], labels, plain.drop(columns=["id", "cluster"])], axis=1)
        write_table(pa.Table.from_pandas(plain, preserve_index=False), options.residues)
    if options.complexes is not None:
        rows = pd.DataFrame(by_complex(residues, complexes)).assign(failed=complexes["failed"])
        write_table(pa.Table.from_pandas(rows, preserve_index=False), options.complexes)
