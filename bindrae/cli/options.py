"""Options that several commands have, and the folders that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bindrae import config
from bindrae.errors import BindraeError

if TYPE_CHECKING:
    from bindrae.data.layout import DataLayout, RunLayout

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


def layout_of(data: Path) -> DataLayout:
    """The layout of a dataset's folder; torch and others are imported no sooner than they are needed."""
    from bindrae.data.layout import DataLayout

    return DataLayout(data)


def for_batch(data: Path, batch: int, model: type[S], settings: str | None) -> tuple[DataLayout, S]:
    """The dataset's layout and the stage's settings, both checked."""
    loaded = config.load_settings(model, settings)
    layout = layout_of(data)
    numbers = layout.batch_numbers()
    if batch not in numbers:
        raise BindraeError(f"{data} has no batch {batch}", f"its index made the batches 0 to {len(numbers) - 1}")
    return layout, loaded


def run_layout_of(run: Path) -> RunLayout:
    """The layout of a run's folder."""
    from bindrae.data.layout import RunLayout

    return RunLayout(run)
