"""``python -m bindrae.benchmark.peers ROOT``: one command, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bindrae.errors import exit_on_error

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def compare(
    root: Annotated[
        Path | None, typer.Argument(help="Folder, sheet or list of complexes; none for --layout demo.")
    ] = None,
    layout: Annotated[str, typer.Option("--layout", help="As index.layout in the config.")] = "casf2016",
    peers: Annotated[
        str,
        typer.Option("--peers", help="Programs to run, in the order of the table: faspr,promod3,ligandmpnn,bindrae."),
    ] = "bindrae,faspr,promod3,ligandmpnn",
    only: Annotated[
        str | None, typer.Option("--only", help="Ids of the complexes, separated by commas, or a file of them.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first N complexes.")] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for results and environments.")] = Path(
        "results/bench/peers"
    ),
    model: Annotated[
        Path | None, typer.Option("--model", help="Model file; by default the weights that ship with the package.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder whose split.parquet gives the clusters of the intervals.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each program.")] = 1,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1.0, help="Of a complex, then it has failed.")
    ] = 1800.0,
    retry: Annotated[bool, typer.Option("--retry", help="Try complexes again that failed before.")] = False,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=100, help="Bootstrap samples.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    noise: Annotated[
        float,
        typer.Option(
            "--noise", min=0.0, max=1.0, help="Noise (A) on each coordinate of the backbones that all are given."
        ),
    ] = 0.0,
) -> None:
    """Run side-chain packers and our own model on the same stripped files, and print their figures side by side."""
    from bindrae.benchmark.peers.benchmark import BenchmarkOptions, run_benchmark

    options = BenchmarkOptions(
        layout=layout,
        peers=tuple(name.strip() for name in peers.split(",") if name.strip()),
        only=only,
        limit=limit,
        model=model,
        data=data,
        threads=threads,
        max_seconds=max_seconds,
        retry=retry,
        bootstrap=bootstrap,
        seed=seed,
        noise=noise,
    )
    run_benchmark(root, output, options)


if __name__ == "__main__":
    with exit_on_error():
        app()
