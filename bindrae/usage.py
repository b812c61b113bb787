"""What this process, or a command that it runs, has used of the machine."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bindrae.errors import BindraeError

_STATUS = Path("/proc/self/status")
# A program starts with the memory mark of the one that starts it; this one is small.
_WATCH = """
import json, os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
cost = time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss
print(json.dumps([os.waitstatus_to_exitcode(status), *cost]))
"""
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_memory_mb() -> float:
    """Most memory that this process has held so far (MB of 2**20 bytes)."""
    if _STATUS.is_file():  # ru_maxrss begins at that of the process that started this one
        line = next((line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if line is not None:  # some sandboxes leave it out
            return float(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@dataclass(frozen=True)
class Cost:
    """What commands cost together.

    Attributes
    ----------
    wall, cpu : float
        Seconds, and seconds of the processor, those of child processes with them.
    peak_mb : float
        Largest memory of any of the processes (MB of 2**20 bytes).
    """

    wall: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0


def together(costs: Iterable[Cost]) -> Cost:
    """Sum of the seconds, maximum of the memory."""
    costs = list(costs)
    return Cost(sum(c.wall for c in costs), sum(c.cpu for c in costs), max((c.peak_mb for c in costs), default=0.0))


def cost_of(command: list[str]) -> Cost:
    """Run a command, its output thrown away.

    Parameters
    ----------
    command : list of str
        The first is the path of a program.

    Raises
    ------
    BindraeError
        When it fails, with the end of what it wrote to standard error.
    """
    watch = [sys.executable, "-S", "-E", "-c", _WATCH, *command]
    done = subprocess.run(watch, capture_output=True, text=True, check=False)
    line = done.stdout.splitlines()[-1] if done.stdout.strip() else "[1, 0, 0, 0]"
    code, wall, cpu, peak = json.loads(line)
    if done.returncode or code:
        raise BindraeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}", "run it by hand")
    return Cost(wall, cpu, peak * _MAXRSS_BYTES / 2**20)
