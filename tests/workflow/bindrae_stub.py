"""Stands in for the command `bindrae`: writes what each stage would write, in no time, and records the call.

File names are spelled out here, apart from bindrae.data.layout, so that a name changed on one side alone shows up.
Only `index` is real: which batches a new complex touches is its work.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FLAGS = ("--restart-if-changed", "--refine", "--no-refine", "--geometry", "--no-geometry")
command, *rest = [argument for argument in sys.argv[1:] if argument not in FLAGS]
if command == "predict":
    rest = ["entries", *rest]
if command == "join":
    models = [rest.pop(0) for _ in range(rest.index("--output"))]
    rest += ["models", " ".join(models)]
options = dict(zip(rest[::2], rest[1::2], strict=True))
with open(os.environ["BINDRAE_STUB_LOG"], "a") as log:
    log.write(json.dumps([command, options]) + "\n")
if command in os.environ.get("BINDRAE_STUB_FAILS", "").split():
    sys.exit(f"{command} was told to fail")
if command == "index":
    from bindrae.cli import main

    sys.exit(main())

data = Path(options.get("--data", "none"))
folder = Path(options.get("--folder", "none"))
run = Path(options.get("--run", "none"))
batch = f"{int(options.get('--batch', 0)):04d}"
table = [data / command / f"{batch}{suffix}" for suffix in (".parquet", ".json", ".rejected.parquet")]
written = {
    "clean": table,
    "pocket": table,
    "torsions": table,
    "tokens": table,
    "embed": [data / "embed" / f"{batch}{suffix}" for suffix in (".pt", ".json")],
    "split": [data / "split.parquet", data / "split.json"],
    "shards": [
        data / "shards" / f"{batch}.json",
        *(
            data / "shards" / f"{side}-{batch}{suffix}"
            for side in ("train", "val", "test")
            for suffix in (".parquet", ".pt")
        ),
    ],
    "quality": [data / "quality.json", data / "quality.html"],
    "train": [run / "model.safetensors", run / "metrics.jsonl", run / "training.json"],
    "evaluate": [run / "evaluation.json", run / "residues.parquet"],
    "report": [run / "report.html"],
    "fit": [Path(options.get("--output", "none")).with_suffix(suffix) for suffix in (".safetensors", ".json")],
    "join": [Path(options.get("--output", "none"))],
    "predict": [Path(options.get("-o", "none")) / "summary.json"],
    "ablation": [folder / "ablation.json", folder / "ablation.html"],
}
for file in written[command]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{command} {options}\n")
if command == "split":
    # Each complex a cluster of its own; the workflow reads the rows to tell which batches changed.
    import pyarrow as pa
    import pyarrow.parquet as pq

    settings = json.loads(options["--settings"])
    (data / "split.json").write_text(json.dumps({"version": 2, "settings": settings}))
    ids = pq.read_table(data / "index" / "entries.parquet")["id"].to_pylist()
    rows = [{"id": name, "cluster": name, "split": "test" if settings["seed"] else "train"} for name in sorted(ids)]
    pq.write_table(pa.Table.from_pylist(rows), data / "split.parquet")
print(f"{command}: done")
