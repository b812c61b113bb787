"""What the data stages cost: ``python -m bindrae.data.cost results/casf2016/data``.

Runs clean, pocket, torsions and tokens over an index in one process, into a temporary folder, and prints the CPU time
of each beside the time that gemmi and RDKit need just to read the same files, and the peak memory.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gemmi
from rdkit import Chem

from bindrae.config import CleanSettings, PocketSettings, TokenSettings, TorsionSettings
from bindrae.data.layout import DataLayout
from bindrae.data.stages import run_clean, run_pocket, run_tokens, run_torsions
from bindrae.data.storage import read_table


def bare_reading(layout: DataLayout) -> None:
    """Read every protein with gemmi and the first ligand file of each complex with RDKit, and nothing else."""
    for row in read_table(layout.entries, ["protein", "ligand"]).to_pylist():
        gemmi.FlatStructure(gemmi.read_structure(row["protein"]))
        ligand = row["ligand"][0]
        if ligand.endswith(".sdf"):
            next(iter(Chem.SDMolSupplier(ligand, sanitize=False, removeHs=False)))


def main(folder: str) -> None:
    """Print the table."""
    layout = DataLayout(Path(folder))
    count = read_table(layout.entries, ["id"]).num_rows
    with tempfile.TemporaryDirectory() as scratch:
        out = DataLayout(Path(scratch))

        def clean(n: int) -> None:
            run_clean(layout.entries, n, out.batch("clean", n), CleanSettings())

        def pocket(n: int) -> None:
            run_pocket(out.batch("clean", n), out.batch("pocket", n), PocketSettings())

        def torsions(n: int) -> None:
            run_torsions(out.batch("clean", n), out.batch("torsions", n), TorsionSettings())

        def tokens(n: int) -> None:
            run_tokens(out.batch("clean", n), out.batch("pocket", n), out.batch("tokens", n), TokenSettings())

        seconds = {"bare reading": _cpu(lambda: bare_reading(layout))}
        stages: dict[str, Callable[[int], None]] = {
            "clean": clean,
            "pocket": pocket,
            "torsions": torsions,
            "tokens": tokens,
        }
        for name, stage in stages.items():
            seconds[name] = _cpu(lambda run=stage: [run(n) for n in layout.batch_numbers()])  # type: ignore[misc]
    print(f"{count} complexes, one process\n\n| what | CPU s | ms a complex |\n|---|---|---|")
    seconds["all four stages"] = sum(seconds[name] for name in stages)
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {1000 * value / count:.1f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"\npeak memory {peak:.0f} MB")


def _cpu(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main(sys.argv[1])
