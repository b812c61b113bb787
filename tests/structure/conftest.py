"""Cleaning made short for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bindrae.config import CleanSettings
from bindrae.structure.atoms import read_atoms
from bindrae.structure.context import ContextAtoms
from bindrae.structure.protein import build_residue_table
from bindrae.structure.table import ResidueTable
from complexes import Atom, write_pdb

Cleaned = tuple[ResidueTable, ContextAtoms, dict[str, int]]


@pytest.fixture
def clean(tmp_path: Path) -> Callable[..., Cleaned]:
    """Write atoms (or several models) as PDB and clean them; the ligand stands beside the first atom by default."""

    def run(*models: list[Atom], ligand: np.ndarray | None = None, **settings: Any) -> Cleaned:
        path = write_pdb(tmp_path / "protein.pdb", *models)
        if ligand is None:
            ligand = np.array([models[0][0].xyz]) - 2.0
        return build_residue_table(read_atoms(path), np.asarray(ligand), CleanSettings(**settings), path.name)

    return run
