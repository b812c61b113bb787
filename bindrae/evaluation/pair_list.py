"""Lists of pairs of complexes of the same protein: reading, restricting them to a side of a split, and grouping."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindrae.data.layout import DataLayout
from bindrae.data.sheets import read_sheet
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError


@dataclass(frozen=True)
class CrystalPair:
    """Two complexes of one protein, and the sequence cluster that they count for."""

    first: str
    second: str
    cluster: str

    @property
    def name(self) -> str:
        """``first:second``."""
        return f"{self.first}:{self.second}"


def read_pair_list(path: Path) -> list[tuple[str, str]]:
    """Ids of each pair, from a table with the columns ``id1`` and ``id2``; a pair named twice counts once.

    Raises
    ------
    BindraeError
        When the table is missing, lacks a column, names no pair or pairs a complex with itself.
    """
    if not path.is_file():
        raise BindraeError(f"{path} does not exist", "name a CSV file with the columns id1 and id2")
    table = read_sheet(path)
    if not {"id1", "id2"} <= set(table.columns):
        raise BindraeError(f"{path} lacks the columns id1 and id2", "name a CSV file that has them")
    pairs = list(zip(table["id1"].astype(str), table["id2"].astype(str), strict=True))
    if not pairs:
        raise BindraeError(f"{path} names no pair", "write one pair a line, under the columns id1 and id2")
    alone = [one for one, other in pairs if one == other]
    if alone:
        raise BindraeError(f"{path} pairs {alone[0]} with itself", "a pair is two complexes")
    once: dict[frozenset[str], tuple[str, str]] = {}
    for pair in pairs:
        once.setdefault(frozenset(pair), pair)
    return list(once.values())


def group_pairs(pairs: list[tuple[str, str]]) -> list[CrystalPair]:
    """Pairs that are linked by a shared complex, directly or through others, make one cluster, named by its first id.

    Pairs of one protein that share no complex fall into several clusters: a split knows better, see `pairs_on_side`.
    """
    name: dict[str, str] = {}
    members: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        for one in pair:
            if one not in name:
                name[one] = one
                members[one].append(one)
        keep, join = sorted(name[one] for one in pair)
        if keep != join:
            for one in members.pop(join):
                name[one] = keep
                members[keep].append(one)
    return [CrystalPair(*pair, name[pair[0]]) for pair in pairs]


def pairs_on_side(pairs: list[tuple[str, str]], layout: DataLayout, sides: list[str]) -> list[CrystalPair]:
    """The pairs of which both complexes are on one of the sides of a split, with the split's clusters.

    Parameters
    ----------
    pairs : list of (str, str)
    layout : DataLayout
        Its split is read.
    sides : list of str
        Of train, val, test and excluded.

    Raises
    ------
    BindraeError
        When the split has none of the sides, or no pair is there.
    """
    place = {row["id"]: (row["split"], row["cluster"]) for row in read_table(layout.split).to_pylist()}
    known = {side for side, _ in place.values()}
    if not set(sides) <= known:
        raise BindraeError(f"{layout.split} has no side {', '.join(sides)}", f"sides are {', '.join(sorted(known))}")
    nowhere = ("", "")
    found = [
        CrystalPair(*pair, place[pair[0]][1])
        for pair in pairs
        if all(place.get(one, nowhere)[0] in sides for one in pair)
    ]
    if not found:
        raise BindraeError(
            f"none of the {len(pairs)} pairs has both complexes on the side {' or '.join(sides)} of {layout.root}",
            "name other sides, or the dataset that the pairs belong to",
        )
    return found


def thin(pairs: list[CrystalPair], per_cluster: int | None, limit: int | None) -> list[CrystalPair]:
    """At most so many pairs of each cluster and so many at all, evenly over their order."""

    def evenly(items: list[CrystalPair], most: int | None) -> list[CrystalPair]:
        if most is None or len(items) <= most:
            return items
        return [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]

    of: dict[str, list[CrystalPair]] = defaultdict(list)
    for pair in pairs:
        of[pair.cluster].append(pair)
    kept = {pair for members in of.values() for pair in evenly(members, per_cluster)}
    return evenly([pair for pair in pairs if pair in kept], limit)
