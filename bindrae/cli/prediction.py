"""The command that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bindrae.cli.app import app
from bindrae.errors import BindraeError


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
    geometry: Annotated[
        bool,
        typer.Option(
            "--geometry/--no-geometry",
            help="Let bonds and angles of the given backbone tell of chi1; they remember the side chains it had.",
        ),
    ] = True,
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
        geometry=geometry,
        backbone="predicted" if backbone == "predicted" else "input",
        fix=tuple(parse_places(fix)) if fix is not None else (),
        only_pocket=only_pocket,
    )
    failed = run_prediction(
        protein, ligand, output, model=model, options=options, summary=summary, threads=threads, batch=batch
    )
    if failed > max_failed:
        raise typer.Exit(1)
