"""What planning a large dataset costs: ``python tests/workflow/plan_at_scale.py --complexes 500000 --batches 500``.

Makes a dataset of made-up entries (all name the same two small files), indexes it, and lets Snakemake plan it twice:
before anything has run, and when every file of the data stages is there. Prints seconds and peak memory of each step,
the jobs, and the fullest folder.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bindrae.config import SplitSettings
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import rejected_path, sidecar_path, write_json

REPOSITORY = Path(__file__).parents[2]
CONFIG = "dataset: large\nroot: sheet.parquet\nindex: {{layout: sheet, n_batches: {}}}\n"


def measure(folder: Path, *command: str) -> tuple[float, float, str]:
    """Seconds, peak memory (GB) and output of a command, which must succeed."""
    log = folder / "output.txt"
    start = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(log.read_text())
    peak = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return time.monotonic() - start, peak, log.read_text()


def make_dataset(folder: Path, complexes: int, batches: int) -> None:
    """A clone with a sheet of made-up entries."""
    for name in ("workflow", "config"):
        (folder / name).symlink_to(REPOSITORY / name)
    for name in ("protein.pdb", "ligand.sdf"):
        (folder / name).touch()
    ids = [f"c{number:07d}" for number in range(complexes)]
    columns = {"id": ids, "protein": ["protein.pdb"] * complexes, "ligand": ["ligand.sdf"] * complexes}
    pq.write_table(pa.table(columns), folder / "sheet.parquet")
    (folder / "config.yaml").write_text(CONFIG.format(batches))


def pretend_done(data: DataLayout) -> None:
    """Put every file of the data stages in place, empty but for what the workflow itself reads."""
    ids = pq.read_table(data.entries, columns=["id"])["id"]
    files: list[Path] = []
    for number in data.batch_numbers():
        for stage in ("clean", "pocket", "torsions", "tokens", "embed"):
            output = data.batch(stage, number)
            files += [output, sidecar_path(output)] + ([rejected_path(output)] if stage != "embed" else [])
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    constant = pa.array(["train"]).take(pa.array([0] * len(ids)))
    pq.write_table(pa.table({"id": ids, "cluster": ids, "split": constant}), data.split)
    settings = SplitSettings().model_dump(mode="json")
    write_json({"version": VERSIONS["split"], "settings": settings}, sidecar_path(data.split))
    for number in data.batch_numbers():
        output = data.batch("shards", number)
        output.parent.mkdir(exist_ok=True)
        shards = [data.shard(side, number) for side in SIDES]
        for file in (*shards, *(shard.with_suffix(".pt") for shard in shards), sidecar_path(output)):
            file.touch()
    for file in (data.quality, data.quality.with_suffix(".html")):
        file.touch()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--complexes", type=int, default=500_000)
    parser.add_argument("--batches", type=int, default=500)
    options = parser.parse_args()
    bindrae = Path(sys.executable).parent / "bindrae"
    plan = (sys.executable, "-m", "snakemake", "-n", "data", "--configfile", "config.yaml", "--quiet", "rules")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_dataset(folder, options.complexes, options.batches)
        data = DataLayout(folder / "results" / "large" / "data")
        index = f'{{"layout": "sheet", "n_batches": {options.batches}}}'
        relative = str(data.root.relative_to(folder))
        steps = {
            "index": measure(folder, str(bindrae), "index", "--data", relative, "--root", "sheet.parquet",
                             "--settings", index),
            "plan, nothing done": measure(folder, *plan),
        }  # fmt: skip
        pretend_done(data)
        steps["plan, all done"] = measure(folder, *plan)
        fullest = Counter(str(path.parent.relative_to(data.root)) for path in data.root.rglob("*") if path.is_file())
    print(f"{options.complexes} complexes in {options.batches} batches\n\n| step | s | GB | jobs |\n|---|---|---|---|")
    for name, (seconds, peak, told) in steps.items():
        jobs = re.findall(r"^total +(\d+)$", told, re.MULTILINE)
        print(f"| {name} | {seconds:.1f} | {peak:.2f} | {jobs[0] if jobs else 0 if 'plan' in name else 1} |")
    stage, count = fullest.most_common(1)[0]
    print(f"\nfullest folder: {stage}/ with {count} files")


if __name__ == "__main__":
    main()
