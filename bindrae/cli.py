"""Command line: one command a stage, the same that the Snakemake rules call."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bindrae import __version__, config
from bindrae.errors import BindraeError, exit_on_error
from bindrae.options import with_options

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Rebuild holo side chains from a backbone, its sequence and a bound ligand.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[
    Path, typer.Option("--data", help="Data folder of the dataset: results/<dataset>/data.", file_okay=False)
]
Run = Annotated[
    Path, typer.Option("--run", help="Folder of the training run: results/<dataset>/runs/<run>.", file_okay=False)
]
Batch = Annotated[int, typer.Option("--batch", min=0, help="Number of the batch, from 0.")]
SettingsText = Annotated[
    str | None,
    typer.Option(
        "--settings",
        help="The stage's section of the config: a JSON object or a YAML file. Keys left out keep their defaults.",
    ),
]
ModelText = Annotated[str | None, typer.Option("--model", help="Model settings: a JSON object or a YAML file.")]
Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Worker processes; the output does not depend on it.")
]


S = TypeVar("S", bound=config.Settings)


def _layout(data: Path) -> Any:
    from bindrae.data.layout import DataLayout

    return DataLayout(data)


def _for_batch(data: Path, batch: int, model: type[S], settings: str | None) -> tuple[Any, S]:
    """The dataset's layout and the stage's settings, both checked."""
    loaded = config.load_settings(model, settings)
    layout = _layout(data)
    numbers = layout.batch_numbers()
    if batch not in numbers:
        raise BindraeError(f"{data} has no batch {batch}", f"its index made the batches 0 to {len(numbers) - 1}")
    return layout, loaded


def _run_layout(run: Path) -> Any:
    from bindrae.data.layout import RunLayout

    return RunLayout(run)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(f"bindrae {__version__}")
        raise typer.Exit


@app.command()
def index(
    data: Data,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder or sheet with the complexes; not for the demo.")
    ] = None,
    settings: SettingsText = None,
) -> None:
    """Find the complexes of a dataset and assign them to batches."""
    from bindrae.data.index import run_index

    run_index(_layout(data), root, config.load_settings(config.IndexSettings, settings))


@app.command()
def clean(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Clean proteins and ligands into residue tables and molecules."""
    from bindrae.data.stages import run_clean

    layout, loaded = _for_batch(data, batch, config.CleanSettings, settings)
    run_clean(layout.entries, batch, layout.batch("clean", batch), loaded, processes)


@app.command()
def pocket(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Weigh each residue by its distance to the ligand."""
    from bindrae.data.stages import run_pocket

    layout, loaded = _for_batch(data, batch, config.PocketSettings, settings)
    run_pocket(layout.batch("clean", batch), layout.batch("pocket", batch), loaded, processes)


@app.command()
def torsions(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Measure phi, psi, omega and chi1-4."""
    from bindrae.data.stages import run_torsions

    layout, loaded = _for_batch(data, batch, config.TorsionSettings, settings)
    run_torsions(layout.batch("clean", batch), layout.batch("torsions", batch), loaded, processes)


@app.command()
def tokens(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Turn ligands into atoms and direction probes."""
    from bindrae.data.stages import run_tokens

    layout, loaded = _for_batch(data, batch, config.TokenSettings, settings)
    run_tokens(
        layout.batch("clean", batch), layout.batch("pocket", batch), layout.batch("tokens", batch), loaded, processes
    )


@app.command()
def embed(data: Data, batch: Batch, settings: SettingsText = None) -> None:
    """Embed the sequences with a frozen protein language model."""
    from bindrae.data.plm import run_embed

    layout, loaded = _for_batch(data, batch, config.EmbedSettings, settings)
    run_embed(layout.batch("clean", batch), layout.batch("embed", batch), loaded)


@app.command()
def split(
    data: Data,
    settings: SettingsText = None,
    max_rejected_fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Fail when a larger share is rejected.")
    ] = 0.2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the sequence search.")] = 1,
) -> None:
    """Assign whole sequence clusters to train, val and test."""
    from bindrae.data.split import run_split

    run_split(_layout(data), config.load_settings(config.SplitSettings, settings), max_rejected_fraction, threads)


@app.command()
def shards(data: Data, batch: Batch, settings: SettingsText = None) -> None:
    """Pack one batch into the shards that training reads."""
    from bindrae.data.shards import run_shards

    layout, loaded = _for_batch(data, batch, config.ShardSettings, settings)
    run_shards(layout, batch, loaded)


@app.command()
def quality(
    data: Data,
    settings: SettingsText = None,
    write_pocket_pdb: Annotated[
        bool, typer.Option("--write-pocket-pdb", help="Also write each pocket as a PDB file under data/pockets/.")
    ] = False,
) -> None:
    """Report what went in, what was rejected, and how the data look."""
    from bindrae.data.quality import run_quality

    loaded = config.load_settings(config.QualitySettings, settings)
    if write_pocket_pdb:
        loaded = loaded.model_copy(update={"write_pocket_pdb": True})
    run_quality(_layout(data), loaded)


@app.command()
@with_options(config.TrainingSettings)
def train(
    data: Data,
    run: Run,
    model: ModelText = None,
    settings: SettingsText = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU, for all processes.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard the run's checkpoints and start over.")] = False,
    restart_if_changed: Annotated[
        bool, typer.Option(help="Start over when settings or data changed since the checkpoint, instead of refusing.")
    ] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Train Stage-1; resumes from the run's last checkpoint."""
    from bindrae.training.loop import run_training

    run_training(
        _layout(data),
        _run_layout(run),
        config.load_settings(config.ModelSettings, model),
        config.override(config.load_settings(config.TrainingSettings, settings), given),
        threads=threads,
        fresh=fresh,
        restart_if_changed=restart_if_changed,
    )


@app.command()
def overfit(
    data: Data,
    run: Run,
    complexes: Annotated[int, typer.Option(min=1, help="Complexes of the training side to learn by heart.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them at most.")] = 200,
    model: ModelText = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU.")] = 1,
) -> None:
    """Learn a few complexes by heart: fails when the network, the losses or the data cannot reach 95 % chi1 on them."""
    from bindrae.training.overfit import run_overfit

    settings = config.load_settings(config.ModelSettings, model)
    run_overfit(_layout(data), _run_layout(run), settings, complexes, epochs, threads)


@app.command()
def join(
    models: Annotated[list[Path], typer.Argument(help="Model files of one architecture.", dir_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", dir_okay=False)],
    sweeps: Annotated[int, typer.Option(min=0, help="Sweeps that each network makes at prediction.")] = 0,
) -> None:
    """Join trained models to one that averages their distributions; `snakemake ensemble` trains and joins."""
    from bindrae.model.join import join_models

    ensemble = join_models(models, output, sweeps)
    print(
        f"{output}: {len(ensemble.members)} networks, {ensemble.sweeps} sweeps; networks of refinement and calibration "
        "are to be fitted to it (bindrae fit)"
    )


@app.command()
def fit(
    data: Data,
    model: Annotated[
        Path, typer.Option("--model", help="Model file of a training, or of an ensemble.", dir_okay=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.", dir_okay=False)],
    settings: SettingsText = None,
    processes: Processes = 1,
) -> None:
    """Fit networks of refinement (training side) and a calibrated confidence (validation side) to a trained model."""
    from bindrae.prediction.fit import run_fit

    run_fit(_layout(data), model, output, config.load_settings(config.RefinementSettings, settings), processes)


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
        _layout(data),
        _run_layout(run),
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
    run_report(_layout(data), _run_layout(run), settings)


@app.command()
def predict(
    protein: Annotated[
        Path, typer.Argument(help="PDB or mmCIF file; or a folder or a sheet (id, protein, ligand) of complexes.")
    ],
    ligand: Annotated[
        str | None,
        typer.Argument(help="SDF or MOL2 file with the bound pose, or hetatm:NAME/CHAIN/NUMBER in the protein file."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write (.pdb or .cif); for many complexes, a folder."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model file; by default the weights that ship with the package.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Sets of side chains, written as models; the first is the best.")
    ] = 1,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.01, max=10.0, help="Of the further samples: 1 as the model says.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other samples.")] = 0,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Remove clashes.")] = True,
    fix: Annotated[
        str | None,
        typer.Option("--fix", help="Residues that keep their side chain: CHAIN:NUMBER[INSERTION],... or a file."),
    ] = None,
    only_pocket: Annotated[
        float | None,
        typer.Option(
            "--only-pocket",
            min=0.0,
            metavar="RADIUS",
            help="Rebuild only residues whose backbone or CB is this near the ligand (A), such as 8; keep the others.",
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="input: N, CA, C, O stay as they are; predicted: as the model moves them.")
    ] = "input",
    summary: Annotated[Path | None, typer.Option("--json", help="Write a summary with every residue.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=0, help="Of the index of a dataset, only the complexes of this batch.")
    ] = None,
    max_failed: Annotated[
        float,
        typer.Option(
            "--max-failed-fraction",
            min=0.0,
            max=1.0,
            help="Of many complexes, the share that may fail without an error.",
        ),
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU.")] = 1,
) -> None:
    """Build the side chains of a protein around a bound ligand."""
    from bindrae.prediction.keep import parse_places
    from bindrae.prediction.predict import PredictionOptions
    from bindrae.prediction.run import run_prediction

    if output is None:
        raise BindraeError("no output was named", "add -o OUT.pdb or -o OUT.cif; for many complexes, -o FOLDER")
    if backbone not in ("input", "predicted"):
        raise BindraeError(f"--backbone {backbone} is not known", "choose input or predicted")
    options = PredictionOptions(
        samples=samples,
        temperature=temperature,
        seed=seed,
        refine=refine,
        backbone="predicted" if backbone == "predicted" else "input",
        fix=tuple(parse_places(fix)) if fix is not None else (),
        only_pocket=only_pocket,
    )
    failed = run_prediction(
        protein, ligand, output, model=model, options=options, summary=summary, threads=threads, batch=batch
    )
    if failed > max_failed:
        raise typer.Exit(1)


@app.command("env")
def show_environment() -> None:
    """Print versions, hardware and optional parts, to put into a report of a fault."""
    from bindrae.environment import describe

    print(describe())


@app.command("schema")
def write_schema(
    output: Annotated[Path | None, typer.Option("--output", help="File to write; standard output by default.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="A table of all keys in Markdown instead of the JSON schema.")
    ] = False,
) -> None:
    """Print the JSON schema of the configuration, or its reference."""
    text = config.reference() if reference else json.dumps(config.json_schema(), indent=2) + "\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)


def main() -> None:
    """Entry point: a user's error ends with its message and exit code 2, a bug with its traceback."""
    with exit_on_error():
        try:
            app()
        finally:
            gc.freeze()  # or Python looks for garbage in all of torch before it ends, for a third of a second
