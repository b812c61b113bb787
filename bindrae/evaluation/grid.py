"""Grids of trainings: rows that each change one thing of a configuration."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bindrae.config import Config, Name, Settings, parse_settings, read_yaml, resolve_config
from bindrae.errors import BindraeError


class AblationRow(Settings):
    """One row: what it changes of the configuration."""

    label: str = Field(description="What the table calls it.")
    model: dict[str, Any] = Field(default_factory=dict, description="Keys of the section model.")
    training: dict[str, Any] = Field(default_factory=dict, description="Keys of the section training.")


class AblationGrid(Settings):
    """A grid of trainings over one dataset's shards."""

    seeds: tuple[int, ...] = Field((0, 1, 2), description="Each row is trained once a seed.")
    side: Literal["train", "val", "test"] = Field(
        "val", description="Side the rows are compared on; the test side is for what is chosen already."
    )
    reference: Name = Field("default", description="Row that the others are compared with.")
    training: dict[str, Any] = Field(default_factory=dict, description="The budget: keys of training for all rows.")
    rows: dict[Name, AblationRow]

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("seeds must be at least one number, each once")
        return value

    @model_validator(mode="after")
    def _reference_is_a_row(self) -> AblationGrid:
        if self.reference not in self.rows:
            raise ValueError(f"reference '{self.reference}' is no row (rows: {', '.join(self.rows)})")
        return self


def read_grid(path: Path) -> AblationGrid:
    """Read and check a grid.

    Raises
    ------
    BindraeError
        When the file is missing, or a key or value is wrong.
    """
    return parse_settings(AblationGrid, read_yaml(path), str(path))


def configuration_of(grid: AblationGrid, row: str, seed: int, base: Config) -> Config:
    """The configuration of one training of the grid.

    Parameters
    ----------
    grid : AblationGrid
    row : str
    seed : int
    base : Config
        The dataset's configuration, which the budget and then the row change.

    Raises
    ------
    BindraeError
        When the row does not exist or its keys are wrong.
    """
    if row not in grid.rows:
        raise BindraeError(f"the grid has no row '{row}'", f"rows: {', '.join(grid.rows)}")
    data = copy.deepcopy(base.model_dump(mode="json"))
    changes = grid.rows[row]
    if changes.model.get("preset"):
        # A preset stands for the whole section, as in a configuration file.
        data["model"] = {"d_plm": base.model.d_plm}
    data["model"] |= changes.model
    data["training"] |= grid.training | changes.training | {"seed": seed}
    data["evaluation"] |= {"side": grid.side, "data": None}
    return resolve_config(data, f"row '{row}' of the grid")
