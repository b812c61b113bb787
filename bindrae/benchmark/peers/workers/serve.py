"""``python serve.py MODULE THREADS``: packs one complex a line, see `bindrae.benchmark.peers.peer.Worker`.

MODULE stands beside this script; its ``load(threads)`` gives the version of its program, and a function that packs the
PDB file of the first path and writes the second. This folder is the first that Python imports from here, so no file in
it may have the name of a package.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Answer jobs until the input ends. What libraries print goes to the log."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    version, pack = importlib.import_module(sys.argv[1]).load(int(sys.argv[2]))
    print(json.dumps({"ready": version}), file=answers)
    for line in sys.stdin:
        job = json.loads(line)
        answer: dict[str, Any]
        try:
            start, cpu_start = time.monotonic(), time.process_time()
            unfinished = f"{job['output']}.unfinished.pdb"
            pack(job["input"], unfinished)
            answer = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu_start}
            os.replace(unfinished, job["output"])
        except Exception as error:  # whatever it is, the complex has no result, and the next one is to be tried
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
