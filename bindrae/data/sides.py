"""The side of each cluster, and the memory that keeps it when complexes are added."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from bindrae.config import SplitSettings
from bindrae.data.layout import EXCLUDED
from bindrae.data.storage import read_table, sha256_text, write_table
from bindrae.errors import BindraeError

# Of the sides that meet in one cluster the first here keeps its complexes.
STRICTEST = ("test", "val", "train")
# A cluster that alone would fill more of a held-out side goes to train while others can fill it.
LARGEST_SHARE = 0.25
# Another value of one of these is another question, which starts with no memory.
_ASKED = ("protocol", "benchmark", "fractions", "min_identity", "coverage", "seed")

PINS = pa.schema([(name, pa.string()) for name in ("settings", "id", "cluster", "split")])


@dataclass
class Pins:
    """What each complex was assigned when it was first seen; never changed afterwards.

    Attributes
    ----------
    sides : dict of str to str
        Side by id; complexes that were excluded at once have none.
    clusters : dict of str to str
        Name of the cluster by id.
    """

    sides: dict[str, str] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)


def _key(settings: SplitSettings) -> str:
    return sha256_text(settings.model_dump_json(include=set(_ASKED)))[:16]


def read_pins(path: Path, settings: SplitSettings) -> Pins:
    """The pins made under the same settings; empty when there are none.

    Raises
    ------
    BindraeError
        When the file is damaged.
    """
    pins = Pins()
    if path.is_file():
        table = read_table(path)
        if table.schema.names != PINS.names:
            raise BindraeError(f"{path} has other columns than {PINS.names}", "delete it; the sides are drawn anew")
        for row in table.to_pylist():
            if row["settings"] == _key(settings):
                pins.clusters[row["id"]] = row["cluster"]
                if row["split"]:
                    pins.sides[row["id"]] = row["split"]
    return pins


def write_pins(path: Path, settings: SplitSettings, clusters: Mapping[str, str], sides: Mapping[str, str]) -> None:
    """Add what is new to the pins; what is pinned, and the pins of other settings, stay."""
    key = _key(settings)
    old = read_table(path).to_pylist() if path.is_file() else []
    rows = {(row["settings"], row["id"]): dict(row) for row in old}
    for identifier, cluster in clusters.items():
        side = None if sides[identifier] == EXCLUDED else sides[identifier]
        row = rows.setdefault((key, identifier), {"settings": key, "id": identifier, "cluster": cluster, "split": None})
        row["split"] = row["split"] or side
    if list(rows.values()) != old or not path.is_file():
        write_table(pa.Table.from_pylist([rows[k] for k in sorted(rows)], schema=PINS), path)


def assign_sides(
    cluster_of: Mapping[str, str],
    settings: SplitSettings,
    pinned: Mapping[str, str] | None = None,
    barred: Collection[str] = (),
) -> dict[str, str]:
    """Side of each complex; whole clusters go to one side.

    A cluster keeps the side that any of its members is pinned to. Where members are pinned to several sides, those of
    the strictest (test, then val) keep it, and all others of the cluster are excluded: those of the weaker side
    because they now have kin on the stricter one, the new ones because they have kin on both. Clusters without a pin,
    in an order set by a hash of their name and the seed, fill test, then val, while at least half of the cluster still
    fits the wanted share and it takes no more than a quarter of the side; what is lacking then comes from the smallest
    clusters left, and the rest is train. With three clusters or more, no wanted side stays empty.

    Parameters
    ----------
    cluster_of : mapping of str to str
        Cluster of each complex.
    settings : SplitSettings
        ``fractions`` and ``seed``.
    pinned : mapping of str to str, optional
        Side by id, from an earlier split.
    barred : collection of str
        Clusters with kin in the benchmark: their complexes are excluded.

    Returns
    -------
    dict of str to str
        train, val, test or excluded.
    """
    pinned = pinned or {}
    members: dict[str, list[str]] = defaultdict(list)
    for identifier, cluster in cluster_of.items():
        members[cluster].append(identifier)
    side_of = dict.fromkeys(barred, EXCLUDED)
    excluded = {i for cluster in barred for i in members[cluster]}
    for cluster, ids in members.items():
        old = {pinned[i] for i in ids if i in pinned}
        if old and cluster not in side_of:
            side_of[cluster] = min(old, key=STRICTEST.index)
            if len(old) > 1:
                excluded |= {i for i in ids if pinned.get(i) != side_of[cluster]}
    kept = {c: sum(i not in excluded for i in ids) for c, ids in members.items()}
    side_of |= _fill(kept, side_of, settings)
    return {i: EXCLUDED if i in excluded else side_of[c] for i, c in cluster_of.items()}


def _fill(sizes: Mapping[str, int], given: Mapping[str, str], settings: SplitSettings) -> dict[str, str]:
    """Sides of the clusters that have none yet."""

    def order(cluster: str) -> str:
        return hashlib.sha256(f"{settings.seed}:{cluster}".encode()).hexdigest()

    total = sum(sizes.values())
    share = dict(zip(("train", "val", "test"), settings.fractions, strict=True))
    wanted = {side: share[side] * total for side in ("test", "val")}
    count: Counter[str] = Counter()
    for cluster, side in given.items():
        count[side] += sizes.get(cluster, 0)
    free = sorted((c for c in sizes if c not in given), key=order)
    side_of: dict[str, str] = {}

    def place(clusters: list[str], largest: float) -> None:
        for cluster in clusters:
            size = sizes[cluster]
            for side in wanted:
                if size <= largest * wanted[side] and count[side] + size / 2 <= wanted[side]:
                    side_of[cluster] = side
                    count[side] += size
                    break

    def left() -> list[str]:
        return sorted((c for c in free if c not in side_of), key=lambda c: (sizes[c], order(c)))

    place(free, LARGEST_SHARE)
    place(left(), 1.0 if share["train"] else float("inf"))
    for side in wanted:
        rest = left()
        if wanted[side] and not count[side] and len(rest) + bool(count["train"]) > 1:
            side_of[rest[0]] = side
            count[side] += sizes[rest[0]]
    weakest = "train" if share["train"] else max(wanted, key=lambda side: wanted[side] - count[side])
    return {cluster: side_of.get(cluster, weakest) for cluster in free}
