"""The cost of a large dataset from what a small one took."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindrae.data.forecast import STAGES, StageCost, forecast, measured
from bindrae.data.layout import DataLayout
from bindrae.data.storage import sidecar_path, write_json, write_text
from bindrae.errors import BindraeError

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    """Two batches of 10 and 30 complexes; a job needs 2 s to start and each complex 0.5 s of CPU and 100 bytes."""
    layout = DataLayout(tmp_path)
    write_json({"0": "x", "1": "y"}, layout.batches)
    for stage in STAGES:
        for number, count in enumerate((10, 30)):
            output = layout.batch(stage, number)
            counts = {"train": count - 2, "excluded": 2} if stage == "shards" else {"in": count, "out": count}
            counts = {"sequences": 5, "computed": 3} if stage == "embed" else counts
            write_json({"counts": counts, "seconds": 0.25 * count}, sidecar_path(output))
            used = sidecar_path(output).stat().st_size
            output.write_bytes(bytes(100 * count - used))
            # Two processes: half the time that the CPUs spent.
            line = f"{2 + 0.25 * count}\t0:00:01\t{500 + number}\t{2 + 0.5 * count}\n"
            write_text(HEADER + line, layout.root / "benchmarks" / stage / f"{number:04d}.tsv")
    return layout


def test_a_job_is_parted_into_its_start_and_its_complexes(layout: DataLayout) -> None:
    costs = measured(layout)
    assert [cost.stage for cost in costs] == list(STAGES)
    for cost in costs:
        assert cost == StageCost(cost.stage, 40, pytest.approx(0.5), pytest.approx(2.0), pytest.approx(100.0), 501.0)


def test_the_forecast_adds_up(layout: DataLayout) -> None:
    text = forecast(measured(layout), 7200, 10, 4)
    # 7200 x 0.5 s + 10 x 2 s = 1.006 h a stage
    assert text.count("| 500.0 | 1.0 | 6.0 | 0.1 | 0.0 | 501 |") == len(STAGES)
    assert "| all | | 6.0 |" in text
    assert "1.51 node hours" in text


def test_a_run_without_benchmarks_is_named(layout: DataLayout) -> None:
    (layout.root / "benchmarks" / "tokens" / "0001.tsv").unlink()
    with pytest.raises(BindraeError, match=r"tokens/0001\.tsv does not exist") as caught:
        measured(layout)
    assert "Snakemake" in caught.value.hint
