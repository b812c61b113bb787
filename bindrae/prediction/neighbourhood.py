"""What stands around the atoms of candidate side chains: kinds, distances, and which way both atoms point.

The direction of an atom is away from what it is bonded to. With it the angles of a hydrogen bond can be told without
hydrogens: that at the donor from where its bonds leave room, that at the acceptor likewise (as in the orientation-
dependent hydrogen bonding potential of Kortemme, Morozov & Baker, J. Mol. Biol. 326, 1239, 2003). A side chain that is
not sure to be where it is stands in all its likely places at once, each with its probability, as in self-consistent
mean fields (Koehl & Delarue, J. Mol. Biol. 239, 249, 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.sparse import coo_matrix

from bindrae.chem import residues as aa
from bindrae.prediction.kinds import KINDS, SIDE_KINDS, atom_kinds
from bindrae.prediction.obstacles import Obstacles
from bindrae.prediction.overlap import close_pairs

REACH = 5.5
"""Of an atom's surroundings (A)."""
NEAREST = 2.5
"""Distances below are taken for this one (A)."""
SURE = 0.8
"""Probability of its candidate from which a side chain is taken to stand where it is."""
PER_ANGSTROM = 16.0
"""Steps to the angstrom in which `Near` keeps how distances grow."""
RARE = 0.1
"""Probability below which a candidate of another side chain stands nowhere."""

MOLECULE_KINDS = (
    "flat C", "other C", "N of two bonds", "N of three bonds", "end O", "inner O", "S or P", "other element", "metal",
)  # fmt: skip
CHANNELS = (
    *KINDS, *(f"perhaps {kind}" for kind in SIDE_KINDS), *(f"molecule: {kind}" for kind in MOLECULE_KINDS)
)  # fmt: skip
"""Kinds of atoms around, told apart by whether a side chain is sure to be there, and finer for other molecules."""

_FLAT = 1.45  # mean length of a carbon's bonds below which it is taken for aromatic or double bonded (A)
_NO_DIRECTION = 0.05  # an atom this close to the mean of its partners points nowhere (A)


@dataclass
class Standing:
    """B atoms that candidates may come near."""

    xyz: np.ndarray  # [B, 3] angstrom
    channel: np.ndarray  # [B] index into `CHANNELS`
    direction: np.ndarray  # [B, 3] unit vector away from what it is bonded to, or 0
    weight: np.ndarray  # [B] probability to be there
    row: np.ndarray  # [B] residue, -1 for other molecules

    @classmethod
    def joined(cls, parts: list[Standing]) -> Standing:
        """All atoms of several."""
        names = ("xyz", "channel", "direction", "weight", "row")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass
class Near:
    """A moving atoms of candidates, and the P atoms near them; in small numbers, since a fit keeps them all."""

    candidate: np.ndarray  # [A] int32, non-decreasing
    atom: np.ndarray  # [A] int16 number of the moving atom, see `kinds.atom_kinds`
    first: np.ndarray  # [A + 1] int64 first of its neighbours, and where the last one's end
    channel: np.ndarray  # [P] uint8 index into `CHANNELS`
    distance: np.ndarray  # [P] uint8, 0 at `NEAREST` and below, 255 at `REACH`
    own_cosine: np.ndarray  # [P] int8, 127 times the cosine between the atom's direction and the way to the other
    other_cosine: np.ndarray  # [P] int8, the same at the other atom
    weight: np.ndarray  # [P] uint8, 255 times the probability that it is there
    approach: np.ndarray | None = None  # [P, 4] int8, `PER_ANGSTROM` times what the distance grows with each chi


def protein_directions(xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray) -> np.ndarray:
    """[V, 14, 3] unit vectors away from the mean of the bonded atoms of the same residue; 0 where there is none.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [V, 14, 3] (A) and [V, 14].
    aatype : numpy.ndarray
        [V].
    """
    bonded = _bonded()[aatype] * mask[:, None, :]
    count = bonded.sum(-1, keepdims=True)
    return _unit((xyz - bonded @ xyz / np.maximum(count, 1.0)) * (count > 0))


def chain_directions(xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """`protein_directions` of a chain: at peptide bonds N and C see each other as well.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    aatype, linked : numpy.ndarray
        [N] types, and whether there is a peptide bond to the next row.
    """
    found = protein_directions(xyz, mask, aatype)
    before = np.flatnonzero(linked[:-1])
    n, ca, c, o = (xyz[:, slot] for slot in range(4))
    found[before + 1, 0] = _unit(n[before + 1] - (ca[before + 1] + c[before]) / 2)
    found[before, 2] = _unit(c[before] - (ca[before] + o[before] + n[before + 1]) / 3)
    return found


def standing_protein(
    arranged: np.ndarray, xyz: np.ndarray, direction: np.ndarray, mask: np.ndarray, row: np.ndarray,
    chosen: np.ndarray, probability: np.ndarray, aatype: np.ndarray, linked: np.ndarray,
) -> Standing:  # fmt: skip
    """Atoms of the chain: backbones, side chains that are sure, and all likely candidates of those that are not.

    Parameters
    ----------
    arranged : numpy.ndarray
        [N, 14, 3] atoms of each residue as it is arranged (A).
    xyz, direction, mask : numpy.ndarray
        [V, 14, 3] atoms of each candidate (A), their directions, and [V, 14] which there are.
    row, probability : numpy.ndarray
        [V] residue of each, and how likely it is among those of its residue.
    chosen : numpy.ndarray
        [N] candidate of each residue as it is arranged.
    aatype, linked : numpy.ndarray
        [N] types, and whether there is a peptide bond to the next row.
    """
    kind, sure = atom_kinds()[0], probability[chosen] >= SURE
    points = chain_directions(arranged, mask[chosen], aatype, linked)
    moves = np.arange(aa.N_SLOTS) > aa.SLOT_CB
    r, slot = np.nonzero(mask[chosen] & (sure[:, None] | ~moves))
    there = Standing(arranged[r, slot], kind[aatype[r], slot], points[r, slot], np.ones(len(r)), r)
    v, slot = np.nonzero(mask & (~sure[row] & (probability >= RARE))[:, None] & moves)
    channel = kind[aatype[row[v]], slot] + len(KINDS)
    perhaps = Standing(xyz[v, slot], channel, direction[v, slot], probability[v], row[v])
    return Standing.joined([there, perhaps])


def standing_molecules(obstacles: Obstacles) -> Standing:
    """Atoms of the ligand and of other molecules, metals among them.

    What an atom is bonded to follows from distances: more than element, place and the input's bonds is not asked for.
    """
    xyz, radius = obstacles.xyz, obstacles.radius
    count = len(radius)
    i, j, length = obstacles.bonded_pairs()
    degree = np.bincount(i, minlength=count)
    partners = np.stack([np.bincount(i, xyz[j, axis], count) for axis in range(3)], axis=1)
    mean_length = np.bincount(i, length, count) / np.maximum(degree, 1)
    away = (xyz - partners / np.maximum(degree, 1)[:, None]) * (degree > 0)[:, None]

    def is_element(symbol: str) -> np.ndarray:
        return np.abs(radius - aa.BONDI_RADII[symbol]) < 5e-3

    # By name, the first that holds.
    rules = {
        "metal": radius <= 0,
        "flat C": is_element("C") & (degree > 0) & (mean_length < _FLAT),
        "other C": is_element("C"),
        "N of two bonds": is_element("N") & (degree <= 2),
        "N of three bonds": is_element("N"),
        "end O": is_element("O") & (degree <= 1),
        "inner O": is_element("O"),
        "S or P": is_element("S"),
    }
    names = [MOLECULE_KINDS.index(name) for name in rules]
    kind = np.select(list(rules.values()), names, MOLECULE_KINDS.index("other element"))
    channel = len(CHANNELS) - len(MOLECULE_KINDS) + kind
    return Standing(xyz, channel, _unit(away), np.ones(count), np.full(count, -1))


def find_near(
    xyz: np.ndarray, direction: np.ndarray, mask: np.ndarray, row: np.ndarray, aatype: np.ndarray, standing: Standing,
    arms: np.ndarray | None = None,
) -> Near:  # fmt: skip
    """The surroundings of each moving atom of candidates, their own residues apart.

    Parameters
    ----------
    xyz, direction, mask : numpy.ndarray
        [V, 14, 3] atoms of each candidate (A), their directions, and [V, 14] which there are.
    row : numpy.ndarray
        [V] residue of each.
    aatype : numpy.ndarray
        [N].
    standing : Standing
    arms : numpy.ndarray, optional
        [V, 14, 4, 3] of `levers.lever_arms` (A / radian); then what distances grow with each chi is found as well.
    """
    atom_of = atom_kinds()[1]
    candidate, slot = np.nonzero(mask & (atom_of[aatype[row]] >= 0))
    at, points = xyz[candidate, slot], direction[candidate, slot]
    i, j, distance = close_pairs(at, standing.xyz, REACH)
    other = standing.row[j] != row[candidate[i]]
    shape = (len(candidate), max(1, len(standing.row)))
    # Sorted by atom: much faster than by a sort, of which nothing more is asked.
    pairs = coo_matrix((distance[other].astype(np.float32), (i[other], j[other])), shape)
    pairs.has_canonical_format = True  # no pair is there twice
    table = pairs.tocsr()
    counts, j, distance = np.diff(table.indptr), table.indices, table.data
    own_cosine, other_cosine = np.zeros((2, len(j)), np.float32)
    approach = None if arms is None else np.zeros((len(j), aa.N_CHI), np.float32)
    for axis in range(3):  # one coordinate at a time: several times faster than rows of three
        way = standing.xyz[:, axis].astype(np.float32)[j] - np.repeat(at[:, axis].astype(np.float32), counts)
        own_cosine += way * np.repeat(points[:, axis].astype(np.float32), counts)
        other_cosine -= way * standing.direction[:, axis].astype(np.float32)[j]
        if arms is not None and approach is not None:
            approach -= way[:, None] * np.repeat(arms[candidate, slot, :, axis].astype(np.float32), counts, axis=0)
    scale = 127.0 / np.maximum(distance, 1e-3)
    return Near(
        candidate.astype(np.int32),
        atom_of[aatype[row[candidate]], slot].astype(np.int16),
        table.indptr.astype(np.int64),
        standing.channel.astype(np.uint8)[j],
        in_bytes(distance),
        _cosine_in_bytes(own_cosine * scale),
        _cosine_in_bytes(other_cosine * scale),
        np.rint(255 * standing.weight).astype(np.uint8)[j],
        None if approach is None else approach_in_bytes(approach / np.maximum(distance, 1e-3)[:, None]),
    )


def approach_in_bytes(approach: np.ndarray) -> np.ndarray:
    """What distances grow with chis (A / radian) as `Near` keeps it."""
    return np.clip(np.rint(approach * PER_ANGSTROM), -127, 127).astype(np.int8)


def in_bytes(distance: np.ndarray) -> np.ndarray:
    """Distances of at most `REACH` (A) as `Near` keeps them."""
    return np.rint((np.maximum(distance, NEAREST) - NEAREST) * (255.0 / (REACH - NEAREST))).astype(np.uint8)


def _cosine_in_bytes(cosine: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(cosine), -127, 127).astype(np.int8)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.where(length > _NO_DIRECTION, vector / np.maximum(length, _NO_DIRECTION), 0.0)


@cache
def _bonded() -> np.ndarray:
    """[21, 14, 14] 1 where two slots of a type are bonded."""
    table = np.zeros((aa.N_TYPES, aa.N_SLOTS, aa.N_SLOTS))
    for kind, bonds in enumerate(aa.BONDS):
        for i, j in bonds:
            table[kind, i, j] = table[kind, j, i] = 1.0
    return table
