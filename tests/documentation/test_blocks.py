"""Every block of the documentation does what it says, or at least could: see block_classes.py."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer.main
import yaml
from block_classes import CHECKED, CLASSES, NEWCOMER, NOT_RUN, PYTHON, RUN, SLOW, TEXT, YAML
from command_checks import check_bindrae, check_make, check_module, check_snakemake
from shell_blocks import DOCUMENTS, REPOSITORY, Block, all_blocks, blocks_of, commands_of, filled, make_workspace

from bindrae.cli import app
from bindrae.config import resolve_config

# Recorded but never carried out here; what each would need.
NOT_CHECKED = {
    "cp": "files of the page before it",
    "git": "an address to clone from",
    "ls": "results of the page before it",
    "squeue": "a running Slurm",
    "tail": "an end",
}


def class_of(block: Block) -> str:
    return CLASSES.get(block.document, {}).get(block.name, "")


def blocks(*classes: str) -> list[Any]:
    chosen = [block for block in all_blocks() if class_of(block).startswith(classes)]
    return [pytest.param(block, id=f"{block.document}:{block.line}") for block in chosen]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, dict[str, Any]]) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("docs"))
    newcomer = next(block for block in blocks_of("docs/newcomer.md") if "mine.yaml <<" in block.text)
    commands_of(newcomer, folder)
    prepared = folder / "results" / "casf2016" / "data"
    for name in ("index/batches.json", "clean/0000.parquet"):
        (prepared / name).parent.mkdir(parents=True)
        (prepared / name).write_text('{"0": "prepared"}')
    pd.DataFrame({"id": ["1s3v"], "cluster": ["c1"], "split": ["test"]}).to_parquet(prepared / "split.parquet")
    return folder


def test_every_block_has_one_class_and_every_entry_a_block() -> None:
    found = Counter((block.document, block.name) for block in all_blocks())
    entered = {(document, name) for document, names in CLASSES.items() for name in names}
    assert sorted(found.keys() - entered) == [], "enter these in tests/documentation/block_classes.py"
    assert sorted(entered - found.keys()) == [], "these blocks are gone"
    assert [key for key, count in found.items() if count > 1] == [], "two blocks of one name"
    known = (RUN, CHECKED, SLOW, NEWCOMER, PYTHON, YAML)
    for document, names in CLASSES.items():
        for name, kind in names.items():
            assert kind in known or (kind.startswith((NOT_RUN, TEXT)) and kind not in (NOT_RUN, TEXT)), (document, name)


def test_blocks_are_found_whether_indented_or_fenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(
        "Text\n\n    make demo   # a comment\n\n    make test\n\n- a list\n    goes on\n\n```sh\nls\n```\n\n    last\n"
    )
    monkeypatch.setattr("shell_blocks.REPOSITORY", tmp_path)
    found = list(blocks_of("page.md"))
    assert [(block.line, block.text) for block in found] == [
        (3, "make demo   # a comment\n\nmake test"),
        (11, "ls"),
        (14, "last"),
    ]
    assert found[0].name == "make demo"


def check(command: list[str], workspace: Path) -> bool:
    """Check one command line; False for those that cannot be."""
    name, *arguments = command
    if name == "torchrun":
        return check(arguments[arguments.index("--") + 1 :], workspace)
    if name in NOT_CHECKED:
        return False
    if name == "snakemake":
        check_snakemake(tuple(arguments), workspace)
    elif name == "make":
        check_make(arguments, workspace)
    else:
        {"bindrae": check_bindrae, "python": check_module}[name](arguments)
    return True


@pytest.mark.parametrize("block", blocks(CHECKED, SLOW, NEWCOMER, RUN))
def test_commands_are_understood(block: Block, workspace: Path) -> None:
    checked = [check(command, workspace) for command in commands_of(block, workspace)]
    assert class_of(block) == NEWCOMER or any(checked), "nothing in it was checked: call it NOT_RUN, with the reason"


@pytest.mark.parametrize("block", blocks(NOT_RUN))
def test_blocks_that_are_not_run_hold_nothing_that_could_be(block: Block, workspace: Path) -> None:
    assert all(command[0] in NOT_CHECKED for command in commands_of(block, workspace))


@pytest.mark.parametrize("block", blocks(RUN))
def test_commands_work(block: Block, workspace: Path) -> None:
    command_line: Any = typer.main.get_command(app)
    for command, *arguments in commands_of(block, workspace):
        assert command == "bindrae"
        with contextlib.chdir(workspace):
            command_line.main(arguments, prog_name="bindrae", standalone_mode=False)
        for option in {"-o", "--json"} & set(arguments):
            output = workspace / arguments[arguments.index(option) + 1]
            (written,) = [output] if output.is_file() else output.glob("1s3v.*")
            assert written.stat().st_size > 1000, shlex.join(arguments)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, dict[str, Any]]) -> Path:
    """A workspace whose datasets are the demo's complexes after all stages."""
    folder = make_workspace(tmp_path_factory.mktemp("prepared"))
    newcomer = next(block for block in blocks_of("docs/newcomer.md") if "mine.yaml <<" in block.text)
    commands_of(newcomer, folder)
    execute(["python", "-m", "snakemake", "data", "--configfile", "mine.yaml"], folder)
    for name in ("mydata", "casf2016"):
        shutil.copytree(folder / "results" / "mine" / "data", folder / "results" / name / "data")
    return folder


def execute(command: list[str], folder: Path) -> None:
    """Really run a program of the package."""
    if command[0] == "bindrae":
        command = ["python", "-m", *command]
    assert command[0] == "python"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("block", blocks(SLOW))
def test_programs_work(block: Block, prepared: Path) -> None:
    for command in commands_of(block, prepared):
        execute(command, prepared)


@pytest.mark.parametrize("block", blocks(PYTHON))
def test_python_works(block: Block, workspace: Path) -> None:
    code = compile(filled(block.text), f"{block.document}:{block.line}", "exec")
    tables = workspace / "results" / "mine" / "data" / "clean"
    if "results/mine" in block.text and not tables.exists():
        tables.mkdir(parents=True)
        pd.DataFrame({"id": ["1abc"], "code": ["ligand_far"]}).to_parquet(tables / "0000.rejected.parquet")
    with contextlib.chdir(workspace):
        exec(code, {})


@pytest.mark.parametrize("block", blocks(YAML))
def test_settings_are_valid(block: Block) -> None:
    section = yaml.safe_load(block.text)
    resolve_config({"root": "somewhere", **section}, f"{block.document}:{block.line}")


def test_a_wrong_command_line_is_seen(workspace: Path) -> None:
    """The checks themselves can fail."""
    wrong = {
        "bindrae": ["predict", "protein.pdb", "--modell", "x"],
        "python": ["-m", "bindrae.data.forecast", "data", "--complex", "many"],
        "snakemake": ["nothing_of_that_name"],
        "make": ["nothing-of-that-name"],
    }
    for name, arguments in wrong.items():
        with pytest.raises(Exception, match=r"."):
            check([name, *arguments], workspace)
    with pytest.raises(AssertionError, match="bash says"):
        commands_of(Block("page.md", 1, "snakmake -n"), workspace)
    assert "README.md" in DOCUMENTS
