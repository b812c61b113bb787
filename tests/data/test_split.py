from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from bindrae.config import SplitSettings
from bindrae.data.layout import DataLayout
from bindrae.data.schema import CLEAN
from bindrae.data.split import assign_sides, check_rejected, cluster_sequences, join_complexes
from bindrae.data.storage import REJECTED_SCHEMA, rejected_path, write_json, write_table
from bindrae.errors import BindraeError

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def random_sequence(seed: int, length: int = 120) -> str:
    return "".join(np.random.default_rng(seed).choice(LETTERS, length))


def mutated(sequence: str, share: float, seed: int) -> str:
    rng = np.random.default_rng(seed)
    letters = np.array(list(sequence))
    where = rng.random(len(letters)) < share
    letters[where] = rng.choice(LETTERS, where.sum())
    return "".join(letters)


def test_homologues_share_a_cluster_and_strangers_do_not() -> None:
    a, b = random_sequence(1), random_sequence(2)
    sequences = [a, mutated(a, 0.3, 5), b, mutated(b, 0.2, 6), random_sequence(3), "GSHM"]
    found = cluster_sequences(sequences, SplitSettings())
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len({found[0], found[2], found[4], found[5]}) == 4


def test_complexes_join_through_any_chain() -> None:
    clusters = join_complexes({"a": [1], "b": [1, 2], "c": [2], "d": [3], "e": [4, 4]})
    assert clusters == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e"}


def test_clusters_stay_whole_and_sides_come_near_their_shares() -> None:
    rng = np.random.default_rng(0)
    cluster_of = {f"x{i:03d}": f"c{rng.integers(0, 57)}" for i in range(285)}
    sides = assign_sides(cluster_of, SplitSettings())
    for cluster in set(cluster_of.values()):
        assert len({sides[i] for i, c in cluster_of.items() if c == cluster}) == 1
    count = Counter(sides.values())
    assert abs(count["val"] - 29) <= 4
    assert abs(count["test"] - 28) <= 4
    assert assign_sides(dict(reversed(cluster_of.items())), SplitSettings()) == sides
    assert assign_sides(cluster_of, SplitSettings(seed=1)) != sides


@pytest.mark.parametrize("n", [3, 4, 5])
def test_no_side_of_a_tiny_dataset_is_empty(n: int) -> None:
    for seed in range(20):
        sides = assign_sides({str(i): str(i) for i in range(n)}, SplitSettings(seed=seed))
        assert set(sides.values()) == {"train", "val", "test"}


def rejections(layout: DataLayout, accepted: int, rejected: int) -> None:
    write_json({"0": "x"}, layout.batches)
    rows = [
        {"id": str(i), "stage": "clean", "code": "ligand_far", "message": f"m{i}", "hint": "h"} for i in range(rejected)
    ]
    write_table(pa.Table.from_pylist([], schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    write_table(pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA), rejected_path(layout.batch("clean", 0)))
    write_table(pa.Table.from_pylist([{"id": str(i)} for i in range(accepted)], schema=CLEAN), layout.batch("clean", 0))


def test_too_many_rejections_and_an_empty_dataset_stop_the_run(tmp_path) -> None:
    layout = DataLayout(tmp_path)
    rejections(layout, accepted=8, rejected=2)
    assert check_rejected(layout, 0.2) == {"ligand_far": 2}
    with pytest.raises(BindraeError, match=r"2 of 10 complexes were rejected \(20.0%.*ligand_far 2"):
        check_rejected(layout, 0.19)
    rejections(layout, accepted=0, rejected=3)
    with pytest.raises(BindraeError, match="no complex was accepted"):
        check_rejected(layout, 1.0)
