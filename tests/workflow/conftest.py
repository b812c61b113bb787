"""Clones to run Snakemake in: fresh, or with everything done."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from workflow_clone import Clone, make_clone


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave those out unless they are asked for by name: they install packages and start daemons."""
    if "slurm" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("slurm")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-in for `bindrae`."""
    folder = tmp_path_factory.mktemp("commands")
    command = folder / "bindrae"
    command.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "bindrae_stub.py").read_text())
    command.chmod(0o755)
    return folder


@pytest.fixture
def clone(tmp_path: Path, commands: Path) -> Clone:
    """A fresh clone."""
    return make_clone(tmp_path, commands)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Clone:
    """A clone in which everything has run; tests take a copy of it."""
    clone = make_clone(tmp_path_factory.mktemp("finished"), commands)
    clone.run("all", "data")
    return clone


@pytest.fixture
def rerun(finished: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished clone, times included."""
    folder = tmp_path / "clone"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Clone(folder, finished.commands)
