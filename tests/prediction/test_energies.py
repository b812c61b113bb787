"""Energies of candidates and of pairs of them, beside a sum over all pairs of atoms of an arrangement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bindrae.chem import residues as aa
from bindrae.prediction import overlap as ov
from bindrae.prediction.energies import Energies, candidate_energies
from bindrae.prediction.obstacles import Obstacles

KINDS = [aa.TYPE_OF_NAME[name] for name in ("ARG", "ALA", "PHE", "MET", "ARG")]
CANDIDATES = (4, 1, 3, 1, 4)
LINKED = np.array([True, True, False, True, False])
WEIGHT = 10.0


def crowd(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Obstacles]:
    """Residues in a small box, pairs of whose candidates share their first side-chain atoms."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(KINDS)), CANDIDATES)
    xyz = np.empty((len(row), aa.N_SLOTS, 3))
    for r in range(len(KINDS)):
        own = np.flatnonzero(row == r)
        xyz[own] = rng.uniform(0, 7.0, (aa.N_SLOTS, 3))  # the backbone is one
        xyz[own, 5:] = rng.uniform(0, 7.0, (len(own), aa.N_SLOTS - 5, 3))
        xyz[own[1::2], 5:8] = xyz[own[: len(own) - 1 : 2], 5:8]
    mask = aa.ATOM14_MASK[np.array(KINDS)][row]
    obstacles = Obstacles(rng.uniform(0, 7.0, (3, 3)), np.array([1.7, 1.52, 0.0]))
    return xyz, mask, row, rng.normal(-2.0, 1.0, len(row)), obstacles


def energies_of(seed: int, shift: float = 0.0) -> Energies:
    xyz, mask, row, log_p, obstacles = crowd(seed)
    moved = Obstacles(obstacles.xyz + shift, obstacles.radius)
    return candidate_energies(xyz + shift, mask, row, log_p, np.array(KINDS), LINKED, moved, WEIGHT)


def by_atoms(seed: int, state: tuple[int, ...]) -> float:
    """Energy of an arrangement less what backbones cost among each other, one pair of atoms after the other."""
    xyz, mask, _, log_p, obstacles = crowd(seed)
    kind, chosen = np.array(KINDS), np.append(0, np.cumsum(CANDIDATES))[:-1] + state
    moves = np.array(CANDIDATES) > 1
    atoms = [(r, s) for r in range(len(KINDS)) for s in np.flatnonzero(mask[chosen[r]])]
    total = -log_p[chosen].sum()

    def cost(distance: float, reach: float) -> float:
        return WEIGHT * min(1.2, max(0.0, reach - 0.5 - distance)) ** 2

    for (r, s), (q, t) in itertools.combinations(atoms, 2):
        if not any(moves[i] and slot > aa.SLOT_CB for i, slot in ((r, s), (q, t))):
            continue
        if ov.may_clash(*(np.array([x]) for x in (r, s, q, t)), kind, LINKED)[0]:
            reach = aa.ATOM14_RADIUS[kind[r], s] + aa.ATOM14_RADIUS[kind[q], t]
            total += cost(float(np.linalg.norm(xyz[chosen[r], s] - xyz[chosen[q], t])), reach)
    for (r, s), a in itertools.product(atoms, range(2)):  # the third is a metal
        if moves[r] and s > aa.SLOT_CB:
            distance = float(np.linalg.norm(xyz[chosen[r], s] - obstacles.xyz[a]))
            total += cost(distance, aa.ATOM14_RADIUS[kind[r], s] + obstacles.radius[a])
    return float(total)


@pytest.mark.parametrize("seed", range(4))
def test_the_energy_of_an_arrangement_is_the_sum_over_its_pairs_of_atoms(seed: int) -> None:
    energies = energies_of(seed)
    totals = []
    for state in itertools.product(*map(range, CANDIDATES)):
        totals.append(by_atoms(seed, state))
        assert energies.total(np.array(state)) == pytest.approx(totals[-1], rel=1e-6)  # radii are of single precision
    assert np.ptp(totals) > 5


def test_atoms_of_many_residues_far_away_are_not_taken_for_each_other() -> None:
    """Coordinates that repeat within the few bits that tell an atom from others of its residue."""
    near, far = energies_of(1), energies_of(1, shift=(1 << 17) * 1e-4 * 40)
    assert far.alone == pytest.approx(near.alone, abs=1e-9)
    assert near.pairs.keys() == far.pairs.keys() == {(0, 2), (0, 4), (2, 4)}


def test_equal_places_are_shared_and_nearly_equal_ones_are_not() -> None:
    xyz, mask, row, log_p, obstacles = crowd(2)
    found = candidate_energies(xyz, mask, row, log_p, np.array(KINDS), LINKED, obstacles, WEIGHT)
    xyz[1, 5:8] += 0.02  # a candidate that shared these with another
    apart = candidate_energies(xyz, mask, row, log_p, np.array(KINDS), LINKED, obstacles, WEIGHT)
    changed = np.flatnonzero(np.abs(apart.alone - found.alone) > 1e-9)
    assert changed.tolist() == [1]
    for pair, table in found.pairs.items():
        differs = (np.abs(apart.pairs[pair] - table).max(1) > 1e-9).tolist()
        assert differs == [pair[0] == 0 and place == 1 for place in range(len(table))]
