from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bindrae.evaluation.aggregate import Ratio, bootstrap_weights, values_by
from bindrae.evaluation.compare import compare, difference

RATIO = [Ratio("acc", "hit", "n")]


def tables(seed: int, gain: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two predictions of the same 600 residues in 12 clusters of very different difficulty."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 12, 600)
    chance = rng.random(12)[cluster] * 0.8
    draw = rng.random(600)
    result = []
    for more in (gain, 0.0):
        table = pd.DataFrame({"hit": (draw < chance + more).astype(int), "n": 1})
        table["cluster"] = pd.Categorical(cluster.astype(str))
        result.append(table)
    return result[0], result[1]


def test_the_paired_interval_is_that_of_a_direct_bootstrap_and_narrower_than_either() -> None:
    first, second = tables(0, 0.05)
    weights = bootstrap_weights(12, 2000, 1)
    found = difference(first, second, RATIO, weights)["acc"]
    rng = np.random.default_rng(7)
    gap = (first["hit"] - second["hit"]).to_numpy()
    groups = [gap[first["cluster"] == name] for name in first["cluster"].cat.categories]
    direct = [100 * np.concatenate([groups[i] for i in rng.integers(0, 12, 12)]).mean() for _ in range(2000)]
    assert found["value"] == pytest.approx(100 * gap.mean())
    low, high = np.percentile(direct, [2.5, 97.5])
    assert found["low"] == pytest.approx(low, abs=0.5)
    assert found["high"] == pytest.approx(high, abs=0.5)
    assert found["low"] > 0.0
    clusters = first.groupby("cluster", observed=True)["hit"].mean()
    assert high - low < 100 * clusters.std() / np.sqrt(12)  # the clusters' difficulty cancels


def test_only_rows_with_a_value_on_both_sides_are_compared() -> None:
    first, second = tables(3, 0.1)
    second.loc[:99, ["hit", "n"]] = 0
    found = difference(first, second, RATIO, None)["acc"]
    gap = (first["hit"] - second["hit"])[100:]
    assert found == {"value": pytest.approx(100 * gap.mean()), "low": None, "high": None}
    assert difference(first, second.assign(n=0), RATIO, None)["acc"]["value"] is None


def test_tables_of_other_residues_are_not_paired() -> None:
    rows = pd.DataFrame({"id": ["a", "a"], "row": [0, 1]})
    with pytest.raises(ValueError, match="column row"):
        compare((rows, rows), (rows.assign(row=[1, 0]), rows), None)


def test_values_by_group_are_the_ratios_of_sums() -> None:
    table = pd.DataFrame({"id": ["b", "a", "b"], "hit": [1, 0, 0], "n": [1, 0, 3]})
    assert values_by(table, "id", RATIO) == {"a": {"acc": None}, "b": {"acc": 25.0}}
