"""A small untrained model, and a protein with what real files hold, for the tests of prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from prediction_cases import messy_protein
from rdkit import Chem

from bindrae.config import ModelSettings
from bindrae.model.stage1 import Stage1, save_model
from bindrae.prediction.predict import Predictor
from complexes import embedded, write_pdb


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with random weights, whose chi distributions are peaked enough to have modes."""
    torch.manual_seed(3)
    sizes = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}
    model = Stage1(ModelSettings(**sizes, qk_points=2, v_points=2, local_neighbours=8, edge_neighbours=4))
    with torch.no_grad():
        for output in model.head.output:  # type: ignore[union-attr]
            output[-1].weight *= 20.0
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, path, {})
    return path


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
