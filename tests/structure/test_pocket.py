"""The soft pocket mask against a slow, obvious one, and the backbone-only weight that must not see side chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bindrae.chem import residues as aa
from bindrae.config import PocketSettings
from bindrae.structure.context import nearest_ligand_distance
from bindrae.structure.pocket import pocket_of, pocket_weights, virtual_cb
from complexes import peptide, random_rotation


def random_complex(seed: int, n: int = 60, m: int = 9) -> tuple[np.ndarray, ...]:
    """A cloud of residues with missing atoms and breaks around a small ligand."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-18, 18, (n, 1, 3))
    xyz = (centre + rng.normal(0, 1.5, (n, aa.N_SLOTS, 3))).astype(np.float32)
    mask = rng.random((n, aa.N_SLOTS)) < 0.7
    mask[:, :3] = True
    xyz[~mask] = 0.0
    linked = np.append(rng.random(n - 1) < 0.8, False)
    return xyz, mask, linked, rng.normal(0, 2.5, (m, 3)).astype(np.float32)


def slow_weights(distance: list[float], linked: list[bool], settings: PocketSettings) -> list[float]:
    """Walk along the chain from each residue and look for a contact within the hops."""
    n = len(distance)
    raw = []
    for i in range(n):
        member = False
        for step in (-1, 1):
            j, left = i, settings.hops
            while True:
                member |= distance[j] <= settings.contact_angstrom
                bond = j if step == 1 else j - 1
                if not left or not 0 <= j + step < n or not linked[bond]:
                    break
                j, left = j + step, left - 1
        raw.append(math.exp(-(distance[i] ** 2) / (2 * settings.sigma_angstrom**2)) if member else 0.0)
    largest = max(raw)
    return [w / largest if largest else 0.0 for w in raw]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hops", [0, 1, 3])
def test_weights_equal_the_obvious_implementation(seed: int, hops: int) -> None:
    xyz, mask, linked, ligand = random_complex(seed)
    settings = PocketSettings(hops=hops, sigma_angstrom=3.0)
    distance = [
        min(math.dist(xyz[i, s], atom) for s in np.flatnonzero(mask[i]) for atom in ligand) for i in range(len(xyz))
    ]
    pocket = pocket_of(xyz, mask, linked, ligand, settings)
    assert np.allclose(pocket["w_res"], slow_weights(distance, list(linked), settings), atol=1e-5)
    assert np.array_equal(pocket["contact"], np.array(distance) <= settings.contact_angstrom)
    near = pocket["member"]
    assert np.allclose(pocket["distance"][near], np.array(distance)[near], atol=1e-4)
    assert 0 < pocket["contact"].sum() < len(xyz)


@given(arrays(np.float32, 12, elements=st.floats(0.5, 40, width=32)), arrays(bool, 12), st.integers(0, 4))
def test_weights_lie_in_the_unit_interval_and_peak_at_the_nearest(
    distance: np.ndarray, linked: np.ndarray, hops: int
) -> None:
    settings = PocketSettings(hops=hops)
    weights, contact, member = pocket_weights(distance, linked, settings)
    assert (member | ~contact).all()
    if contact.any():
        assert weights.max() == 1.0
        assert weights[np.argmin(distance)] == 1.0
    else:
        assert not weights.any()
        assert not member.any()
    assert (weights >= 0).all()
    assert not weights[~member].any()


def test_the_hop_stops_at_a_chain_break() -> None:
    distance = np.array([9, 9, 4, 9, 9], dtype=np.float32)
    linked = np.array([True, True, False, True, False])
    _, contact, member = pocket_weights(distance, linked, PocketSettings(hops=2))
    assert contact.tolist() == [False, False, True, False, False]
    assert member.tolist() == [True, True, True, False, False]


def test_residues_all_far_or_all_at_the_edge_give_no_nan() -> None:
    linked = np.ones(4, dtype=bool)
    for distance in (np.full(4, np.inf, np.float32), np.full(4, 100.0, np.float32)):
        weights, _, _ = pocket_weights(distance, linked, PocketSettings())
        assert not weights.any()
    # Far for a narrow decay: the ratios must survive where the plain exponential underflows.
    weights, _, _ = pocket_weights(
        np.array([5.0, 5.0, np.inf, np.inf], np.float32), linked, PocketSettings(sigma_angstrom=0.1)
    )
    assert weights.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_backbone_weight_does_not_see_side_chains(seed: int) -> None:
    xyz, mask, linked, ligand = random_complex(seed)
    rng = np.random.default_rng(seed)
    before = pocket_of(xyz, mask, linked, ligand, PocketSettings())
    scrambled, missing = xyz.copy(), mask.copy()
    scrambled[:, aa.SLOT_CB :] = rng.normal(0, 6, scrambled[:, aa.SLOT_CB :].shape)
    missing[:, aa.SLOT_CB :] = rng.random(missing[:, aa.SLOT_CB :].shape) < 0.5
    after = pocket_of(scrambled, missing, linked, ligand, PocketSettings())
    assert before["w_res_backbone"].tobytes() == after["w_res_backbone"].tobytes()
    assert before["w_res_backbone"].any()
    assert not np.array_equal(before["w_res"], after["w_res"])


def test_the_pocket_moves_with_the_complex() -> None:
    xyz, mask, linked, ligand = random_complex(3)
    rng = np.random.default_rng(0)
    turn, shift = random_rotation(rng), rng.normal(0, 100, 3)
    there = pocket_of(xyz, mask, linked, ligand, PocketSettings())
    moved = (xyz.astype(np.float64) @ turn.T + shift).astype(np.float32)
    here = pocket_of(moved, mask, linked, (ligand @ turn.T + shift).astype(np.float32), PocketSettings())
    for key in ("w_res", "w_res_backbone"):
        assert np.allclose(there[key], here[key], atol=1e-4), key
    assert np.array_equal(there["member"], here["member"])


def test_masked_atoms_and_the_box_do_not_change_distances() -> None:
    xyz, mask, _, ligand = random_complex(1)
    xyz[~mask] = ligand[0]  # what is masked must not count, wherever it stands
    exact = nearest_ligand_distance(xyz, mask, ligand, beyond=1000.0)
    boxed = nearest_ligand_distance(xyz, mask, ligand, beyond=6.0)
    assert np.isfinite(exact).all()
    assert np.array_equal(boxed[exact <= 6.0], exact[exact <= 6.0])
    assert (boxed >= exact).all()
    assert np.isinf(boxed).any()


def test_virtual_cb_stands_where_the_l_residue_has_it() -> None:
    atoms = peptide("AVL")
    backbone = np.array([[a.xyz for a in atoms if a.number == i and a.name in ("N", "CA", "C")] for i in (1, 2, 3)])
    beta = np.array([a.xyz for a in atoms if a.name == "CB"])
    assert np.abs(virtual_cb(backbone) - beta).max() < 0.05
    mirrored = virtual_cb(backbone * (1, 1, -1))
    assert np.linalg.norm(mirrored - beta * (1, 1, -1), axis=1).min() > 1.0
