"""What a command costs, seen from outside: wall time, processor time and peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from bindrae.errors import BindraeError

# A program starts with the memory mark of the one that starts it; this one is small, the benchmark is not.
_WATCH = """
import json, os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
cost = time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss
print(json.dumps([os.waitstatus_to_exitcode(status), *cost]))
"""
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Cost:
    """What commands cost together.

    Attributes
    ----------
    wall, cpu : float
        Seconds, and seconds of the processor, those of child processes with them.
    peak_mb : float
        Largest memory of any of the processes (MB).
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
    return Cost(wall, cpu, peak * _MAXRSS_BYTES / 1e6)
