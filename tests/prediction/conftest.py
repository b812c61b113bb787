"""The small untrained model, loaded, and a protein with what real files hold, for the tests of prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prediction_cases import messy_protein
from rdkit import Chem

from bindrae.prediction.predict import Predictor
from complexes import embedded, write_pdb


@pytest.fixture(scope="session")
def predictor(model_path: Path) -> Predictor:
    return Predictor.load(model_path)


@pytest.fixture
def protein(tmp_path: Path) -> Path:
    return write_pdb(tmp_path / "protein.pdb", messy_protein())


@pytest.fixture
def ligand(tmp_path: Path) -> Path:
    """A ligand 5 A above the middle of the first chain."""
    middle = next(a.xyz for a in messy_protein() if a.number == 10 and a.name == "CA")
    mol = embedded("NC(=O)c1ccc(O)cc1", tuple(np.add(middle, (0.0, 0.0, 6.5))), hydrogens=True)
    path = tmp_path / "ligand.sdf"
    path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    return path
