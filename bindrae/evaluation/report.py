"""The report of a run: one self-contained page from the records of data, training and evaluation."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pandas as pd

from bindrae.config import Config
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json, read_table, write_text
from bindrae.environment import processor, version_of
from bindrae.errors import BindraeError
from bindrae.evaluation import chi_counts, pockets
from bindrae.evaluation.predicted import predicted_structures
from bindrae.reporting.html import DASH
from bindrae.reporting.peers import read_peers
from bindrae.reporting.report_page import report_page

PACKAGES = ("bindrae", "torch", "rdkit", "gemmi", "pyarrow", "numpy", "snakemake")
EVALUATION_KEYS = (
    "side",
    "n_complexes",
    "n_residues",
    "n_clusters",
    "failed",
    "attention",
    "rows",
    "comparison",
    "bands",
    "errors",
    "reliability",
    "refinement",
    "by_complex",
)


def run_report(layout: DataLayout, run: RunLayout, config: Config | None) -> None:
    """Write report.html of a run.

    Parameters
    ----------
    layout : DataLayout
        With quality.json in place.
    run : RunLayout
        With metrics.jsonl, training.json, evaluation.json and residues.parquet in place.
    config : Config or None
        The whole configuration; without it the page shows the settings that the stages recorded.

    Raises
    ------
    BindraeError
        When one of these files is missing, damaged or lacks a part.
    """
    quality = _read(layout.quality, ("found", "accepted", "rejected", "stages", "rejections", "split"), "quality")
    training = _read(run.training, ("counts", "seconds"), "train")
    evaluation = _read(run.evaluation, EVALUATION_KEYS, "evaluate")
    epochs = read_epochs(run.metrics)
    residues = _residues(run)
    shown, missing = _pockets(layout, evaluation, residues)
    page = report_page(
        title=f"Run {run.root.resolve().name}",
        dataset=config.dataset if config else run.root.resolve().parent.parent.name,
        quality=quality,
        training=training,
        evaluation=evaluation,
        epochs=epochs,
        predicted=[] if config and config.prediction.weights == "none" else predicted_structures(layout, run),
        settings=_settings(config, quality, training, evaluation),
        environment=environment(),
        angles=chi_counts.chi_counts(residues),
        pockets=shown,
        pockets_missing=missing,
        peers=read_peers(run, evaluation),
    )
    write_text(page, run.report)
    print(f"report: {run.report}")


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The epochs of a metrics.jsonl in order; of an epoch that a resumed run repeated, the last record.

    Parameters
    ----------
    path : Path
        One JSON object a line; lines whose ``event`` is not ``epoch`` are passed over.

    Raises
    ------
    BindraeError
        When the file is missing or a line of it is not a JSON object.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", "run `bindrae train`, or check --run") from None
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = dict(json.loads(line))
            if record.get("event") == "epoch":
                epochs[int(record["epoch"])] = record
        except (KeyError, TypeError, ValueError) as error:
            raise BindraeError(
                f"{path}, line {number} is not a record of the training: {error!r}",
                "the training was cut off or the file was edited; rerun `bindrae train`",
            ) from None
    return [epochs[epoch] for epoch in sorted(epochs)]


def environment() -> list[tuple[str, str]]:
    """Versions of what the results rest on, and the machine that writes the report.

    Returns
    -------
    list of (str, str)
        Name and value; a dash for a package that is not installed.
    """
    return [
        ("python", platform.python_version()),
        *((package, version_of(package, DASH)) for package in PACKAGES),
        ("platform", platform.platform()),
        ("processor", processor() or DASH),
        ("CPUs", str(os.cpu_count() or DASH)),
    ]


def _residues(run: RunLayout) -> pd.DataFrame:
    """What the page reads of residues.parquet."""
    table = read_table(run.residues)
    wanted = dict.fromkeys([*pockets.COLUMNS, *chi_counts.COLUMNS])
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise BindraeError(
            f"{run.residues} lacks {', '.join(missing)}", "it was written by another version; rerun `bindrae evaluate`"
        )
    labels = [name for name in pockets.LABELS if name in table.column_names]
    return table.select([*wanted, *labels]).to_pandas()


def _pockets(
    layout: DataLayout, evaluation: dict[str, Any], residues: pd.DataFrame
) -> tuple[list[pockets.Pocket], str]:
    """The pockets to show, or why there are none: a report may outlive its shards."""
    other = evaluation.get("settings", {}).get("data")
    scored = DataLayout(Path(other)) if other else layout
    try:
        return pockets.pockets_to_show(scored, evaluation["side"], residues, evaluation["by_complex"]), ""
    except BindraeError as error:
        return [], error.message


def _read(path: Path, keys: tuple[str, ...], stage: str) -> dict[str, Any]:
    data = read_json(path)
    missing = [key for key in keys if key not in data] if isinstance(data, dict) else list(keys)
    if missing:
        raise BindraeError(
            f"{path} lacks {', '.join(missing)}",
            f"it was written by another version; rerun `bindrae {stage}`",
        )
    return dict(data)


def _settings(
    config: Config | None, quality: dict[str, Any], training: dict[str, Any], evaluation: dict[str, Any]
) -> dict[str, Any]:
    if config is not None:
        return config.model_dump(mode="json")
    stages = {stage: record["settings"] for stage, record in quality["stages"].items()}
    return {**stages, "train": training.get("settings", {}), "evaluate": evaluation.get("settings", {})}
