"""The best combination of candidate side chains: energies of candidates and of pairs of them, then a search.

Energies are in nats: minus the logarithm of the model's probability, plus what atoms too close to each other cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.prediction import overlap as ov
from bindrae.prediction.obstacles import Obstacles

_TEMPERATURES = tuple(np.geomspace(3.0, 0.1, 12).tolist())  # of the annealing sweeps (nats)
_SWEEPS = 12  # of the sampling
_MOST_OVERLAP = 1.2  # a deeper overlap costs no more (A): one hopeless contact must not decide alone
_DISULFIDE_GAIN, _DISULFIDE_WIDTH = 4.0, 0.4  # nats, A
_BOND_WEIGHT = 250.0  # of a stated bond 1 A too long or too short (nats): 0.2 A outweigh what the model finds unlikely
_FIRST_MOVING = aa.SLOT_CB + 1
_LEAST_WORSE = 1e-9  # nats


@dataclass
class Energies:
    """Energies of V candidates (nats); residue r has the candidates ``first[r]`` to ``first[r + 1]``."""

    first: np.ndarray  # [N + 1] int64
    alone: np.ndarray  # [V]
    pairs: dict[tuple[int, int], np.ndarray]  # rows i < j to [K_i, K_j]

    def total(self, state: np.ndarray) -> float:
        """Energy of an arrangement: `state` [N] holds the place of each residue's candidate."""
        pairs = sum(float(table[state[r], state[q]]) for (r, q), table in self.pairs.items())
        return float(self.alone[self.first[:-1] + state].sum()) + pairs

    def by_residue(self) -> tuple[list[np.ndarray], list[dict[int, np.ndarray]]]:
        """Energies of each residue's candidates alone, and its tables [own, other] by the other residue."""
        n = len(self.first) - 1
        alone = [self.alone[self.first[r] : self.first[r + 1]] for r in range(n)]
        beside: list[dict[int, np.ndarray]] = [{} for _ in range(n)]
        for (r, q), table in self.pairs.items():
            beside[r][q], beside[q][r] = table, table.T
        return alone, beside


def candidate_energies(
    xyz: np.ndarray, mask: np.ndarray, row: np.ndarray, log_p: np.ndarray, aatype: np.ndarray, linked: np.ndarray,
    obstacles: Obstacles, weight: float,
) -> Energies:  # fmt: skip
    """Energies of candidates against what stands still, and of pairs of candidates.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [V, 14, 3] (A) and [V, 14] atoms of each candidate, the backbone among them.
    row : numpy.ndarray
        [V] residue of each candidate, from 0, non-decreasing, every residue at least once.
    log_p : numpy.ndarray
        [V] logarithm of its probability.
    aatype, linked : numpy.ndarray
        [N].
    obstacles : Obstacles
        Stated bonds cost what they are too long or too short, whatever the weight of overlaps.
    weight : float
        Cost of an overlap of 1 A (nats); grows with its square.
    """
    n = len(aatype)
    first = np.searchsorted(row, np.arange(n + 1))
    single = (np.diff(first) == 1)[row]
    moves = mask & ~single[:, None] & (np.arange(aa.N_SLOTS) >= _FIRST_MOVING)
    stands = mask & ~moves
    stands[np.setdiff1d(np.arange(len(row)), first[:-1])] = False  # the backbone counts once
    mv, ms = np.nonzero(moves)
    sv, ss = np.nonzero(stands)
    a, b = xyz[mv, ms], xyz[sv, ss]
    alone = -log_p.astype(np.float64)

    i, j, d = ov.close_pairs(a, b, ov.REACH)
    cost = _cost(d, row[mv[i]], ms[i], row[sv[j]], ss[j], aatype, linked, weight)
    alone += np.bincount(mv[i], cost, len(row))
    organic = obstacles.organic()
    i, j, d = ov.close_pairs(a, organic.xyz, ov.LIGAND_REACH)
    near = ov.overlap(d, aa.ATOM14_RADIUS[aatype[row[mv[i]]], ms[i]], organic.radius[j])
    near *= organic.may_clash(row[mv[i]], ms[i], j, aatype)
    alone += np.bincount(mv[i], weight * np.minimum(near, _MOST_OVERLAP) ** 2, len(row))
    for bond in organic.bonds:
        own = slice(first[bond.row], first[bond.row + 1])
        length = np.linalg.norm(xyz[own, bond.slot] - organic.xyz[bond.atom], axis=1)
        alone[own] += _BOND_WEIGHT * bond.miss(length) ** 2

    if not len(a):
        return Energies(first, alone, {})
    pairs = cKDTree(a).query_pairs(ov.REACH, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    vi, vj = mv[i], mv[j]
    wanted = (row[vi] != row[vj]) | (vi == vj)  # two candidates of one residue never stand together
    i, j, vi, vj = i[wanted], j[wanted], vi[wanted], vj[wanted]
    d = np.linalg.norm(a[i] - a[j], axis=1)
    cost = _cost(d, row[vi], ms[i], row[vj], ms[j], aatype, linked, weight)
    inside = vi == vj
    alone += np.bincount(vi[inside], cost[inside], len(row))
    counts = cost != 0
    counts &= ~inside
    return Energies(first, alone, _tables(vi[counts], vj[counts], cost[counts], row, first))


def _cost(
    d: np.ndarray, ri: np.ndarray, si: np.ndarray, rj: np.ndarray, sj: np.ndarray, aatype: np.ndarray,
    linked: np.ndarray, weight: float,
) -> np.ndarray:  # fmt: skip
    near = ov.overlap(d, aa.ATOM14_RADIUS[aatype[ri], si], aa.ATOM14_RADIUS[aatype[rj], sj])
    cost = weight * np.minimum(near, _MOST_OVERLAP) ** 2 * ov.may_clash(ri, si, rj, sj, aatype, linked)
    bridge = (aatype[ri] == ov.CYS) & (aatype[rj] == ov.CYS) & (si == ov.SG) & (sj == ov.SG) & (ri != rj)
    gain = _DISULFIDE_GAIN * np.exp(-(((d - ov.DISULFIDE_ANGSTROM) / _DISULFIDE_WIDTH) ** 2))
    return np.asarray(np.where(bridge, -gain, cost))


def _tables(
    vi: np.ndarray, vj: np.ndarray, cost: np.ndarray, row: np.ndarray, first: np.ndarray
) -> dict[tuple[int, int], np.ndarray]:
    if not len(vi):
        return {}
    swap = row[vi] > row[vj]
    vi, vj = np.where(swap, vj, vi), np.where(swap, vi, vj)
    n = len(first)
    code = row[vi] * n + row[vj]
    order = np.argsort(code, kind="stable")
    code, vi, vj, cost = code[order], vi[order], vj[order], cost[order]
    starts = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    pairs: dict[tuple[int, int], np.ndarray] = {}
    for start, stop in zip(starts.tolist(), np.append(starts[1:], len(code)).tolist(), strict=True):
        r, q = divmod(int(code[start]), n)
        table = np.zeros((first[r + 1] - first[r], first[q + 1] - first[q]))
        np.add.at(table, (vi[start:stop] - first[r], vj[start:stop] - first[q]), cost[start:stop])
        pairs[r, q] = table
    return pairs


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
