from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import ideal_geometry
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms, unit_circle
from bindrae.geometry.rigid import axis_angle_to_matrix
from bindrae.structure.torsions import residue_torsions

torsion = st.one_of(st.floats(-np.pi, np.pi), st.sampled_from([0.0, np.pi, -np.pi, np.pi / 2]))


def build(angles: np.ndarray, kinds: np.ndarray, dtype: torch.dtype = torch.float64) -> tuple[np.ndarray, np.ndarray]:
    g = torch.Generator().manual_seed(0)
    R = axis_angle_to_matrix(torch.randn(len(kinds), 3, dtype=dtype, generator=g))
    t = torch.arange(3.0 * len(kinds), dtype=dtype).reshape(-1, 3)
    xyz, mask = torsions_to_atoms(
        (R, t), angles_to_circle(torch.as_tensor(angles, dtype=dtype)), torch.as_tensor(kinds)
    )
    return xyz.numpy(), mask.numpy()


@given(st.lists(torsion, min_size=4, max_size=4))
def test_chis_read_back_from_the_atoms_are_those_put_in(chi: list[float]) -> None:
    kinds = np.arange(20)
    angles = np.tile([0.0, 1.0, np.pi, *chi], (20, 1))
    xyz, mask = build(angles, kinds)
    measured, defined = residue_torsions(xyz.astype(np.float32), mask, kinds, np.zeros(20, dtype=bool))
    assert (defined[:, 3:] == aa.CHI_MASK[kinds]).all()
    error = np.abs(np.angle(np.exp(1j * (measured[:, 3:] - angles[:, 3:]))))[defined[:, 3:]]
    assert error.max() < 2e-3  # float32 positions some 60 A from the origin


def test_bonds_angles_and_rings_are_those_of_the_table_whatever_the_torsions() -> None:
    kinds = np.arange(20)
    rng = np.random.default_rng(0)
    first, _ = build(rng.uniform(-np.pi, np.pi, (20, 7)), kinds)
    for _ in range(5):
        xyz, _ = build(rng.uniform(-np.pi, np.pi, (20, 7)), kinds)
        for kind in kinds:
            bonds = [b for b in aa.BONDS[kind] if not (aa.RESIDUE_NAMES[kind] == "PRO" and set(b) == {0, 6})]
            pairs = bonds + [(i, k) for i, j in bonds for j2, k in bonds if j == j2]  # 1-2 and some 1-3 distances
            for i, j in pairs:
                lengths = [np.linalg.norm(x[kind, i] - x[kind, j]) for x in (first, xyz)]
                assert lengths[0] == pytest.approx(lengths[1], abs=1e-9)
            for i, j in bonds:
                assert 1.2 < np.linalg.norm(xyz[kind, i] - xyz[kind, j]) < 1.85


@pytest.mark.parametrize("name", ["HIS", "PHE", "TRP", "TYR"])
def test_aromatic_rings_close_and_are_flat(name: str) -> None:
    kind = aa.TYPE_OF_NAME[name]
    xyz, _ = build(np.full((1, 7), 0.7), np.array([kind]))
    for ring in aa.ring_slots(kind):
        points = xyz[0, ring]
        assert np.linalg.svd(points - points.mean(0))[1][2] < 1e-6
        closure = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
        assert closure.min() > 1.28
        assert closure.max() < 1.46


def test_side_chains_have_the_hand_of_l_amino_acids() -> None:
    xyz, _ = build(np.zeros((20, 7)), np.arange(20))
    for kind in np.flatnonzero(aa.ATOM14_MASK[:20, aa.SLOT_CB]):
        n, ca, c, cb = (xyz[kind, s] for s in (0, 1, 2, 4))
        assert np.dot(np.cross(n - ca, c - ca), cb - ca) > 1.0
    isoleucine, threonine = aa.TYPE_OF_NAME["ILE"], aa.TYPE_OF_NAME["THR"]
    for kind, (big, small) in {isoleucine: ("CG1", "CG2"), threonine: ("OG1", "CG2")}.items():
        ca, cb, first, second = (xyz[kind, aa.ATOM14_NAMES[kind].index(a)] for a in ("CA", "CB", big, small))
        # CB of L-isoleucine is S with priorities CA, CG1, CG2; that of L-threonine is R with OG1, CA, CG2.
        assert np.dot(np.cross(ca - cb, first - cb), second - cb) > 1.0


def test_oxygen_lies_opposite_the_next_nitrogen() -> None:
    angles = np.zeros((1, 7))
    angles[0, 1] = 0.9
    xyz, _ = build(angles, np.array([0]))
    n, ca, c, o = xyz[0, :4]
    from bindrae.structure.torsions import dihedral

    angle, _ = dihedral(n, ca, c, o)
    assert np.angle(np.exp(1j * (angle - 0.9 - np.pi))) == pytest.approx(0.0, abs=1e-5)


def test_gradients_are_exact_and_finite() -> None:
    kinds = torch.arange(21)
    R = axis_angle_to_matrix(torch.randn(21, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    t = torch.randn(21, 3, dtype=torch.float64)
    raw = torch.randn(21, 7, 2, dtype=torch.float64, requires_grad=True)

    def atoms(x: torch.Tensor) -> torch.Tensor:
        return torsions_to_atoms((R, t), unit_circle(x), kinds)[0]

    assert torch.autograd.gradcheck(atoms, (raw,))
    zero = torch.zeros(21, 7, 2, dtype=torch.float64, requires_grad=True)
    atoms(zero).square().sum().backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()


def test_empty_slots_stand_on_ca() -> None:
    xyz, mask = build(np.zeros((21, 7)), np.arange(21))
    assert (mask == aa.ATOM14_MASK).all()
    gap = np.linalg.norm(xyz - xyz[:, aa.SLOT_CA, None], axis=-1)
    assert gap[~mask].max() == 0.0


def test_geometry_table_covers_every_atom() -> None:
    ideal = ideal_geometry()
    lengths = np.linalg.norm(ideal.local, axis=-1)
    assert (lengths[aa.ATOM14_MASK][np.r_[0]] > 0).all()
    assert ((lengths > 0) | ~aa.ATOM14_MASK | (np.arange(14) == aa.SLOT_CA)).all()
    assert ideal.peptide["bond"] == pytest.approx(1.33, abs=0.01)
