"""The part `scale`: copies of complexes, distinct chains, and costs seen from outside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bindrae.benchmark.suite import scale
from bindrae.benchmark.suite.copies import FAMILY, KEPT, link_copies, smallest, with_distinct_chains
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.preprocess import make_index
from bindrae.cli import app
from bindrae.config import CleanSettings, IndexSettings
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.stages import run_clean
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError
from bindrae.usage import Cost, cost_of, together


def test_a_command_is_charged_its_own_memory_and_its_childrens_time() -> None:
    block = bytearray(400_000_000)  # of this process, which is not the command's
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    command = f"import subprocess, sys; x = b'x' * 100_000_000; subprocess.run([sys.executable, '-c', {burn!r}])"
    cost = cost_of([sys.executable, "-c", command])
    assert 100 < cost.peak_mb < 300 < len(block) / 2**20
    assert 0.3 < cost.cpu < 5
    assert cost.wall > 0.3


def test_a_command_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(BindraeError, match=r"(?s)-c.*no such thing"):
        cost_of([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_seconds_add_up_and_memory_does_not() -> None:
    assert together([Cost(1, 2, 30), Cost(4, 5, 6)]) == Cost(5, 7, 30)


def test_sizes_go_up_tenfold() -> None:
    assert scale.sizes(30_000, quick=False) == [300, 3000, 30_000]
    assert scale.sizes(29_999, quick=False) == [300, 3000]
    with pytest.raises(BindraeError, match="at least 3000"):
        scale.sizes(2999, quick=False)


@pytest.fixture
def copies(tmp_path: Path) -> DataLayout:
    """Seven complexes, links to the files of the three smallest of the demo, cleaned."""
    make_index(Options(), DataLayout(tmp_path / "sources"))
    sources = smallest(DataLayout(tmp_path / "sources"), 3)
    assert [row["size"] for row in sources] == sorted(row["size"] for row in sources)
    link_copies(sources, 7, tmp_path / "complexes")
    layout = DataLayout(tmp_path / "data")
    run_index(layout, tmp_path / "complexes", IndexSettings(layout="pdbbind", n_batches=2))
    for number in range(2):
        run_clean(layout.entries, number, layout.batch("clean", number), CleanSettings())
    return layout


def sequences(layout: DataLayout) -> dict[str, list[str]]:
    tables = [read_table(layout.batch("clean", n), ["id", "sequences"]) for n in layout.batch_numbers()]
    return {row["id"]: row["sequences"] for table in tables for row in table.to_pylist()}


def test_copies_are_whole_complexes_under_other_ids(copies: DataLayout) -> None:
    found = sequences(copies)
    assert len(found) == 7
    assert len({"".join(chains) for chains in found.values()}) == 3


def test_chains_of_a_family_are_kin_and_others_strangers(copies: DataLayout, tmp_path: Path) -> None:
    out = DataLayout(tmp_path / "distinct")
    count = with_distinct_chains(copies, out)
    chains = [np.array(list(chain)) for found in sequences(out).values() for chain in found]
    assert count == len(chains) == sum(map(len, sequences(copies).values()))
    assert len({"".join(chain) for chain in chains}) == count
    family = chains[: min(FAMILY, count)]
    identity = [float((one == other).mean()) for i, one in enumerate(family) for other in family[:i]]
    assert all(KEPT**2 - 0.15 < value < KEPT**2 + 0.25 for value in identity)


def test_all_stages_are_measured_at_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def cost(command: list[str]) -> Cost:
        called.append(command)
        if command[3] in ("index", "clean", "split"):
            app(command[3:], standalone_mode=False)
        distinct = Path(command[-1]).name == "distinct"
        earlier = sum(Path(c[-1]).name == "distinct" for c in called[:-1])
        return Cost(1.0, (8.0 * (1 + earlier)) if distinct else 2.0, 3.0)

    monkeypatch.setattr(scale, "cost_of", cost)
    monkeypatch.setattr(scale, "_BATCH", 20)
    monkeypatch.setattr(scale, "STEP", 3)
    part: Any = scale.run(Options(quick=True))
    assert part.settings["complexes"] == [10, 30]
    assert part.ratios["time_ratio_10x"] == {"30": pytest.approx((6 * 2 + 3) / 9)}
    # The split where every chain is another stands in the place of the other one.
    assert part.ratios["all_distinct_time_ratio_10x"] == {"30": pytest.approx(((6 * 2 + 2) * 2 + 16) / (8 * 2 + 8))}
    assert part.ratios["memory_ratio_10x"] == {"30": 1.0}
    assert sum(command[3] == "tokens" for command in called) == 1 + 2
    assert [row[0] for row in part.tables[0].rows] == [*scale.STAGES, scale.ALL, scale.DISTINCT, scale.ALL_DISTINCT]
