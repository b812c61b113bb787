"""Blocks of the documentation, the commands that bash makes of them, and a folder in which they can run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bindrae.data.demo_files import copy_demo
from bindrae.data.layout import SHIPPED
from complexes import peptide
from groups import group, write_cif

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "config/README.md",
    "bindrae/weights/README.md",
    *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
)
PLACEHOLDERS = {
    "<dataset>": "mydata",
    "<run>": "default",
    "/where/CASF-2016": "mycomplexes",
    "/where/PDBbind": "mycomplexes",
}
RECORDED = ("bindrae", "cp", "git", "ls", "make", "python", "snakemake", "squeue", "tail", "torchrun")
"""Commands of which bash only notes how they were called; any other is run, or is not found."""
_STUB = '#!/bin/bash\n{ printf "%s\\0" "${0##*/}" "$@"; printf "\\n\\0"; } >>"$RECORD"\n'


@dataclass(frozen=True)
class Block:
    """An indented or fenced block.

    Attributes
    ----------
    document : str
        Path in the repository.
    line : int
        Where it begins, from 1.
    text : str
        Without the indent.
    """

    document: str
    line: int
    text: str

    @property
    def name(self) -> str:
        """Its first line, without a comment and with single spaces: what the table of classes calls it."""
        return " ".join(re.sub(r"\s#.*", "", self.text.splitlines()[0]).split())


def blocks_of(document: str) -> Iterator[Block]:
    """All blocks of a Markdown file, in its order."""
    lines = (REPOSITORY / document).read_text().splitlines()
    found: list[str] = []
    start, after_blank, fence = 0, True, ""
    for number, line in enumerate([*lines, "end"], start=1):
        if fence or line.startswith("```"):
            if fence and line.startswith("```"):
                yield Block(document, start, "\n".join(found))
                found, fence = [], ""
            elif fence:
                found.append(line)
            else:
                start, fence = number + 1, line
        elif line.startswith("    ") and (found or after_blank):
            start = start if found else number
            found.append(line[4:])
        elif found and line:
            yield Block(document, start, "\n".join(found).rstrip())
            found = []
        elif found:
            found.append("")
        after_blank = not line
    assert not fence, f"{document}: a fence is never closed"


@cache
def all_blocks() -> tuple[Block, ...]:
    """Blocks of all documents."""
    return tuple(block for document in DOCUMENTS for block in blocks_of(document))


def filled(text: str) -> str:
    """A block with its placeholders replaced by what the workspace holds."""
    for placeholder, real in PLACEHOLDERS.items():
        text = text.replace(placeholder, real)
    return text


def make_workspace(folder: Path) -> Path:
    """A folder like a clone's, with the demo's complexes under all names that the documentation uses."""
    for name in ("workflow", "config", "slurm", "Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).symlink_to(REPOSITORY / name)
    complexes = copy_demo(folder / "mycomplexes")
    first = complexes[0].parent / "1s3v" / "1s3v_protein.pdb"
    for name in ("protein.pdb", "crystal.pdb", "predicted.pdb"):
        shutil.copyfile(first, folder / name)
    shutil.copyfile(first.with_name("1s3v_ligand.sdf"), folder / "ligand.sdf")
    for name in ("CRYSTALS", "complexes"):
        shutil.copytree(first.parent, folder / name / "1s3v")
    for name in ("PREDICTIONS", "OTHERS"):
        (folder / name).mkdir()
        shutil.copyfile(first, folder / name / "1s3v.pdb")
    write_cif(folder / "protein.cif", peptide("AFKDSWLEGHRMPTYNQVIC") + group("STI", 201, centre=(5.0, 12.0, 12.0)))
    model = folder / "results" / "mydata" / "runs" / "default" / "model.safetensors"
    model.parent.mkdir(parents=True)
    for path in (model, folder / "model.safetensors"):
        shutil.copyfile(SHIPPED, path)
    for name in ("bindrae", ".venv/bin"):
        (folder / name).mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    return folder


def commands_of(block: Block, workspace: Path) -> list[list[str]]:
    """What bash makes of a block: the command lines in order, none of them run but those that only touch text.

    Parameters
    ----------
    block : Block
    workspace : Path
        The folder to be in.
    """
    stubs, record = workspace / ".stubs", workspace / ".record"
    stubs.mkdir(exist_ok=True)
    for name in RECORDED:
        (stubs / name).write_text(_STUB)
        (stubs / name).chmod(0o755)
    if not (stubs / "cat").exists():
        (stubs / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    record.write_bytes(b"")
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", filled(block.text)],
        cwd=workspace,
        env={"PATH": str(stubs), "RECORD": str(record), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{block.document}:{block.line}: bash says {done.stderr}"
    calls = record.read_text().split("\n\0")
    assert calls.pop() == ""
    return [call.split("\0")[:-1] for call in calls]
