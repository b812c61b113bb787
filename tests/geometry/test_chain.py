from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from bindrae.chem.ideal_geometry import ideal_geometry, place_atom
from bindrae.geometry.chain import chain_to_atoms, prefix_compose, torsions_to_frames
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.geometry.rigid import axis_angle_to_matrix, compose
from bindrae.structure.torsions import residue_torsions


def random_chain(n: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    angles = (2 * torch.rand(n, 7, generator=g, dtype=torch.float64) - 1) * torch.pi
    angles[:, 2] = torch.where(torch.rand(n, generator=g) < 0.1, 0.05, torch.pi - 0.05)  # some cis
    linked = torch.ones(n, dtype=torch.bool)
    linked[-1] = False
    return angles.to(dtype), torch.randint(0, 21, (n,), generator=g), linked


def first_frames(n: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    R = axis_angle_to_matrix(torch.randn(n, 3, dtype=torch.float64, generator=g))
    return R.to(dtype), torch.randn(n, 3, dtype=dtype, generator=g)


def sequential(angles: np.ndarray, kinds: np.ndarray, first: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """N, CA, C by plain NeRF, atom after atom: [N, 3, 3]."""
    ideal = ideal_geometry()
    link = ideal.peptide
    atoms = [first[0][0] @ ideal.local[kinds[0], slot] + first[1][0] for slot in range(3)]
    for i in range(1, len(kinds)):
        n, c = ideal.local[kinds[i], 0], ideal.local[kinds[i], 2]
        bend = np.arctan2(n[1], n[0])
        atoms.append(place_atom(*atoms[-3:], link["bond"], link["angle_ca_c_n"], angles[i - 1, 1]))
        atoms.append(place_atom(*atoms[-3:], np.linalg.norm(n), link["angle_c_n_ca"], angles[i - 1, 2]))
        atoms.append(place_atom(*atoms[-3:], np.linalg.norm(c), bend, angles[i, 0]))
    return np.stack(atoms).reshape(-1, 3, 3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_a_thousand_residues_equal_sequential_nerf(dtype: torch.dtype, tolerance: float) -> None:
    angles, kinds, linked = random_chain(1000)
    first = first_frames(1000)
    circle = angles_to_circle(angles.to(dtype))
    # The torsions as they are after rounding: over a thousand residues their last digit alone is worth 1e-3 A.
    rounded = torch.atan2(circle[..., 0].double(), circle[..., 1].double())
    expected = sequential(rounded.numpy(), kinds.numpy(), tuple(x.numpy() for x in first))
    start = tuple(x.to(dtype) for x in first)
    xyz, _, _ = chain_to_atoms(circle, kinds, linked, start)
    assert np.abs(xyz[:, :3].numpy() - expected).max() < tolerance


def test_torsions_read_back_are_those_put_in_across_breaks() -> None:
    angles, kinds, linked = random_chain(40)
    linked[12] = linked[25] = False
    xyz, mask, frames = chain_to_atoms(angles_to_circle(angles), kinds, linked, first_frames(40))
    measured, defined = residue_torsions(xyz.numpy(), mask.numpy(), kinds.numpy(), linked.numpy())
    assert defined[:, 0].sum() == defined[:, 1].sum() == 40 - 3
    error = np.abs(np.angle(np.exp(1j * (measured - angles.numpy()))))[defined]
    assert error.max() < 1e-5
    R, t = first_frames(40)
    for start in (0, 13, 26):
        torch.testing.assert_close(frames[0][start], R[start])
        torch.testing.assert_close(frames[1][start], t[start])


def test_peptide_bonds_have_ideal_lengths_and_angles() -> None:
    angles, kinds, linked = random_chain(60)
    xyz, _, _ = chain_to_atoms(angles_to_circle(angles), kinds, linked, first_frames(60))
    x = xyz.numpy()
    link = ideal_geometry().peptide

    def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        u, v = a - b, c - b
        return np.arccos((u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1))

    np.testing.assert_allclose(np.linalg.norm(x[1:, 0] - x[:-1, 2], axis=-1), link["bond"], atol=1e-9)
    np.testing.assert_allclose(angle(x[:-1, 1], x[:-1, 2], x[1:, 0]), link["angle_ca_c_n"], atol=1e-7)
    np.testing.assert_allclose(angle(x[:-1, 2], x[1:, 0], x[1:, 1]), link["angle_c_n_ca"], atol=1e-7)


def test_prefix_products_equal_a_loop_with_restarts() -> None:
    R, t = first_frames(23)
    starts = torch.zeros(23, dtype=torch.bool)
    starts[[0, 7, 8, 20]] = True
    got_R, got_t = prefix_compose((R, t), starts)
    for i in range(23):
        running = (R[i], t[i]) if starts[i] else compose(running, (R[i], t[i]))  # noqa: F821
        torch.testing.assert_close(got_R[i], running[0])
        torch.testing.assert_close(got_t[i], running[1])


def test_gradients_reach_every_earlier_torsion_and_are_exact() -> None:
    angles, kinds, linked = random_chain(7)
    first = first_frames(7)

    def atoms(a: torch.Tensor) -> torch.Tensor:
        return torsions_to_frames(angles_to_circle(a), kinds, linked, first)[1]

    angles.requires_grad_()
    assert torch.autograd.gradcheck(atoms, (angles,))
    atoms(angles)[-1].sum().backward()
    assert angles.grad is not None
    assert (angles.grad[:-1, 1].abs() > 1e-6).all()


def test_ten_times_faster_than_one_atom_after_the_other() -> None:
    angles, kinds, linked = random_chain(1000)
    circle, first = angles_to_circle(angles.float()), first_frames(1000, torch.float32)
    arrays = (angles.numpy(), kinds.numpy(), tuple(x.numpy() for x in first))
    torsions_to_frames(circle, kinds, linked, first)

    def seconds(run: object) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            run()  # type: ignore[operator]
            times.append(time.process_time() - start)
        return min(times)

    fast = seconds(lambda: torsions_to_frames(circle, kinds, linked, first))
    slow = seconds(lambda: sequential(*arrays))
    assert slow > 10 * fast, (slow, fast)
