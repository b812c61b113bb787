"""Part `scale`: what the data stages cost as the dataset grows tenfold, and tenfold again."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from bindrae.benchmark.suite.copies import FAMILY, link_copies, smallest, with_distinct_chains
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Plot, Table
from bindrae.benchmark.suite.preprocess import make_index
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.usage import Cost, cost_of, together

FIRST, STEP = 300, 10
_BATCH = 300  # complexes, the same at every size, as a user keeps it
_SOURCES = 10
BY_BATCH, WHOLE = ("clean", "pocket", "torsions", "tokens", "embed", "shards"), ("index", "split", "quality")
STAGES = ("index", "clean", "pocket", "torsions", "tokens", "embed", "split", "shards", "quality")
ALL, DISTINCT, ALL_DISTINCT = "all", "split, every chain another", "all, with that split"


def sizes(largest: int, quick: bool) -> list[int]:
    """Complexes of each dataset: 300, 3,000, ... up to `largest`.

    Raises
    ------
    BindraeError
        When there is nothing to compare.
    """
    first = 10 if quick else FIRST
    found = [first * STEP**power for power in range(8) if first * STEP**power <= (first * STEP if quick else largest)]
    if len(found) < 2:
        raise BindraeError(f"--scale {largest} is no size to compare with {FIRST}", f"give at least {FIRST * STEP}")
    return found


def measure(data: DataLayout, root: Path, count: int) -> dict[str, Cost]:
    """Cost of every stage on the complexes of a folder, each batch a command as in the pipeline.

    Parameters
    ----------
    data : DataLayout
        Is filled.
    root : Path
        Complexes in layout ``pdbbind``.
    count : int
        How many there are.
    """
    batches = -(-count // _BATCH)
    settings = {"index": {"layout": "pdbbind", "n_batches": batches}}
    costs: dict[str, Cost] = {}
    for stage in STAGES:
        start = time.monotonic()
        command = [sys.executable, "-m", "bindrae", stage, "--data", str(data.root)]
        if stage in settings:
            command += ["--root", str(root), "--settings", json.dumps(settings[stage])]
        numbered = [["--batch", str(n)] for n in range(batches)] if stage in BY_BATCH else [[]]
        costs[stage] = together(cost_of(command + options) for options in numbered)
        print(f"scale: {count} complexes, {stage} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return costs


def measure_distinct(data: DataLayout, scratch: Path) -> tuple[Cost, int]:
    """Cost of `split` when every chain is another, as in a real dataset, and the number of chains."""
    out = DataLayout(scratch / "distinct")
    chains = with_distinct_chains(data, out)
    cost = cost_of([sys.executable, "-m", "bindrae", "split", "--data", str(out.root)])
    shutil.rmtree(out.root)
    return cost, chains


def run(options: Options) -> Part:
    """Measure all sizes.

    Raises
    ------
    BindraeError
        When a stage fails, or the sizes cannot be compared.
    """
    costs: dict[int, dict[str, Cost]] = {}
    chains: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="bindrae-scale-") as name:
        scratch = Path(name)
        index = DataLayout(scratch / "sources")
        dataset = make_index(options, index)
        sources = smallest(index, _SOURCES)
        for count in sizes(options.scale, options.quick):
            root, data = scratch / "complexes", DataLayout(scratch / "data")
            link_copies(sources, count, root)
            costs[count] = measure(data, root, count)
            distinct, chains[count] = measure_distinct(data, scratch)
            costs[count] |= {
                ALL: together(costs[count].values()),
                DISTINCT: distinct,
                ALL_DISTINCT: together((costs[count] | {"split": distinct}).values()),
            }
            shutil.rmtree(root)
            shutil.rmtree(data.root)
    steps = list(pairwise(costs))
    return Part(
        name="scale",
        about=f"The data stages on {', '.join(f'{n:,}' for n in costs)} complexes, as the commands that the pipeline "
        f"runs, one after the other on one core, {_BATCH} complexes a batch: what ten times the complexes cost.",
        settings={"complexes": list(costs), "made of": [f"{row['id']} of {dataset}" for row in sources]},
        ratios={
            "time_ratio_10x": {f"{b}": costs[b][ALL].cpu / costs[a][ALL].cpu for a, b in steps},
            "all_distinct_time_ratio_10x": {
                f"{b}": costs[b][ALL_DISTINCT].cpu / costs[a][ALL_DISTINCT].cpu for a, b in steps
            },
            "memory_ratio_10x": {f"{b}": max(_memory(costs[a], costs[b]).values()) for a, b in steps},
            "distinct_chains_time_ratio_10x": {
                f"{b}": costs[b][DISTINCT].cpu / costs[a][DISTINCT].cpu for a, b in steps
            },
            "distinct_chains_memory_ratio_10x": {
                f"{b}": costs[b][DISTINCT].peak_mb / costs[a][DISTINCT].peak_mb for a, b in steps
            },
        },
        words={
            "time_ratio_10x": "processor seconds of all stages, over those of a tenth of the complexes",
            "all_distinct_time_ratio_10x": "the same with the split where every chain is another, as in a real dataset",
            "memory_ratio_10x": "peak memory over that at a tenth of the complexes, of the stage where it grows most",
            "distinct_chains_time_ratio_10x": "split alone where every chain is another, the same ratio",
            "distinct_chains_memory_ratio_10x": "its peak memory, the same ratio",
        },
        tables=[_costs(costs, count) for count in costs] + [_growth(costs, a, b) for a, b in steps],
        plots=[
            Plot(
                "scale",
                "Processor seconds of the stages by complexes",
                "complexes",
                "processor seconds",
                {stage: [(float(n), cost[stage].cpu) for n, cost in costs.items()] for stage in (*STAGES, DISTINCT)},
            )
        ],
        remarks=[
            f"The complexes are copies of the {len(sources)} with the smallest files, links under other ids. All "
            "copies of a complex have the same chains, so the stage split aligns no more chains at any size. The row "
            f"'{DISTINCT}' is the same stage on {', '.join(f'{n:,}' for n in chains.values())} distinct chains in "
            f"families of {FAMILY}. Up to `split.exhaustive_below` chains it aligns every pair, which takes a hundred "
            "times as long for ten times the chains; beyond, a search by k-mers comes first.",
            "Start-up of Python and imports is in the seconds: one for each batch and stage. Files were in the page "
            "cache. Snakemake's own time for planning is not in it.",
        ],
    )


def _memory(small: dict[str, Cost], large: dict[str, Cost]) -> dict[str, float]:
    return {stage: large[stage].peak_mb / small[stage].peak_mb for stage in STAGES}


def _costs(costs: dict[int, dict[str, Cost]], count: int) -> Table:
    return Table(
        f"{count:,} complexes",
        ["stage", "wall s", "processor s", "ms of the processor a complex", "peak MB"],
        [[name, c.wall, c.cpu, 1000 * c.cpu / count, c.peak_mb] for name, c in costs[count].items()],
    )


def _growth(costs: dict[int, dict[str, Cost]], small: int, large: int) -> Table:
    return Table(
        f"{large:,} complexes over {small:,}",
        ["stage", "wall", "processor", "peak memory"],
        [
            [name, large_.wall / small_.wall, large_.cpu / small_.cpu, large_.peak_mb / small_.peak_mb]
            for (name, small_), large_ in zip(costs[small].items(), costs[large].values(), strict=True)
        ],
    )
