"""What a large dataset will cost: ``python -m bindrae.data.forecast results/casf2016/data --complexes 500000``.

Reads what the jobs of a finished run measured (benchmarks, sidecars, sizes of files), derives seconds, memory and bytes
a complex for each stage, and multiplies. A forecast, not a promise: complexes of another dataset are of another size.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_json, sidecar_path
from bindrae.errors import BindraeError, exit_on_error

STAGES = ("clean", "pocket", "torsions", "tokens", "embed", "shards")
"""Stages that run batch by batch; their cost grows with the number of complexes."""


@dataclass(frozen=True)
class StageCost:
    """What one stage costs.

    Attributes
    ----------
    stage : str
    complexes : int
        That were measured.
    cpu_seconds : float
        CPU time a complex (s).
    job_seconds : float
        CPU time of a job before its first complex: interpreter and imports (s).
    bytes : float
        On disk, a complex.
    peak_mb : float
        Largest memory of a job (MB), worker processes included.
    """

    stage: str
    complexes: int
    cpu_seconds: float
    job_seconds: float
    bytes: float
    peak_mb: float


def measured(layout: DataLayout) -> list[StageCost]:
    """Cost of each stage in a finished run.

    Parameters
    ----------
    layout : DataLayout

    Returns
    -------
    list of StageCost
        In the order of `STAGES`.

    Raises
    ------
    BindraeError
        When a stage has no benchmark, because it was not run by Snakemake or is not finished.
    """
    return [_measure(layout, stage) for stage in STAGES]


def _measure(layout: DataLayout, stage: str) -> StageCost:
    counts, cpu, wall, overhead, size, peak = [], [], [], [], 0, 0.0
    for number in layout.batch_numbers():
        output = layout.batch(stage, number)
        benchmark = layout.root / "benchmarks" / stage / f"{number:04d}.tsv"
        if not benchmark.is_file():
            raise BindraeError(f"{benchmark} does not exist", "run the stage by Snakemake first, for all batches")
        row = _read_benchmark(benchmark)
        record = read_json(sidecar_path(output))
        count = record["counts"].get("in", sum(v for v in record["counts"].values() if isinstance(v, int)))
        if stage == "embed":
            count = read_json(sidecar_path(layout.batch("clean", number)))["counts"]["out"]
        counts.append(count)
        cpu.append(row["cpu_time"])
        wall.append(record["seconds"])
        # The sidecar's clock starts when all is imported; what the job took beyond it is the same for any batch.
        overhead.append(max(0.0, row["s"] - record["seconds"]))
        size += sum(path.stat().st_size for path in output.parent.glob(f"*{number:04d}.*"))
        peak = max(peak, row["max_rss"])
    total = sum(counts)
    if total == 0:
        raise BindraeError(f"{layout.root}: no complex went into {stage}", "measure on a dataset that has some")
    job_seconds = sum(overhead) / len(overhead)
    # Snakemake samples the CPU time and misses the end of short jobs; it is never less than the wall time.
    each = max(sum(wall), sum(cpu) - sum(overhead)) / total
    return StageCost(stage, total, each, job_seconds, size / total, peak)


def _read_benchmark(path: Path) -> dict[str, float]:
    """The figures that Snakemake wrote for a job; ``NA`` for one too short to be sampled counts as 0."""
    with path.open() as stream:
        row = next(csv.DictReader(stream, delimiter="\t"))
    return {name: 0.0 if row[name] in ("NA", "-") else float(row[name]) for name in ("s", "cpu_time", "max_rss")}


def forecast(costs: Iterable[StageCost], complexes: int, batches: int, cores: int) -> str:
    """The cost of another dataset as a table.

    Parameters
    ----------
    costs : iterable of StageCost
    complexes, batches : int
        Size of the dataset, and jobs a stage.
    cores : int
        Of one node.

    Returns
    -------
    str
        Markdown: core hours, minutes a job on one core, disk and memory of each stage, and the sum in node hours.
    """
    lines = [
        f"{complexes} complexes, {batches} batches of {math.ceil(complexes / batches)}, nodes of {cores} cores",
        "",
        "| stage | ms a complex | core hours | minutes a job and core | kB a complex | disk GB | MB measured |",
        "|---|---|---|---|---|---|---|",
    ]
    hours = disk = 0.0
    for cost in costs:
        seconds = complexes * cost.cpu_seconds + batches * cost.job_seconds
        hours += seconds / 3600
        disk += complexes * cost.bytes / 1e9
        lines.append(
            f"| {cost.stage} | {1000 * cost.cpu_seconds:.1f} | {seconds / 3600:.1f} | {seconds / batches / 60:.1f} "
            f"| {cost.bytes / 1e3:.1f} | {complexes * cost.bytes / 1e9:.1f} | {cost.peak_mb:.0f} |"
        )
    lines += [
        f"| all | | {hours:.1f} | | | {disk:.1f} | |",
        "",
        f"{hours / cores:.2f} node hours for these stages. Not in it: index, split and quality, which are one job each "
        "and do not grow evenly; a language model (embed was measured as it was configured); training.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="data folder of a finished run: results/<dataset>/data")
    parser.add_argument("--complexes", type=int, default=500_000)
    parser.add_argument("--batches", type=int, help="default: a thousand complexes each")
    parser.add_argument("--cores", type=int, default=32, help="of one node")
    options = parser.parse_args()
    batches = options.batches or math.ceil(options.complexes / 1000)
    print(forecast(measured(DataLayout(options.data)), options.complexes, batches, options.cores))


if __name__ == "__main__":
    with exit_on_error():
        main()
