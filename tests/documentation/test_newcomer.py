"""The newcomer's path, run literally: every command of docs/newcomer.md, in its order, from a fresh clone."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from block_classes import CLASSES, NEWCOMER
from shell_blocks import REPOSITORY, blocks_of

PAGE = "docs/newcomer.md"
ADDRESS = "https://where.it/is/bindrae.git"
MOST_SECONDS = 1800
# Variables of the run of the tests; make would hand the ARGS that it was given on to the page's own make.
_NOT_A_NEWCOMERS = ("BINDRAE_", "SNAKEMAKE_", "PYTHON", "MAKE", "MFLAGS", "ARGS")


def parts() -> Iterator[tuple[str, str]]:
    """Heading and commands of each part of the page."""
    lines = (REPOSITORY / PAGE).read_text().splitlines()
    headings = [(number, line[3:]) for number, line in enumerate(lines, start=1) if line.startswith("## ")]
    commands = [block for block in blocks_of(PAGE) if CLASSES[PAGE][block.name] == NEWCOMER]
    for (start, heading), (end, _) in zip(headings, [*headings[1:], (len(lines) + 1, "")], strict=True):
        yield heading, "\n".join(block.text for block in commands if start < block.line < end)


def test_every_part_of_the_page_has_commands() -> None:
    found = dict(parts())
    assert [heading[0] for heading in found] == ["1", "2", "3", "4"]
    assert all(found.values())
    assert ADDRESS in found["1. The demo"]


@pytest.mark.slow
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_the_path_works_from_a_fresh_clone(tmp_path: Path) -> None:
    """Prints the seconds since the start after each part; installs packages, so it needs a package index."""
    script = tmp_path / "newcomer.sh"
    lines = ["set -euo pipefail"]
    for heading, commands in parts():
        quoted = heading.replace("'", "")
        lines += [f"echo '== {quoted}'", commands.replace(ADDRESS, f"file://{REPOSITORY}"), 'echo "== $SECONDS s"']
    script.write_text("\n".join(lines) + "\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_A_NEWCOMERS)}
    path = os.pathsep.join(p for p in kept["PATH"].split(os.pathsep) if not p.endswith(".venv/bin"))
    kept.pop("VIRTUAL_ENV", None)
    empty = tmp_path / "empty"
    empty.mkdir()
    start = time.monotonic()
    done = subprocess.run(
        ["bash", script], cwd=empty, env={**kept, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    seconds, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n".join(re.findall(r"^== .*$", done.stdout, re.MULTILINE)))
    print(f"== in all {seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of the processor")
    assert done.returncode == 0, done.stdout[-8000:]
    clone = empty / "bindrae"
    assert (clone / "holo.pdb").stat().st_size > 10_000
    assert "REMARK 999" in (clone / "mine.pdb").read_text()
    assert "slurm" in done.stdout
    assert seconds < MOST_SECONDS, f"{seconds:.0f} s"
