"""environment.yml as far as it can be proven without conda: pins are those of constraints.txt, and pip solves them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from workflow_clone import REPOSITORY

from bindrae.config import read_yaml


def pip_part() -> list[str]:
    """Requirements of the pip part, this package itself left out."""
    dependencies = read_yaml(REPOSITORY / "environment.yml")["dependencies"]
    (part,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return [line for line in part if not line.startswith("--editable")]


def pins(lines: list[str]) -> dict[str, str]:
    """Version of each package that is pinned."""
    return dict(match.groups() for line in lines if (match := re.fullmatch(r"([A-Za-z0-9_.-]+)==(\S+)", line.strip())))


def test_pins_are_those_of_the_tested_set_but_for_torch() -> None:
    """FlashAttention's wheels are built for one torch, which is older than the tested one."""
    tested = pins((REPOSITORY / "constraints.txt").read_text().splitlines())
    conda = pins(pip_part())
    assert len(conda) > 20
    assert {name: version for name, version in conda.items() if tested.get(name, version) != version} == {
        "torch": conda["torch"]
    }


@pytest.mark.slow
def test_pip_solves_the_pip_part(tmp_path: Path) -> None:
    """Needs a package index. The wheel of FlashAttention is named by its address and is left out."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(line for line in pip_part() if " @ " not in line))
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run([*command, "--requirement", requirements], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
