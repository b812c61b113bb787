from __future__ import annotations

import numpy as np
import pytest
from batches import random_sample

from bindrae.data.batch import atom_radii
from bindrae.evaluation.scoring import score_complex


def test_the_distance_to_the_ligand_is_that_of_the_true_heavy_atoms() -> None:
    sample = random_sample(40, 4)
    radius = atom_radii(sample["ligand_element"]).numpy()
    truth = {name: value.numpy() for name, value in sample.items()}
    truth["atom14_mask"] = truth["atom14_mask"].copy()
    truth["atom14_mask"][7] = False
    elsewhere = truth["atom14"] + np.float32(3.0)  # where the prediction puts them does not matter
    residues, _ = score_complex(truth, elsewhere, truth["atom14_mask"], radius)
    apart = np.linalg.norm(truth["atom14"][:, :, None] - truth["ligand_xyz"], axis=-1)
    expected = np.where(truth["atom14_mask"][..., None], apart, np.inf).min((1, 2))
    assert np.isnan(residues["ligand_distance"][7])
    others = np.arange(40) != 7
    np.testing.assert_allclose(residues["ligand_distance"][others], expected[others], rtol=1e-5)


def test_without_a_ligand_there_is_no_distance() -> None:
    truth = {name: value.numpy() for name, value in random_sample(20, 4).items()}
    truth |= {"ligand_xyz": np.zeros((0, 3), np.float32)}
    residues, _ = score_complex(truth, truth["atom14"], truth["atom14_mask"], np.zeros(0))
    assert residues["ligand_distance"].isna().all()
    assert residues["chi1_error"].dropna().max() == pytest.approx(0.0, abs=1e-4)
