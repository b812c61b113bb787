"""The dataset to test on as an input of the split: named when it is missing, noticed when it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from workflow_clone import Clone

BENCHMARK = ("--config", "split={protocol: benchmark, benchmark: results/other/data}")


@pytest.fixture
def other(rerun: Clone) -> Path:
    """The clean table of another dataset, one batch, beside the finished one."""
    data = rerun.folder / "results" / "other" / "data"
    table = data / "clean" / "0000.parquet"
    table.parent.mkdir(parents=True)
    table.touch()
    (data / "index").mkdir()
    (data / "index" / "batches.json").write_text('{"0": "x"}')
    return table


def test_a_changed_benchmark_reruns_the_split(rerun: Clone, other: Path) -> None:
    called = rerun.run("split", *BENCHMARK)
    assert called == {"split": 1}
    assert rerun.run("split", *BENCHMARK) == {}
    later = rerun.folder.stat().st_mtime + 1000
    other.write_text("changed")
    os.utime(other, (later, later))
    assert rerun.plan("split", *BENCHMARK) == {"split": 1}


def test_a_benchmark_that_is_not_prepared_is_named(rerun: Clone, other: Path) -> None:
    other.unlink()
    done = rerun.snakemake("-n", "split", "--configfile", "config.yaml", *BENCHMARK)
    assert done.returncode != 0
    assert "results/other/data holds no prepared dataset" in done.stdout
    assert "snakemake clean --configfile" in done.stdout


def test_protocol_and_folder_go_together(rerun: Clone) -> None:
    done = rerun.snakemake("-n", "--configfile", "config.yaml", "--config", "split={protocol: benchmark}")
    assert done.returncode != 0
    assert "go together" in done.stdout
