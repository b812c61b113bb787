"""Virtual environments for the packers: one each, so that none of their pins touches ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bindrae.benchmark.peers.peer import tail_of
from bindrae.errors import BindraeError

_STAMP = "requirements.txt"


def make_environment(folder: Path, requirements: list[str], python: str) -> Path:
    """Make a virtual environment with pip, or take the one that is there; pip's own settings say where from.

    Parameters
    ----------
    folder : Path
        Of the environment; an unfinished one in it is made anew.
    requirements : list of str
        As pip takes them.
    python : str
        Interpreter to make it with.

    Returns
    -------
    Path
        The environment's interpreter.

    Raises
    ------
    BindraeError
        When it cannot be made.
    """
    interpreter, stamp, log = folder / "bin" / "python", folder / _STAMP, folder.with_suffix(".log")
    wanted = "\n".join(requirements) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted and interpreter.exists():
        return interpreter.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"installing {', '.join(requirements)} into {folder}", flush=True)
    commands = [
        [python, "-m", "venv", str(folder)],
        [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *requirements],
    ]
    with log.open("wb") as stream:
        for command in commands:
            if subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode:
                raise BindraeError(
                    f"{' '.join(requirements)} cannot be installed with {python}: {tail_of(log)}",
                    f"the whole output is in {log}; what is missing may be a compiler, or a package index for pip",
                )
    stamp.write_text(wanted)  # last: without it the environment is not whole
    return interpreter.absolute()


def find_python(version: str) -> str:
    """An interpreter of one version, such as ``3.11``: ours, or one on the PATH.

    Raises
    ------
    BindraeError
        When there is none.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise BindraeError(f"there is no python{version}", "install this version of Python, and have it on the PATH")
    return found
