"""Commands that train, fit and join models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bindrae import config
from bindrae.cli.app import app
from bindrae.cli.options import Data, ModelText, Processes, Run, SettingsText, layout_of, run_layout_of
from bindrae.options import with_options


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
        layout_of(data),
        run_layout_of(run),
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
    run_overfit(layout_of(data), run_layout_of(run), settings, complexes, epochs, threads)


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

    run_fit(layout_of(data), model, output, config.load_settings(config.RefinementSettings, settings), processes)
