"""Evaluation of a trained model on one side of the split, beside its floors and the no-learning row."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from bindrae.config import EvaluationSettings
from bindrae.data.batch import Sample, atom_radii
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import sha256_file, write_json, write_table
from bindrae.errors import BindraeError
from bindrae.evaluation.aggregate import bootstrap_weights, values_by
from bindrae.evaluation.analysis import analyse
from bindrae.evaluation.compare import Tables
from bindrae.evaluation.predictors import (
    Atoms,
    Predictor,
    crystal_predictor,
    model_predictor,
    rebuilt_predictor,
    refined_predictor,
    rotamer_predictor,
)
from bindrae.evaluation.residue_names import residue_names
from bindrae.evaluation.rotamers import RotamerTable, count_rotamers
from bindrae.evaluation.scoring import COMPLEX_RATIOS, POCKET_RATIOS, RESIDUE_RATIOS, figures, score_complex
from bindrae.model.model_file import load_model
from bindrae.prediction.confidence import read_calibrations
from bindrae.prediction.networks import read_networks
from bindrae.progress import track


def score_dataset(
    dataset: ShardDataset, predict: Predictor, label: str, record_failures: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Residues and complexes of a dataset, scored.

    Parameters
    ----------
    dataset : ShardDataset
    predict : Predictor
    label : str
        For the progress line.
    record_failures : bool
        A prediction that ends in an error of the user's making or of the run (memory, device), or that holds atoms
        that are no finite numbers, is recorded in the column ``failed`` and all its residues are misses. Otherwise,
        and for every other error, it is raised.

    Returns
    -------
    residues, summaries : pandas.DataFrame
        Columns ``id`` and ``cluster`` and those of `score_complex`; residues also ``confidence``, NaN where the
        predictor tells none; summaries also ``failed``, the message or "".

    Raises
    ------
    BindraeError
        When a prediction holds atoms that are not finite, and failures are not recorded; when all have failed.
    """
    tables, summaries = [], []
    for identifier, sample in track((dataset[i] for i in range(len(dataset))), len(dataset), label):
        failed, confidence = "", None
        try:
            predicted = predict(identifier, sample)
            pred, pred_mask = _checked(predicted[0], predicted[1], identifier)
            confidence = predicted[2] if len(predicted) == 3 else None
        except (BindraeError, RuntimeError, MemoryError) as error:
            if not record_failures:
                raise
            failed = " ".join(f"{type(error).__name__}: {getattr(error, 'message', error)}".split())[:500]
            pred, pred_mask = (np.zeros_like(sample[name].numpy()) for name in ("atom14", "atom14_mask"))
        truth = {name: value.numpy() for name, value in sample.items()}
        residues, summary = score_complex(truth, pred, pred_mask, atom_radii(sample["ligand_element"]).numpy())
        names = {"id": identifier, "cluster": str(dataset.facts[identifier]["cluster"])}
        tables.append(residues.assign(**names, confidence=np.nan if confidence is None else confidence))
        summaries.append(names | summary | {"failed": failed})
    if all(summary["failed"] for summary in summaries):
        raise BindraeError(
            f"{label}: none of the {len(summaries)} predictions succeeded; {summaries[0]['id']}: "
            f"{summaries[0]['failed']}",
            "the model, or the memory of the machine, is at fault rather than a complex",
        )
    return joined(tables, summaries)


def joined(tables: list[pd.DataFrame], summaries: list[dict[str, Any]]) -> Tables:
    """One table of residues and one of complexes, with the same categories in the column ``cluster`` of both.

    Parameters
    ----------
    tables, summaries
        Of each complex, see `score_complex`, with ``id`` and ``cluster``.
    """
    residues, complexes = pd.concat(tables, ignore_index=True), pd.DataFrame(summaries)
    # The same categories everywhere: a cluster keeps its place in the bootstrap even where it has no residue.
    categories = sorted(complexes["cluster"].unique())
    for table in (residues, complexes):
        table["cluster"] = pd.Categorical(table["cluster"], categories)
    return residues, complexes


def _checked(pred: np.ndarray, pred_mask: np.ndarray, identifier: str) -> Atoms:
    broken = np.count_nonzero(~np.isfinite(pred[pred_mask]).all(axis=-1))
    if broken:
        raise BindraeError(
            f"the prediction of {identifier} holds {broken} atoms whose coordinates are not finite",
            "the weights or the input are broken; look at the complex with `bindrae quality`, or train again",
        )
    return pred, pred_mask


def failures(complexes: pd.DataFrame) -> list[dict[str, str]]:
    """``id`` and ``message`` of each failed prediction among the complexes of `score_dataset`."""
    rows = complexes[complexes["failed"] != ""]
    return [{"id": i, "message": m} for i, m in zip(rows["id"], rows["failed"], strict=True)]


def by_complex(residues: pd.DataFrame, complexes: pd.DataFrame) -> list[dict[str, Any]]:
    """The figures of each complex apart, in the order of the table of complexes."""
    overall = values_by(residues, "id", RESIDUE_RATIOS)
    pocket = values_by(residues[residues["contact"]], "id", RESIDUE_RATIOS)
    whole = values_by(complexes, "id", [*COMPLEX_RATIOS, *POCKET_RATIOS[1:]])
    n_residues, n_pocket = residues["id"].value_counts(), residues.loc[residues["contact"], "id"].value_counts()
    return [
        {
            "id": identifier,
            "cluster": str(cluster),
            "n_residues": int(n_residues[identifier]),
            "n_pocket": int(n_pocket.get(identifier, 0)),
            "chi1_acc20": overall[identifier]["chi1_acc20"],
            "all_chi_acc20": overall[identifier]["all_chi_acc20"],
            "sidechain_rmsd": overall[identifier]["sidechain_rmsd"],
            "clash_atoms_pct": overall[identifier]["clash_atoms_pct"],
            "ligand_clash_atoms_pct": overall[identifier]["ligand_clash_atoms_pct"],
            "fape": whole[identifier]["fape"],
            "pocket_chi1_acc20": pocket.get(identifier, {}).get("chi1_acc20"),
            "pocket_irmsd": whole[identifier]["irmsd"],
        }
        for identifier, cluster in zip(complexes["id"], complexes["cluster"], strict=True)
    ]


def _training_rotamers(layout: DataLayout) -> RotamerTable:
    training = ShardDataset(layout, "train")
    samples = (training[i][1] for i in range(len(training)))

    def arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        angles, defined, kind = (sample[name].numpy() for name in ("torsion_angles", "torsion_mask", "aatype"))
        return angles, defined, kind.astype(np.int64)

    return count_rotamers(arrays(sample) for sample in samples)


def run_evaluation(
    layout: DataLayout, run: RunLayout, settings: EvaluationSettings, threads: int = 1, model_file: Path | None = None
) -> None:
    """Score a model, look into its errors, and write the run's ``evaluation.json`` and ``residues.parquet``.

    Parameters
    ----------
    layout : DataLayout
    run : RunLayout
    settings : EvaluationSettings
    threads : int
        Of torch.
    model_file : Path, optional
        Model to score in place of the run's own.

    Raises
    ------
    BindraeError
        When the model or the shards are missing, or no complex can be predicted.
    """
    start = time.monotonic()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = run.model if model_file is None else model_file
    model = load_model(path, device)
    scored = layout if settings.data is None else DataLayout(Path(settings.data))
    dataset = ShardDataset(scored, settings.side)
    calibrations = read_calibrations(path)
    if settings.refine:
        on_cpu = model if device.type == "cpu" else load_model(path)
        predictors = {
            "model": refined_predictor(on_cpu, calibrations.refined, read_networks(path)),
            "unrefined": model_predictor(model, device),
        }
    else:
        predictors = {"model": model_predictor(model, device)}
    predictors |= {
        "no_learning": rotamer_predictor(_training_rotamers(layout)),
        "rebuilt": rebuilt_predictor,
        "crystal": crystal_predictor,
    }
    tables = {
        name: score_dataset(dataset, predict, f"evaluate {name}", record_failures=name in ("model", "unrefined"))
        for name, predict in predictors.items()
    }
    residues, complexes = tables["model"]
    n_clusters = len(residues["cluster"].cat.categories)
    weights = bootstrap_weights(n_clusters, settings.bootstrap, settings.seed)
    failed = failures(complexes)
    rows = {name: figures(*pair, weights) for name, pair in tables.items()}
    labelled = _labelled(scored, dataset, residues)
    result: dict[str, Any] = {
        "stage": "evaluate",
        "version": VERSIONS["evaluate"],
        "settings": settings.model_dump(mode="json"),
        "side": settings.side,
        "n_complexes": len(dataset),
        "n_residues": len(residues),
        "n_clusters": n_clusters,
        "failed": failed,
        "bootstrap": settings.bootstrap,
        "attention": model.settings.attention,
        "model_sha256": sha256_file(path),
        "rows": rows,
        **analyse(tables, labelled, weights, calibrations.fitted),
        "by_complex": by_complex(residues, complexes),
    }
    write_table(pa.Table.from_pandas(labelled, preserve_index=False), run.residues)
    result["seconds"] = round(time.monotonic() - start, 3)
    write_json(result, run.evaluation)
    overall, pocket = (rows["model"][part]["chi1_acc20"]["value"] for part in ("overall", "pocket"))
    what = f"{settings.side} side, {len(dataset)} complexes" + (f", {len(failed)} failed" if failed else "")
    print(f"evaluate: {what}: chi1 within 20 degrees {_percent(overall)}, pocket {_percent(pocket)}")


def _labelled(layout: DataLayout, dataset: ShardDataset, residues: pd.DataFrame) -> pd.DataFrame:
    """The residues with their labels in front, where the tables of `clean` are there to tell them."""
    names = residue_names(layout, dataset)
    plain = residues.astype({"cluster": str, "type": str})
    if names is None:
        return plain
    labels = names.drop(columns=["id", "row"])
    return pd.concat([plain[["id", "cluster"]], labels, plain.drop(columns=["id", "cluster"])], axis=1)


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f} %"
