"""Commands that make the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bindrae import config
from bindrae.cli.app import app
from bindrae.cli.options import Batch, Data, Processes, SettingsText, for_batch, layout_of


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

    run_index(layout_of(data), root, config.load_settings(config.IndexSettings, settings))


@app.command()
def clean(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Clean proteins and ligands into residue tables and molecules."""
    from bindrae.data.stages import run_clean

    layout, loaded = for_batch(data, batch, config.CleanSettings, settings)
    run_clean(layout.entries, batch, layout.batch("clean", batch), loaded, processes)


@app.command()
def pocket(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Weigh each residue by its distance to the ligand."""
    from bindrae.data.stages import run_pocket

    layout, loaded = for_batch(data, batch, config.PocketSettings, settings)
    run_pocket(layout.batch("clean", batch), layout.batch("pocket", batch), loaded, processes)


@app.command()
def torsions(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Measure phi, psi, omega and chi1-4."""
    from bindrae.data.stages import run_torsions

    layout, loaded = for_batch(data, batch, config.TorsionSettings, settings)
    run_torsions(layout.batch("clean", batch), layout.batch("torsions", batch), loaded, processes)


@app.command()
def tokens(data: Data, batch: Batch, settings: SettingsText = None, processes: Processes = 1) -> None:
    """Turn ligands into atoms and direction probes."""
    from bindrae.data.stages import run_tokens

    layout, loaded = for_batch(data, batch, config.TokenSettings, settings)
    run_tokens(
        layout.batch("clean", batch), layout.batch("pocket", batch), layout.batch("tokens", batch), loaded, processes
    )


@app.command()
def embed(data: Data, batch: Batch, settings: SettingsText = None) -> None:
    """Embed the sequences with a frozen protein language model."""
    from bindrae.data.plm import run_embed

    layout, loaded = for_batch(data, batch, config.EmbedSettings, settings)
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

    run_split(layout_of(data), config.load_settings(config.SplitSettings, settings), max_rejected_fraction, threads)


@app.command()
def shards(data: Data, batch: Batch, settings: SettingsText = None) -> None:
    """Pack one batch into the shards that training reads."""
    from bindrae.data.shards import run_shards

    layout, loaded = for_batch(data, batch, config.ShardSettings, settings)
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
    run_quality(layout_of(data), loaded)
