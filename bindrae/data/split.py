"""Train, validation and test sides by sequence cluster: complexes that share a similar chain never part."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bindrae.config import SplitSettings
from bindrae.data.clusters import Kinship, find_kin, join_complexes, name_clusters
from bindrae.data.layout import EXCLUDED, SIDES, DataLayout
from bindrae.data.leakage import BENCHMARK, Member, Sides, check_no_kin_across, ligand_leakage, sequence_leakage
from bindrae.data.mmseqs import align_all, is_exhaustive
from bindrae.data.schema import SPLIT, iterate_rows
from bindrae.data.sides import assign_sides, read_pins, write_pins
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import read_table, rejected_path, write_sidecar, write_table
from bindrae.errors import BindraeError


def check_rejected(layout: DataLayout, max_fraction: float) -> dict[str, int]:
    """Count the rejected complexes of index and clean, and stop when there are too many.

    Returns
    -------
    dict of str to int
        Count by code.

    Raises
    ------
    BindraeError
        When nothing was accepted, or a larger share than `max_fraction` was rejected.
    """
    paths = [rejected_path(layout.entries), *(rejected_path(layout.batch("clean", n)) for n in layout.batch_numbers())]
    rows = [row for path in paths for row in read_table(path).to_pylist()]
    codes = Counter(row["code"] for row in rows)
    accepted = sum(read_table(layout.batch("clean", n), ["id"]).num_rows for n in layout.batch_numbers())
    listing = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    if not accepted:
        raise BindraeError(
            f"no complex was accepted; rejected: {listing}",
            f"the first: {rows[0]['message']}" if rows else "the dataset is empty",
        )
    share = len(rows) / (len(rows) + accepted)
    if share > max_fraction:
        first = "; ".join(f"{row['id']}: {row['message']}" for row in rows[:3])
        raise BindraeError(
            f"{len(rows)} of {len(rows) + accepted} complexes were rejected ({share:.1%}, "
            f"allowed {max_fraction:.1%}): {listing}. {first}",
            "mend the files, or raise max_rejected_fraction",
        )
    return dict(codes)


@dataclass(slots=True)
class _Complex:
    id: str
    chains: list[int]
    smiles: str


def _clean_tables(layout: DataLayout) -> list[Path]:
    return [layout.batch("clean", number) for number in layout.batch_numbers()]


def _read_complexes(layout: DataLayout, index: dict[str, int]) -> list[_Complex]:
    """Accepted complexes by id; `index` gives each distinct sequence its number and grows."""
    # Texts are kept once, however many complexes hold them.
    place: dict[str, int] = {}
    texts: dict[str, str] = {}
    found: list[_Complex] = []
    for table in _clean_tables(layout):
        for row in iterate_rows(read_table(table, ["id", "sequences", "ligand_smiles"])):
            smiles = row["ligand_smiles"] or ""
            chains = [place.setdefault(sequence, len(place)) for sequence in row["sequences"]]
            found.append(_Complex(row["id"], chains, texts.setdefault(smiles, smiles)))
    found.sort(key=lambda one: one.id)
    sequences = list(place)
    for one in found:
        one.chains = [index.setdefault(sequences[chain], len(index)) for chain in one.chains]
    return found


def _read_benchmark(layout: DataLayout, settings: SplitSettings, index: dict[str, int]) -> list[_Complex]:
    other = benchmark_layout(settings)
    if other is None:
        return []
    if other.root.resolve() == layout.root.resolve():
        raise BindraeError(f"split.benchmark is this dataset itself: {other.root}", "name another dataset's folder")
    if not other.batches.is_file():
        raise BindraeError(
            f"split.benchmark: {other.root} holds no prepared dataset",
            "prepare it first: `snakemake clean --configfile ITS_CONFIG`; the folder is results/<dataset>/data",
        )
    found = _read_complexes(other, index)
    if not found:
        raise BindraeError(f"split.benchmark: {other.root} holds no accepted complex", "look at its rejected complexes")
    return found


def benchmark_layout(settings: SplitSettings) -> DataLayout | None:
    """The dataset of protocol benchmark; None in the other protocol."""
    return DataLayout(Path(settings.benchmark).expanduser()) if settings.benchmark else None


def run_split(layout: DataLayout, settings: SplitSettings, max_rejected_fraction: float, threads: int = 1) -> None:
    """Cluster the chains of the whole dataset, give each cluster a side, check for leakage, write ``split.parquet``.

    Raises
    ------
    BindraeError
        See `check_rejected`, `align_all` and `check_no_kin_across`; when the benchmark is missing or empty.
    """
    start = time.monotonic()
    rejected = check_rejected(layout, max_rejected_fraction)
    index: dict[str, int] = {}
    own = _read_complexes(layout, index)
    benchmark = _read_benchmark(layout, settings, index)
    chains = [c.chains for c in (*own, *benchmark)]
    hits = align_all(list(index), settings, threads)
    kin = find_kin(list(index), chains, hits, settings)

    # By chain clusters alone, with contained chains, with the final search: what each rule adds is reported.
    steps = [kin.clustered, kin.contained, kin.searched]
    labels = [join_complexes(chains, kin.linking, np.concatenate(steps[: n + 1])) for n in range(len(steps))]
    pins = read_pins(layout.pins, settings)
    ids = [c.id for c in own]
    clusters = name_clusters(ids, labels[-1][: len(own)], pins.clusters)
    touched = set(labels[-1][len(own) :].tolist())
    barred = {clusters[i] for i, label in zip(ids, labels[-1].tolist(), strict=False) if label in touched}
    sides = assign_sides(clusters, settings, pins.sides, barred)

    members = [Member(c.id, sides[c.id], c.chains, c.smiles) for c in own]
    members += [Member(c.id, BENCHMARK, c.chains, c.smiles) for c in benchmark]
    placed = Sides(members, len(index))
    check_no_kin_across(placed, _kinds(kin, settings))

    by_side = Counter(sides.values())
    counts = {
        "complexes": len(own), "distinct_chains": len({c for one in own for c in one.chains}),
        "clusters": len(set(clusters.values())), **{side: by_side[side] for side in (*SIDES, EXCLUDED)},
        "rejected": rejected,
    }  # fmt: skip
    ligands, distribution = ligand_leakage(placed)
    counts["leakage"] = {
        "search": {
            "every_pair_aligned": is_exhaustive(len(index), settings),
            "significant_alignments": len(hits),
            "benchmark_complexes": len(benchmark),
        },
        "clusters": _cluster_sizes(clusters),
        "rules": {
            "joined_by_contained_chains": _joined(labels[0][: len(own)], labels[1][: len(own)]),
            "joined_by_final_search": _joined(labels[1][: len(own)], labels[2][: len(own)]),
            "chains_too_short_to_link": int((~kin.linking).sum()),
            "excluded_in_clusters_of_benchmark": sum(clusters[i] in barred for i in ids),
            "of_these_similar_to_it_themselves": _similar(own, benchmark, _kinds(kin, settings)),
            "excluded_kin_of_two_sides": sum(sides[i] == EXCLUDED and clusters[i] not in barred for i in ids),
        },
        "sequence": sequence_leakage(placed, hits, settings.coverage),
        "ligand": ligands,
        "ligand_nearest_neighbours": distribution,
    }
    inputs = {f"clean/{path.stem}": path for path in _clean_tables(layout)}
    if (other := benchmark_layout(settings)) is not None:
        inputs |= {f"benchmark/{path.stem}": path for path in _clean_tables(other)}
    write_pins(layout.pins, settings, clusters, sides)
    write_sidecar(
        layout.split, "split", VERSIONS["split"], settings.model_dump(mode="json"), inputs, counts,
        time.monotonic() - start,
    )  # fmt: skip
    rows = [{"id": i, "cluster": clusters[i], "split": sides[i]} for i in ids]
    write_table(pa.Table.from_pylist(rows, schema=SPLIT), layout.split)
    print(
        f"split: {len(own)} complexes in {counts['clusters']} clusters: "
        + ", ".join(f"{side} {by_side[side]}" for side in (*SIDES, EXCLUDED) if by_side[side] or side != EXCLUDED)
    )


def _kinds(kin: Kinship, settings: SplitSettings) -> dict[str, np.ndarray]:
    """The pairs of chains that may not part, by what they have in common."""
    same = np.flatnonzero(kin.linking)
    return {
        "the same chain": np.column_stack([same, same]),
        "chains of which one is a stretch of the other": kin.contained,
        f"chains that are {settings.min_identity:.0%} identical over {settings.coverage:.0%} of the shorter": np.unique(
            np.concatenate([kin.clustered, kin.searched]), axis=0
        ),
    }


def _similar(own: list[_Complex], benchmark: list[_Complex], kinds: dict[str, np.ndarray]) -> int:
    """Complexes with a chain that itself may not part from one of the benchmark's."""
    theirs = {chain for one in benchmark for chain in one.chains}
    near = {a for pairs in kinds.values() for x, y in pairs.tolist() for a, b in ((x, y), (y, x)) if b in theirs}
    return sum(not near.isdisjoint(one.chains) for one in own)


def _joined(before: np.ndarray, after: np.ndarray) -> int:
    """Complexes whose cluster holds several clusters of the step before."""
    pairs = np.unique(np.column_stack([after, before]), axis=0)
    label, parts = np.unique(pairs[:, 0], return_counts=True)
    return int(np.isin(after, label[parts > 1]).sum())


def _cluster_sizes(clusters: dict[str, str]) -> dict[str, Any]:
    sizes = Counter(clusters.values())
    largest, size = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    classes = {"of_1": (1, 1), "of_2_to_5": (2, 5), "of_6_to_20": (6, 20), "of_more_than_20": (21, len(clusters))}
    return {
        "number": len(sizes),
        "largest": largest,
        "complexes_in_largest": size,
        "share_of_largest": round(size / len(clusters), 4),
        **{name: sum(low <= n <= high for n in sizes.values()) for name, (low, high) in classes.items()},
    }
