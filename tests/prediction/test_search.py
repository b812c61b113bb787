"""The search over candidates, against trying every combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bindrae.prediction.search import Energies, best_combination, sample_arrangements


def random_energies(seed: int) -> Energies:
    """Six residues of one to four candidates, most pairs of them joined."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, 6)
    first = np.append(0, np.cumsum(counts))
    pairs = {
        (i, j): rng.exponential(1.0, (counts[i], counts[j])) * (rng.random((counts[i], counts[j])) < 0.5)
        for i, j in itertools.combinations(range(6), 2)
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
def test_probabilities_are_those_of_all_arrangements(temperature: float) -> None:
    energies = random_energies(3)
    states, total = every_arrangement(energies)
    weight = np.exp((total.min() - total) / temperature)
    weight /= weight.sum()
    exact = np.concatenate([np.bincount(states[:, r], weight, n) for r, n in enumerate(np.diff(energies.first))])
    start = best_combination(energies)
    draws = [sample_arrangements(energies, start, np.random.default_rng(i), temperature) for i in range(150)]
    assert np.abs(np.mean([p for p, _ in draws], axis=0) - exact).max() < 0.03
    seen = np.zeros(len(exact))
    for _, state in draws:
        seen[energies.first[:-1] + state] += 1 / len(draws)
    assert np.abs(seen - exact).max() < 0.15


def test_a_residue_that_touches_nothing_has_the_models_probabilities() -> None:
    p = np.array([0.7, 0.2, 0.1])
    energies = Energies(np.array([0, 3, 4]), np.append(-np.log(p), 0.0), {})
    probability, _ = sample_arrangements(energies, np.array([0, 0]), np.random.default_rng(0))
    assert np.allclose(probability, [*p, 1.0])
