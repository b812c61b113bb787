"""Whole clusters to one side, near the wanted shares, and the same side for ever."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bindrae.config import SplitSettings
from bindrae.data.clusters import join_complexes, name_clusters
from bindrae.data.layout import EXCLUDED
from bindrae.data.sides import assign_sides, read_pins, write_pins
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError


def whole(cluster_of: dict[str, str], sides: dict[str, str]) -> bool:
    """Whether no cluster has complexes on two sides."""
    return all(
        len({sides[i] for i, c in cluster_of.items() if c == cluster} - {EXCLUDED}) <= 1
        for cluster in set(cluster_of.values())
    )


def test_clusters_stay_whole_and_sides_come_near_their_shares() -> None:
    rng = np.random.default_rng(0)
    cluster_of = {f"x{i:03d}": f"c{rng.integers(0, 57)}" for i in range(285)}
    sides = assign_sides(cluster_of, SplitSettings())
    assert whole(cluster_of, sides)
    count = Counter(sides.values())
    assert abs(count["val"] - 29) <= 2
    assert abs(count["test"] - 28) <= 2
    assert assign_sides(dict(reversed(cluster_of.items())), SplitSettings()) == sides
    assert assign_sides(cluster_of, SplitSettings(seed=1)) != sides


def test_one_large_family_does_not_make_a_held_out_side() -> None:
    cluster_of = {f"x{i:03d}": "large" if i < 60 else f"c{i}" for i in range(600)}
    for seed in range(20):
        assert assign_sides(cluster_of, SplitSettings(seed=seed))["x000"] == "train"


@pytest.mark.parametrize("n", [3, 4, 5])
def test_no_side_of_a_tiny_dataset_is_empty(n: int) -> None:
    for seed in range(20):
        sides = assign_sides({str(i): str(i) for i in range(n)}, SplitSettings(seed=seed))
        assert set(sides.values()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("fractions", "wanted"), [((0.9, 0.1, 0.0), {"train": 90, "val": 10}), ((0.0, 0.0, 1.0), {"test": 100})]
)
def test_a_side_that_is_not_wanted_stays_empty(fractions: tuple[float, float, float], wanted: dict[str, int]) -> None:
    cluster_of = {f"{i:03d}": f"{i:03d}" for i in range(100)}
    assert Counter(assign_sides(cluster_of, SplitSettings(fractions=fractions)).values()) == wanted


def test_where_two_sides_meet_the_stricter_keeps_its_own_and_the_others_leave() -> None:
    cluster_of = dict.fromkeys(["old_test", "old_val", "old_train", "new"], "joined") | {"far": "far"}
    pinned = {"old_test": "test", "old_val": "val", "old_train": "train", "far": "train"}
    sides = assign_sides(cluster_of, SplitSettings(), pinned)
    assert sides == {"old_test": "test", "old_val": EXCLUDED, "old_train": EXCLUDED, "new": EXCLUDED, "far": "train"}
    del cluster_of["old_test"]
    assert assign_sides(cluster_of, SplitSettings(), pinned)["old_val"] == "val"


def test_kin_of_the_benchmark_is_excluded_wherever_it_was() -> None:
    cluster_of = {"a": "near", "b": "near", **{f"{i:02d}": f"{i:02d}" for i in range(30)}}
    sides = assign_sides(cluster_of, SplitSettings(), {"a": "train"}, barred={"near"})
    assert sides["a"] == sides["b"] == EXCLUDED
    assert Counter(sides.values())["train"] == 24


@hypothesis_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 40), rounds=st.integers(1, 6))
def test_adding_complexes_moves_no_old_one(seed: int, n: int, rounds: int, tmp_path_factory) -> None:
    """Datasets grow at random, clusters join at random: an old complex keeps its side or is excluded by a merge."""
    rng = np.random.default_rng(seed)
    settings = SplitSettings(seed=seed)
    path = tmp_path_factory.mktemp("pins") / "pins.parquet"
    chains: dict[str, list[int]] = {}
    first: dict[str, str] = {}
    for _ in range(rounds):
        for _ in range(n):
            # Names in no order of time; now and then a complex bridges two families.
            chains[f"{rng.integers(10**9):09d}"] = rng.integers(0, 2 * n, 1 + (rng.random() < 0.1)).tolist()
        ids = sorted(chains)
        labels = join_complexes([chains[i] for i in ids], np.ones(2 * n, bool), np.empty((0, 2), dtype=np.int64))
        pins = read_pins(path, settings)
        assert pins.sides == first
        clusters = name_clusters(ids, labels, pins.clusters)
        sides = assign_sides(clusters, settings, pins.sides)
        write_pins(path, settings, clusters, sides)

        assert whole(clusters, sides)
        for identifier, side in first.items():
            if sides[identifier] != side:
                meeting = {first[i] for i in ids if clusters[i] == clusters[identifier] and i in first}
                assert (sides[identifier], len(meeting) > 1) == (EXCLUDED, True)
            assert side != "test" or sides[identifier] == "test"
        assert all(sides[i] != EXCLUDED or i in first or len({first.get(j) for j in ids}) > 1 for i in ids)
        again = read_pins(path, settings)
        assert name_clusters(ids, labels, again.clusters) == clusters
        assert assign_sides(clusters, settings, again.sides) == sides
        first |= {i: side for i, side in sides.items() if i not in first and side != EXCLUDED}


def test_pins_are_written_once_and_kept_for_each_question(tmp_path) -> None:
    path = tmp_path / "pins.parquet"
    one, other = SplitSettings(), SplitSettings(seed=1)
    write_pins(path, one, {"a": "a", "b": "b"}, {"a": "train", "b": EXCLUDED})
    write_pins(path, other, {"a": "x"}, {"a": "test"})
    before = path.stat().st_mtime_ns
    write_pins(path, one, {"a": "z"}, {"a": EXCLUDED})
    assert path.stat().st_mtime_ns == before
    assert read_pins(path, one).sides == {"a": "train"}
    assert read_pins(path, one).clusters == {"a": "a", "b": "b"}
    assert read_pins(path, other).sides == {"a": "test"}
    # How the search is done is no other question.
    assert read_pins(path, SplitSettings(exhaustive_below=3)).sides == {"a": "train"}
    write_pins(path, one, {"b": "b"}, {"b": "val"})
    assert read_pins(path, one).sides == {"a": "train", "b": "val"}
    assert read_table(path).num_rows == 3


def test_damaged_pins_are_named(tmp_path) -> None:
    path = tmp_path / "split.pins.parquet"
    path.write_bytes(b"PAR1 no parquet")
    with pytest.raises(BindraeError, match=r"split\.pins\.parquet"):
        read_pins(path, SplitSettings())
