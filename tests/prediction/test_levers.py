"""How atoms move when a chi turns, against forward kinematics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batches import random_sample

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.prediction.kinds import atom_kinds
from bindrae.prediction.levers import lever_arms, moved_atoms, moved_slots


def test_lever_arms_are_the_derivatives_of_forward_kinematics() -> None:
    types = torch.arange(20).repeat(3)
    sample = random_sample(60, 3)
    torch.manual_seed(0)
    R, _ = torch.linalg.qr(torch.randn(60, 3, 3, dtype=torch.float64))
    R = R * torch.linalg.det(R)[:, None, None]
    frames = (R, sample["atom14"][:, 1].double())
    angles = (torch.rand(60, 7, dtype=torch.float64) - 0.5) * 6.0

    def atoms(angles: torch.Tensor) -> np.ndarray:
        return torsions_to_atoms(frames, angles_to_circle(angles), types)[0].numpy()

    arms = lever_arms(atoms(angles), types.numpy())
    for chi in range(aa.N_CHI):
        step = torch.zeros(7, dtype=torch.float64)
        step[3 + chi] = 1e-4
        slope = (atoms(angles + step) - atoms(angles - step)) / 2e-4
        there = aa.ATOM14_MASK[types.numpy()]
        assert arms[:, :, chi][there] == pytest.approx(slope[there], abs=1e-5)
    assert np.abs(arms).max() > 4.0


def test_atoms_that_move_are_numbered_like_their_kinds() -> None:
    slots, atoms = moved_slots(), moved_atoms()
    for t, slot in np.argwhere(atom_kinds()[1] >= 0):
        assert atoms[atom_kinds()[1][t, slot]].tolist() == slots[t, slot].tolist()
    lysine, proline = aa.TYPE_OF_NAME["LYS"], aa.TYPE_OF_NAME["PRO"]
    assert slots[lysine].sum(0).tolist() == [4, 3, 2, 1]
    assert slots[proline].sum(0).tolist() == [2, 1, 0, 0]  # N closes the ring and stays
    assert not slots[:, : aa.SLOT_CB + 1].any()
