"""Energies of candidate side chains, alone and in pairs.

Energies are in nats: minus the logarithm of the model's probability, plus what atoms too close to each other cost.
Candidates of a residue share atoms, since they branch at one chi after the other: what an atom touches is found once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.prediction import overlap as ov
from bindrae.prediction.obstacles import Obstacles

_MOST_OVERLAP = 1.2  # a deeper overlap costs no more (A): one hopeless contact must not decide alone
_DISULFIDE_GAIN, _DISULFIDE_WIDTH = 4.0, 0.4  # nats, A
_BOND_WEIGHT = 250.0  # of a stated bond 1 A too long or too short (nats): 0.2 A outweigh what the model finds unlikely
_FIRST_MOVING = aa.SLOT_CB + 1
_SAME = 1e-4  # atoms of one residue and slot whose coordinates differ by no more are one (A)


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


@dataclass
class _Moving:
    """The U atoms of all candidates that move, those which candidates share once."""

    row: np.ndarray  # [U]
    slot: np.ndarray  # [U]
    xyz: np.ndarray  # [U, 3] angstrom
    of: csr_matrix  # [V, U] 1 where a candidate has the atom


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
    first = np.searchsorted(row, np.arange(len(aatype) + 1))
    single = (np.diff(first) == 1)[row]
    moves = mask & ~single[:, None] & (np.arange(aa.N_SLOTS) >= _FIRST_MOVING)
    stands = mask & ~moves
    stands[np.setdiff1d(np.arange(len(row)), first[:-1])] = False  # the backbone counts once
    moving = _distinct(xyz, moves, row)
    sv, ss = np.nonzero(stands)

    of_atom = np.zeros(len(moving.row))
    i, j, d = ov.close_pairs(moving.xyz, xyz[sv, ss], ov.REACH)
    cost = _cost(d, moving.row[i], moving.slot[i], row[sv[j]], ss[j], aatype, linked, weight)
    of_atom += np.bincount(i, cost, len(of_atom))
    organic = obstacles.organic()
    i, j, d = ov.close_pairs(moving.xyz, organic.xyz, ov.LIGAND_REACH)
    near = ov.overlap(d, aa.ATOM14_RADIUS[aatype[moving.row[i]], moving.slot[i]], organic.radius[j])
    near *= organic.may_clash(moving.row[i], moving.slot[i], j, aatype)
    of_atom += np.bincount(i, _penalty(near, weight), len(of_atom))
    alone = moving.of @ of_atom - log_p + _inside(xyz, moves, aatype[row], weight)
    for bond in organic.bonds:
        own = slice(first[bond.row], first[bond.row + 1])
        length = np.linalg.norm(xyz[own, bond.slot] - organic.xyz[bond.atom], axis=1)
        alone[own] += _BOND_WEIGHT * bond.miss(length) ** 2
    return Energies(first, alone, _tables(_between(moving, aatype, linked, weight), row, first))


def _distinct(xyz: np.ndarray, moves: np.ndarray, row: np.ndarray) -> _Moving:
    candidate, slot = np.nonzero(moves)
    at = xyz[candidate, slot]
    label = row[candidate] * aa.N_SLOTS + slot
    # One number an atom, by which the same ones come together; what it has no room for is compared after.
    steps = np.rint(at / _SAME).astype(np.int64) & (1 << 17) - 1
    code = (label << 51) | (steps[:, 0] << 34) | (steps[:, 1] << 17) | steps[:, 2]
    order = np.argsort(code, kind="stable")
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(code[order]) != 0) | (np.diff(label[order]) != 0)
    new[1:] |= (np.abs(np.diff(at[order], axis=0)) > _SAME).any(1)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    kept = order[new]
    of = csr_matrix((np.ones(len(number)), (candidate, number)), (len(row), len(kept)))
    return _Moving(row[candidate[kept]], slot[kept], at[kept], of)


def _inside(xyz: np.ndarray, moves: np.ndarray, kind: np.ndarray, weight: float) -> np.ndarray:
    """[V] what the moving atoms of each candidate cost among themselves; `kind` [V] is the type of each."""
    cost = np.zeros(len(kind))
    for one in np.unique(kind).tolist():
        own = np.flatnonzero(kind == one)
        for a, b in ov.pairs_inside(one):
            if a < _FIRST_MOVING or b < _FIRST_MOVING:
                continue
            d = np.linalg.norm(xyz[own, a] - xyz[own, b], axis=1)
            near = ov.overlap(d, aa.ATOM14_RADIUS[one, a], aa.ATOM14_RADIUS[one, b]) * (moves[own, a] & moves[own, b])
            cost[own] += _penalty(near, weight)
    return cost


def _between(moving: _Moving, aatype: np.ndarray, linked: np.ndarray, weight: float) -> csr_matrix:
    """[V, V] what candidates cost beside those of later residues."""
    count = len(moving.row)
    found = (
        np.zeros((0, 2), np.int64) if not count else cKDTree(moving.xyz).query_pairs(ov.REACH, output_type="ndarray")
    )
    i, j = found[moving.row[found[:, 0]] != moving.row[found[:, 1]]].T
    later = moving.row[i] > moving.row[j]
    i, j = np.where(later, j, i), np.where(later, i, j)
    d = np.linalg.norm(moving.xyz[i] - moving.xyz[j], axis=1)
    cost = _cost(d, moving.row[i], moving.slot[i], moving.row[j], moving.slot[j], aatype, linked, weight)
    counts = cost != 0
    return moving.of @ csr_matrix((cost[counts], (i[counts], j[counts])), (count, count)) @ moving.of.T


def _penalty(overlap: np.ndarray, weight: float) -> np.ndarray:
    """Nats for overlaps (A)."""
    return np.asarray(weight * np.minimum(overlap, _MOST_OVERLAP) ** 2)


def _cost(
    d: np.ndarray, ri: np.ndarray, si: np.ndarray, rj: np.ndarray, sj: np.ndarray, aatype: np.ndarray,
    linked: np.ndarray, weight: float,
) -> np.ndarray:  # fmt: skip
    near = ov.overlap(d, aa.ATOM14_RADIUS[aatype[ri], si], aa.ATOM14_RADIUS[aatype[rj], sj])
    cost = _penalty(near, weight) * ov.may_clash(ri, si, rj, sj, aatype, linked)
    bridge = (aatype[ri] == ov.CYS) & (aatype[rj] == ov.CYS) & (si == ov.SG) & (sj == ov.SG) & (ri != rj)
    gain = _DISULFIDE_GAIN * np.exp(-(((d - ov.DISULFIDE_ANGSTROM) / _DISULFIDE_WIDTH) ** 2))
    return np.asarray(np.where(bridge, -gain, cost))


def _tables(between: csr_matrix, row: np.ndarray, first: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    found = between.tocoo()
    if not found.nnz:
        return {}
    vi, vj, cost = found.row, found.col, found.data
    n = len(first)
    code = row[vi] * n + row[vj]
    order = np.argsort(code, kind="stable")
    code, vi, vj, cost = code[order], vi[order], vj[order], cost[order]
    starts = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    pairs: dict[tuple[int, int], np.ndarray] = {}
    for start, stop in zip(starts.tolist(), np.append(starts[1:], len(code)).tolist(), strict=True):
        r, q = divmod(int(code[start]), n)
        table = np.zeros((first[r + 1] - first[r], first[q + 1] - first[q]))
        table[vi[start:stop] - first[r], vj[start:stop] - first[q]] = cost[start:stop]
        pairs[r, q] = table
    return pairs
