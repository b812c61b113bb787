"""The search over candidates, against trying every combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bindrae.chem import residues as aa
from bindrae.prediction.energies import Energies, candidate_energies
from bindrae.prediction.obstacles import Obstacles
from bindrae.prediction.search import best_combination, sample_arrangements


def random_energies(seed: int, residues: int = 6) -> Energies:
    """Residues of one to four candidates, most pairs of them joined."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, residues)
    first = np.append(0, np.cumsum(counts))
    pairs = {
        (i, j): rng.exponential(1.0, (counts[i], counts[j])) * (rng.random((counts[i], counts[j])) < 0.5)
        for i, j in itertools.combinations(range(residues), 2)
        if rng.random() < 0.7
    }
    return Energies(first, rng.normal(0, 1.5, first[-1]), pairs)


def every_arrangement(energies: Energies) -> tuple[np.ndarray, np.ndarray]:
    """All arrangements [S, 6] and their energies [S]."""
    counts = np.diff(energies.first)
    states = np.array(list(itertools.product(*map(range, counts))))
    total = energies.alone[energies.first[:-1] + states].sum(1)
    for (i, j), table in energies.pairs.items():
        total = total + table[states[:, i], states[:, j]]
    return states, total


@pytest.mark.parametrize("seed", range(8))
def test_the_best_combination_is_found(seed: int) -> None:
    energies = random_energies(seed)
    states, total = every_arrangement(energies)
    found = best_combination(energies)
    assert total[(states == found).all(1)][0] == pytest.approx(total.min())


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_come_as_often_as_their_cost_says(temperature: float) -> None:
    energies = random_energies(3)
    states, total = every_arrangement(energies)
    weight = np.exp((total.min() - total) / temperature)
    weight /= weight.sum()
    exact = np.concatenate([np.bincount(states[:, r], weight, n) for r, n in enumerate(np.diff(energies.first))])
    start = best_combination(energies)
    seen = np.zeros(len(exact))
    for i in range(600):
        seen[energies.first[:-1] + sample_arrangements(energies, start, np.random.default_rng(i), temperature)] += 1
    assert np.abs(seen / 600 - exact).max() < 0.08


def test_a_residue_that_touches_nothing_has_the_models_probabilities() -> None:
    p = np.array([0.7, 0.2, 0.1])
    energies = Energies(np.array([0, 3, 4]), np.append(-np.log(p), 0.0), {})
    draws = [sample_arrangements(energies, np.array([0, 0]), np.random.default_rng(i)) for i in range(2000)]
    assert np.abs(np.bincount([state[0] for state in draws], minlength=3) / 2000 - p).max() < 0.04
    assert {int(state[1]) for state in draws} == {0}


def test_the_best_arrangement_is_never_worse_than_a_descent() -> None:
    better = 0
    for seed in range(10):
        energies = random_energies(seed, residues=40)
        alone, beside = energies.by_residue()
        state = np.array([int(np.argmin(energy)) for energy in alone])
        for _ in range(10):
            for r, energy in enumerate(alone):
                field = energy.copy()
                for q, table in beside[r].items():
                    field += table[:, state[q]]
                state[r] = int(np.argmin(field))
        found = energies.total(best_combination(energies, seed))
        assert found <= energies.total(state) + 1e-9
        better += found < energies.total(state) - 1e-9
    assert better >= 3  # it does more than that


def test_an_atom_of_the_ligand_costs_what_one_of_the_protein_does() -> None:
    """At the same place, with the same radius."""
    slot = aa.SLOT_CB + 1
    kind, none = np.full(2, aa.TYPE_OF_NAME["SER"]), np.zeros(2, dtype=bool)
    mask = np.zeros((3, aa.N_SLOTS), dtype=bool)
    mask[:, slot] = True
    place, far = np.array([0.0, 0.0, 2.2]), np.array([0.0, 40.0, 0.0])

    def cost(other: np.ndarray, ligand: np.ndarray) -> float:
        """Of the first of two equal candidates of a serine, at the origin; the second stands free."""
        xyz = np.zeros((3, aa.N_SLOTS, 3))
        xyz[1:, slot] = -far, other
        obstacles = Obstacles(ligand[None], np.array([aa.ATOM14_RADIUS[kind[0], slot]]))
        log_p = np.log([0.5, 0.5, 1.0])
        found = candidate_energies(xyz, mask, np.array([0, 0, 1]), log_p, kind, none, obstacles, 10.0)
        return float(found.alone[0] - found.alone[1])

    beside_protein, beside_ligand = cost(place, far), cost(far, place)
    assert beside_protein > 1
    assert beside_ligand == pytest.approx(beside_protein)
