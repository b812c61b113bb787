"""Commands that judge models and predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bindrae import config
from bindrae.cli.app import app
from bindrae.cli.options import Data, Processes, Run, SettingsText, layout_of, run_layout_of


@app.command()
def evaluate(
    data: Data,
    run: Run,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model file to score in place of the run's own.", dir_okay=False)
    ] = None,
    settings: SettingsText = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU.")] = 1,
) -> None:
    """Score the trained model on a held-out side, with floors, intervals and an analysis of its errors."""
    from bindrae.evaluation.evaluate import run_evaluation

    run_evaluation(
        layout_of(data),
        run_layout_of(run),
        config.load_settings(config.EvaluationSettings, settings),
        threads=threads,
        model_file=model,
    )


@app.command()
def score(
    prediction: Annotated[Path, typer.Argument(help="Predicted structure (PDB or mmCIF); a folder with --dir.")],
    truth: Annotated[Path, typer.Argument(help="True structure; with --dir a folder of true complexes.")],
    ligand: Annotated[
        str | None,
        typer.Option("--ligand", help="Bound ligand (SDF or MOL2), or hetatm:NAME/CHAIN/NUMBER in the true structure."),
    ] = None,
    folders: Annotated[
        bool, typer.Option("--dir", help="Score <id>.pdb of one folder against <id>_protein.pdb of the other, pooled.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Another prediction (or folder) to compare with, in pairs; may be repeated."),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="File with the ids to score; all of TRUTH otherwise.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", help="Table with id and cluster, such as split.parquet, for the intervals."),
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    residues: Annotated[Path | None, typer.Option("--residues", help="Write a parquet row for each residue.")] = None,
    complexes: Annotated[Path | None, typer.Option("--complexes", help="Write a parquet row for each complex.")] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    processes: Processes = 1,
) -> None:
    """Score any program's structures against the truth, by the metrics of this project."""
    from bindrae.evaluation.score import ScoreOptions, run_score

    options = ScoreOptions(
        ligand=ligand,
        folders=folders,
        against=tuple(against or ()),
        ids=ids,
        clusters=clusters,
        json=json_path,
        residues=residues,
        complexes=complexes,
        bootstrap=bootstrap,
        seed=seed,
        processes=processes,
    )
    run_score(prediction, truth, options)


@app.command()
def ablation(
    folder: Annotated[
        Path, typer.Option("--folder", help="Folder of the grid's runs, each <row>-<seed>.", file_okay=False)
    ],
    grid: Annotated[Path, typer.Option("--grid", help="The grid: a YAML file.")],
) -> None:
    """Compare the evaluated runs of a grid in one table and plot; `snakemake ablation` makes the runs."""
    from bindrae.evaluation.ablation import run_ablation
    from bindrae.evaluation.grid import read_grid

    run_ablation(folder, read_grid(grid))


@app.command()
def report(
    data: Data,
    run: Run,
    config_text: Annotated[
        str | None, typer.Option("--config", help="The whole configuration: a JSON object or a YAML file.")
    ] = None,
) -> None:
    """Write the run's self-contained report.html."""
    from bindrae.evaluation.report import run_report

    settings = None
    if config_text is not None:
        given = json.loads(config_text) if config_text.lstrip().startswith("{") else config.read_yaml(Path(config_text))
        settings = config.resolve_config(given, "--config")
    run_report(layout_of(data), run_layout_of(run), settings)
