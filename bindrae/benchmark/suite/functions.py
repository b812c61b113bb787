"""Where a task spends its time, by the functions of this package."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_ROUNDS = 100  # calls between foreign functions are followed no deeper than this

Key = tuple[str, int, str]  # file, line, name: how the profiler names a function


def own_seconds(task: Callable[[], object]) -> dict[str, float]:
    """Seconds of each function of ours; what it calls in other packages or in C counts as its own.

    The profiler slows Python code more than C code, so shares are rough where a function loops.

    Parameters
    ----------
    task : callable

    Returns
    -------
    dict of str to float
        By ``module.function`` without the package's name, largest first. Time of foreign functions that nobody of ours
        called is left out.
    """
    profile = cProfile.Profile()
    profile.runcall(task)
    return share_out(pstats.Stats(profile).stats, _PACKAGE)  # type: ignore[attr-defined]  # the stubs forget it


def share_out(
    stats: dict[Key, tuple[int, int, float, float, dict[Key, tuple[int, int, float, float]]]], package: Path
) -> dict[str, float]:
    """Give the time of foreign functions to those of a package that called them.

    Parameters
    ----------
    stats : dict
        Of `pstats.Stats`: calls, calls, own and cumulated seconds of each function, and the same by its callers.
    package : Path
        Folder whose functions are ours.
    """
    ours = {key for key in stats if Path(key[0]).is_relative_to(package)}
    seconds: dict[Key, float] = defaultdict(float, {key: stats[key][2] for key in ours})
    waiting = {key: stats[key][2] for key in stats if key not in ours}
    for _ in range(_ROUNDS):
        handed: dict[Key, float] = defaultdict(float)
        for key, amount in waiting.items():
            callers = stats[key][4]
            total = sum(cumulated for *_, cumulated in callers.values())
            for caller, (*_, cumulated) in callers.items():
                part = amount * (cumulated / total if total else 1 / len(callers))
                (seconds if caller in ours else handed)[caller] += part
        waiting = {key: amount for key, amount in handed.items() if amount > 1e-9}
    named: dict[str, float] = defaultdict(float)
    for (file, _, name), amount in seconds.items():
        module = ".".join(Path(file).relative_to(package).with_suffix("").parts)
        named[f"{module}.{name}"] += amount
    return dict(sorted(named.items(), key=lambda item: -item[1]))
