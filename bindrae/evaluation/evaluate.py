"""Evaluation of a trained model on one side of the split, beside its floors and the no-learning row."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from bindrae.config import EvaluationSettings
from bindrae.data.dataset import Sample, ShardDataset, atom_radii, collate_ipa_batch
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import sha256_file, write_json, write_table
from bindrae.evaluation.aggregate import bootstrap_weights
from bindrae.evaluation.rotamers import RotamerTable, count_rotamers
from bindrae.evaluation.scoring import figures, score_complex
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.stage1 import Stage1, load_model
from bindrae.progress import track

Atoms = tuple[np.ndarray, np.ndarray]
Predictor = Callable[[str, Sample], Atoms]


def model_predictor(model: Stage1, device: torch.device) -> Predictor:
    """Prediction of one whole complex, uncropped."""

    @torch.inference_mode()
    def predict(identifier: str, sample: Sample) -> Atoms:
        out = model(collate_ipa_batch([(identifier, sample)]).to(device))
        return out.atom14[0].float().cpu().numpy(), out.atom14_mask[0].cpu().numpy()

    return predict


def _rebuild(sample: Sample, chi: np.ndarray) -> Atoms:
    """Atoms of the true backbone with given chis, by forward kinematics."""
    x, kind = sample["atom14"], sample["aatype"].long()
    angles = sample["torsion_angles"].clone()
    angles[:, 3:] = torch.as_tensor(chi)
    atoms, mask = torsions_to_atoms(
        build_frames_from_3_points(x[:, 0], x[:, 1], x[:, 2]), angles_to_circle(angles), kind
    )
    return atoms.numpy(), mask.numpy()


def rotamer_predictor(table: RotamerTable) -> Predictor:
    """The no-learning row: true backbone and the most frequent rotamer."""

    def predict(identifier: str, sample: Sample) -> Atoms:
        arrays = (sample[name].numpy() for name in ("torsion_angles", "torsion_mask", "aatype"))
        angles, defined, kind = arrays
        return _rebuild(sample, table.predict(angles, defined, kind.astype(np.int64)))

    return predict


def crystal_predictor(identifier: str, sample: Sample) -> Atoms:
    """The truth itself: what the metrics say of a perfect prediction."""
    return sample["atom14"].numpy(), sample["atom14_mask"].numpy()


def rebuilt_predictor(identifier: str, sample: Sample) -> Atoms:
    """The truth through forward kinematics: what ideal bond lengths and angles cost."""
    return _rebuild(sample, sample["torsion_angles"][:, 3:].numpy())


def score_dataset(dataset: ShardDataset, predict: Predictor, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Residues and complexes of a dataset, scored.

    Returns
    -------
    residues, summaries : pandas.DataFrame
        Columns ``id`` and ``cluster`` and those of `score_complex`.
    """
    tables, summaries = [], []
    for identifier, sample in track((dataset[i] for i in range(len(dataset))), len(dataset), label):
        pred, pred_mask = predict(identifier, sample)
        truth = {name: value.numpy() for name, value in sample.items()}
        residues, summary = score_complex(truth, pred, pred_mask, atom_radii(sample["ligand_element"]).numpy())
        names = {"id": identifier, "cluster": str(dataset.facts[identifier]["cluster"])}
        tables.append(residues.assign(**names))
        summaries.append(names | summary)
    residues, complexes = pd.concat(tables, ignore_index=True), pd.DataFrame(summaries)
    # The same categories everywhere: a cluster keeps its place in the bootstrap even where it has no residue.
    categories = sorted(complexes["cluster"].unique())
    for table in (residues, complexes):
        table["cluster"] = pd.Categorical(table["cluster"], categories)
    return residues, complexes


def _by_type(residues: pd.DataFrame) -> dict[str, Any]:
    result = {}
    for name, rows in residues[residues["chi1_n"] > 0].groupby("type"):
        figure = figures(rows, _no_complexes(), None)["overall"]
        kept = ("chi1_acc20", "chi1_acc40", "all_chi_acc20", "sidechain_rmsd")
        result[str(name)] = {"n": len(rows), **{key: figure[key]["value"] for key in kept}}
    return result


def _no_complexes() -> pd.DataFrame:
    from bindrae.evaluation.scoring import COMPLEX_RATIOS, POCKET_RATIOS

    columns = {c for r in (*COMPLEX_RATIOS, *POCKET_RATIOS) for c in (r.numerator, r.denominator)}
    return pd.DataFrame({"cluster": [], **{c: [] for c in columns}})


def _by_complex(residues: pd.DataFrame, complexes: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for summary in complexes.to_dict("records"):
        own = residues[residues["id"] == summary["id"]]
        both = figures(own.assign(cluster="-"), complexes[complexes["id"] == summary["id"]].assign(cluster="-"), None)
        rows.append(
            {
                "id": summary["id"],
                "cluster": str(summary["cluster"]),
                "n_residues": len(own),
                "n_pocket": int(own["contact"].sum()),
                **{
                    key: both["overall"][key]["value"]
                    for key in ("chi1_acc20", "sidechain_rmsd", "clash_atoms_pct", "fape")
                },
                "pocket_chi1_acc20": both["pocket"]["chi1_acc20"]["value"],
                "pocket_irmsd": both["pocket"]["irmsd"]["value"],
            }
        )
    return rows


def run_evaluation(layout: DataLayout, run: RunLayout, settings: EvaluationSettings, threads: int = 1) -> None:
    """Score the run's model and write ``evaluation.json`` and ``residues.parquet``.

    Raises
    ------
    BindraeError
        When the model or the shards are missing.
    """
    start = time.monotonic()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(run.model, device)
    dataset = ShardDataset(layout if settings.data is None else DataLayout(Path(settings.data)), settings.side)
    training = ShardDataset(layout, "train")
    samples = (training[i][1] for i in range(len(training)))
    table = count_rotamers(
        (s["torsion_angles"].numpy(), s["torsion_mask"].numpy(), s["aatype"].numpy().astype(np.int64)) for s in samples
    )
    predictors = {
        "model": model_predictor(model, device),
        "no_learning": rotamer_predictor(table),
        "rebuilt": rebuilt_predictor,
        "crystal": crystal_predictor,
    }
    clusters = sorted({str(facts["cluster"]) for facts in dataset.facts.values()})
    weights = bootstrap_weights(len(clusters), settings.bootstrap, settings.seed)
    result: dict[str, Any] = {
        "stage": "evaluate",
        "version": VERSIONS["evaluate"],
        "settings": settings.model_dump(mode="json"),
        "side": settings.side,
        "n_complexes": len(dataset),
        "n_residues": 0,
        "n_clusters": len(clusters),
        "failed": [],
        "bootstrap": settings.bootstrap,
        "attention": model.settings.attention,
        "model_sha256": sha256_file(run.model),
        "rows": {},
    }
    for name, predict in predictors.items():
        residues, complexes = score_dataset(dataset, predict, f"evaluate {name}")
        result["rows"][name] = figures(residues, complexes, weights)
        if name == "model":
            result["n_residues"] = len(residues)
            result["by_type"] = _by_type(residues)
            result["by_complex"] = _by_complex(residues, complexes)
            write_table(pa.Table.from_pandas(residues.astype({"cluster": str}), preserve_index=False), run.residues)
    result["seconds"] = round(time.monotonic() - start, 3)
    write_json(result, run.evaluation)
    overall, pocket = (result["rows"]["model"][part]["chi1_acc20"]["value"] for part in ("overall", "pocket"))
    scored = f"{settings.side} side, {len(dataset)} complexes"
    print(f"evaluate: {scored}: chi1 within 20 degrees {_percent(overall)}, pocket {_percent(pocket)}")


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f} %"
