"""What bindrae runs on: the machine, the packages and the optional parts; for records and for reports of a fault."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from bindrae import __version__

_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_COMMANDS = ("snakemake", "sbatch", "make", "git")


def processor() -> str:
    """Name of the processor."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_fact(name: str) -> str:
    """A line of the kernel's description of the first processor; empty where there is none."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == name), "")


def bf16_units() -> list[str]:
    """What the processor multiplies bf16 with by itself; where there is nothing, torch does it number by number."""
    known = (cpu_fact("flags") or cpu_fact("Features")).split()  # x86 and Arm
    return [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in known]


def hardware() -> dict[str, str | int]:
    """Processor, cores, memory (GB) and whether the processor multiplies bf16 by itself."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "bf16": ", ".join(bf16_units()) or "no",
    }


def version_of(package: str, missing: str = "not installed") -> str:
    """Installed version of a package, or `missing`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return missing


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of some packages."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in packages}}


def requirements() -> dict[str, list[str]]:
    """Packages that this installation asks for, by extra; those that are always needed under an empty name."""
    found: dict[str, list[str]] = {}
    try:
        lines = importlib.metadata.requires("bindrae") or []
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        lines = []
    for line in lines:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = _EXTRA.search(line)
        found.setdefault(extra.group(1) if extra else "", []).append(name)
    return found


def describe() -> str:
    """The environment as text to put into a report of a fault; holds no names of people, machines or folders."""
    from bindrae.data.layout import SHIPPED

    machine = hardware()
    lines = [
        f"bindrae {__version__}, Python {platform.python_version()} ({platform.python_implementation()})",
        f"system: {platform.system()} {platform.release()} on {platform.machine()}",
        f"processor: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB memory, "
        f"bf16 {machine['bf16']}",
        f"GPU: {_gpus()}",
        f"weights of the package: {'present' if SHIPPED.is_file() else 'missing'}",
        "commands: " + ", ".join(f"{name} {'yes' if shutil.which(name) else 'no'}" for name in _COMMANDS),
    ]
    for extra, packages in requirements().items():
        named = ", ".join(f"{name} {version_of(name)}" for name in packages)
        lines.append(f"{f'extra {extra}' if extra else 'packages'}: {named}")
    return "\n".join(lines)


def _gpus() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:  # a library of it that cannot be loaded
        return f"not known, torch cannot be imported: {error}"
    if not torch.cuda.is_available():
        return f"none that torch {torch.__version__} can use"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{', '.join(names)}; CUDA {torch.version.cuda}"
