"""Stands in for the commands of Slurm: `sbatch` records its line and does nothing, every job is at once completed.

It goes by the name it is called by. In a clone where everything has run, Snakemake then finds all outputs in place and
submits one job after another.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

command, arguments = Path(sys.argv[0]).name, sys.argv[1:]
lines = Path(os.environ["SLURM_STUB_LOG"])
with_accounting = os.environ.get("SLURM_STUB_ACCOUNTING") == "yes"

if command == "sbatch":
    with lines.open("a") as stream:
        stream.write(json.dumps(arguments) + "\n")
    print(len(lines.read_text().splitlines()))
elif command in ("squeue", "sacct"):
    if command == "sacct" and not with_accounting:
        sys.exit("sacct: Slurm accounting storage is disabled")
    count = len(lines.read_text().splitlines()) if lines.exists() else 0
    leftovers = os.environ.get("SLURM_STUB_LEFT", "").split()
    if any(argument.startswith("--format=%i|%j|%Z") for argument in arguments):
        for number in leftovers:
            print(f"{number}|bindrae_0123|{Path.cwd()}")
            print(f"{number}9|bindrae_0123|/another/folder")
    else:
        failing = os.environ.get("SLURM_STUB_FAILS", "none")
        submitted = lines.read_text().splitlines() if count else []
        for number, line in enumerate(submitted, start=1):
            print(f"{number}|{'FAILED' if f'rule_{failing}' in line else 'COMPLETED'}")
elif command == "scontrol":
    kind = "accounting_storage/slurmdbd" if with_accounting else "accounting_storage/none"
    print(f"AccountingStorageType   = {kind}\nMaxArraySize            = 1001\nMinJobAge               = 300 sec")
elif command == "sinfo":
    print("PARTITION\ncommon*\ngpu")
elif command == "sacctmgr":
    print("lab7\nother")
