"""The best combination of candidate side chains, given the energies of all candidates and of pairs of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bindrae.prediction.energies import Energies

_TEMPERATURES = tuple(np.geomspace(3.0, 0.1, 12).tolist())  # of the annealing sweeps (nats)
_SWEEPS = 12  # of the sampling
_LEAST_WORSE = 1e-9  # nats


def best_combination(energies: Energies, seed: int = 0) -> np.ndarray:
    """One candidate for each residue such that the sum of all energies is low.

    Candidates that can be in no best combination go first (dead-end elimination: Goldstein, Biophys. J. 66, 1335,
    1994); what is left is annealed. The result is never worse than where a descent from the candidates that are best
    alone ends.

    Parameters
    ----------
    energies : Energies
    seed : int
        Of the annealing; the same seed gives the same answer.

    Returns
    -------
    numpy.ndarray
        [N] place of the chosen candidate among those of its residue.
    """
    alone, beside = energies.by_residue()
    alive = _eliminate(alone, beside)
    start = np.array([keep[np.argmin(alone[r][keep])] for r, keep in enumerate(alive)])
    rng = np.random.default_rng(seed)
    found = [_anneal(alone, beside, alive, start, temperatures, rng) for temperatures in ((), _TEMPERATURES)]
    return min(found, key=energies.total)


def _anneal(
    alone: list[np.ndarray], beside: list[dict[int, np.ndarray]], alive: list[np.ndarray], start: np.ndarray,
    temperatures: Sequence[float], rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Ask every undecided residue in turn, a sweep a temperature, then always for its best."""
    state = start.copy()
    undecided = [r for r, keep in enumerate(alive) if len(keep) > 1 and beside[r]]
    for temperature in (*temperatures, 0.0, 0.0, 0.0):
        for r in undecided:
            keep = alive[r]
            field = costs_in_place(alone[r], beside[r], state)
            if temperature:
                # The largest of Gumbel-perturbed energies is a draw from their Boltzmann distribution.
                field = field - temperature * rng.gumbel(size=len(field))
            state[r] = keep[np.argmin(field[keep])]
    return state


def costs_in_place(alone: np.ndarray, beside: dict[int, np.ndarray], state: np.ndarray) -> np.ndarray:
    """[K] costs of a residue's candidates with all others as they are arranged; see `Energies.by_residue`."""
    total = alone.copy()
    for q, table in beside.items():
        total += table[:, state[q]]
    return total


def sample_arrangements(
    energies: Energies, state: np.ndarray, rng: np.random.Generator, temperature: float = 1.0
) -> np.ndarray:
    """One arrangement drawn by its cost, by Gibbs sampling from a given one on.

    Parameters
    ----------
    energies : Energies
    state : numpy.ndarray
        [N] from `best_combination`.
    rng : numpy.random.Generator
    temperature : float
        1 takes the energies as they are; less, closer to the best arrangement.

    Returns
    -------
    numpy.ndarray
        [N] place of the drawn candidate among those of its residue.
    """
    alone, beside = energies.by_residue()
    state = state.copy()
    rows = [r for r, energy in enumerate(alone) if len(energy) > 1]
    for sweep in range(_SWEEPS):
        draws = rng.random(len(rows)).tolist()
        for r, draw in zip(rows, draws, strict=True):
            if sweep and not beside[r]:
                continue  # nothing that it depends on moves
            field = costs_in_place(alone[r], beside[r], state)
            p = np.exp((field.min() - field) / temperature)
            state[r] = min(int(np.searchsorted(np.cumsum(p), draw * p.sum())), len(p) - 1)
    return state


def _eliminate(alone: list[np.ndarray], beside: list[dict[int, np.ndarray]]) -> list[np.ndarray]:
    """Places of each residue's candidates that may be in the best combination."""
    alive = [_not_outdone(own, list(tables.values())) for own, tables in zip(alone, beside, strict=True)]
    open_rows = {r for r, keep in enumerate(alive) if len(keep) > 1}
    while open_rows:
        again: set[int] = set()
        for r in sorted(open_rows):
            keep = alive[r]
            if len(keep) < 2:
                continue
            # worse[a, b]: how much worse candidate a is than b at least, whatever the neighbours do.
            worse = alone[r][keep, None] - alone[r][None, keep]
            for q, table in beside[r].items():
                part = table[keep][:, alive[q]]
                worse = worse + (part[:, None] - part[None]).min(-1)
            gone = (worse > _LEAST_WORSE).any(1)
            if gone.any():
                alive[r] = keep[~gone]
                again |= {q for q in (*beside[r], r) if len(alive[q]) > 1}
        open_rows = again
    return alive


def _not_outdone(own: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    """Places of candidates that are not worse at their best than another one at its worst.

    The first criterion of dead-end elimination (Desmet et al., Nature 356, 539, 1992): it finds half of what
    Goldstein's finds, without comparing all pairs of candidates.
    """
    best, worst = own.copy(), own.copy()
    for table in tables if len(own) > 1 else []:
        best += table.min(1)
        worst += table.max(1)
    return np.flatnonzero(best <= worst.min() + _LEAST_WORSE)
