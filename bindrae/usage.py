"""What this process has used of the machine."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float:
    """Most memory that this process has held so far (MB of 2**20 bytes)."""
    if _STATUS.is_file():  # ru_maxrss begins at that of the process that started this one
        line = next((line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if line is not None:  # some sandboxes leave it out
            return float(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
