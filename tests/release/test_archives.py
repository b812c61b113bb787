"""Wheel and source archive: whole, nothing foreign in them, and fit for an empty environment."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = f"bindrae-{PROJECT['version']}"
# Git keeps the top-level profile as a link; an archive holds what it points to.
LINKED = {"slurm": "slurm/profile.yaml"}


def tracked() -> set[str]:
    """Files that git keeps; skips where this is no clone, as in an unpacked archive."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone: there is no list of files to compare with")
    return {LINKED.get(name, name) for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def build(source: Path, target: Path, kind: str) -> Path:
    """Build one archive without an index: hatchling is a package of the `test` extra."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive alone, as an index or a distribution does it."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "--extract", "--gzip", "--file", sdist, "--directory", folder], check=True)
    return build(folder / NAME, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_source_archive_holds_what_git_keeps(sdist: Path) -> None:
    """A new file at the top is named in pyproject.toml, [tool.hatch.build.targets.sdist]."""
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members), "no links: not every system unpacks them"
    held = {member.name.removeprefix(f"{NAME}/") for member in members if member.isfile()}
    listed = tracked()
    assert listed - held == set()
    others = subprocess.run(
        ["git", "ls-files", "-z", "--others"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")  # what a developer has lying about is not what this test is for
    assert held - listed - set(others) == {"PKG-INFO"}
    assert not any(name.startswith((".venv/", "data/", "results/")) or "__pycache__" in name for name in held)


def test_scripts_stay_executable(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        modes = {m.name.removeprefix(f"{NAME}/"): m.mode for m in archive.getmembers()}
    for script in (".ci/run", "workflow/scripts/resumable.sh"):
        assert modes[script] & 0o111, script


def test_the_wheel_holds_the_package_and_nothing_else(in_wheel: set[str]) -> None:
    here = {name for name in tracked() if name.startswith("bindrae/")}
    package = {name for name in in_wheel if not name.startswith(f"{NAME}.dist-info/")}
    assert here - package == set()
    assert all(name.startswith("bindrae/") for name in package)
    assert not any("__pycache__" in name or name.endswith((".pyc", ".tmp")) for name in package)


@pytest.mark.parametrize(
    "name",
    [
        "bindrae/py.typed",
        "bindrae/weights/stage1.safetensors",
        "bindrae/weights/README.md",
        "bindrae/weights/complexes.csv",
        "bindrae/chem/ideal_geometry.csv",
        "bindrae/structure/modified_residues.csv",
        "bindrae/reporting/templates/report.html.j2",
        "bindrae/reporting/templates/quality.html.j2",
        "bindrae/reporting/templates/ablation.html.j2",
        f"{NAME}.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds_what_the_package_reads(in_wheel: set[str], name: str) -> None:
    assert name in in_wheel


def test_the_shipped_weights_are_those_of_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in ("bindrae/weights/stage1.safetensors", "bindrae/chem/ideal_geometry.csv"):
            assert archive.read(name) == (ROOT / name).read_bytes()


def test_metadata_says_what_the_project_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        about = Parser().parsestr(archive.read(f"{NAME}.dist-info/METADATA").decode())
        points = configparser.ConfigParser()
        points.read_string(archive.read(f"{NAME}.dist-info/entry_points.txt").decode())
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("bindrae", PROJECT["version"], "MIT")
    assert about["Requires-Python"] == PROJECT["requires-python"]
    assert set(about.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    plain = [line for line in about.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(plain) == len(PROJECT["dependencies"])
    assert points["console_scripts"]["bindrae"] == "bindrae.cli:main"
    assert about["Description-Content-Type"] == "text/markdown"
    assert "# BINDRAE" in about.get_payload()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_works_in_an_empty_environment(wheel: Path, demo: dict, tmp_path: Path) -> None:
    """Needs a package index, and a few gigabytes for torch."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "bindrae"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    for what in (torch, str(wheel)):
        done = subprocess.run([*install, what], capture_output=True, text=True, env=clean, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run(command, "--version").strip() == f"bindrae {PROJECT['version']}"
    assert run(python, "-m", "bindrae", "--version").strip() == f"bindrae {PROJECT['version']}"
    assert str(tmp_path) in run(python, "-c", "import bindrae; print(bindrae.__file__)")
    assert "weights of the package: present" in run(command, "env")
    run(python, "-m", "pip", "check")
    protein, ligand = demo["1s3v"]["protein"], demo["1s3v"]["ligand"][0]
    out = run(command, "predict", protein, ligand, "-o", tmp_path / "holo.pdb", "--json", tmp_path / "s.json")
    assert "side chains built" in out
    assert (tmp_path / "holo.pdb").read_text().count("ATOM  ") > 1000
    # All modules can be imported, but for those that need an extra or another program.
    listing = (
        "import pkgutil, importlib, bindrae\n"
        "for m in pkgutil.walk_packages(bindrae.__path__, 'bindrae.'):\n"
        "    if not m.name.endswith('__main__') and '.workers.' not in m.name:\n"
        "        importlib.import_module(m.name)\n"
    )
    run(python, "-c", listing)
    shutil.rmtree(tmp_path / "venv")
