"""Files for those who take part agree with one another and with the code."""

from __future__ import annotations

import datetime
import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from bindrae.data.stages import VERSIONS
from bindrae.errors import REJECTION_CODES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
DOCUMENTS = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parts(level: int) -> dict[str, str]:
    """Text under each heading of the changelog."""
    found = re.split(rf"^{'#' * level} (.+)$", text_of("CHANGELOG.md"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def releases() -> list[tuple[tuple[int, ...], datetime.date]]:
    """Version and day of each release, in the order of the changelog."""
    found = []
    for heading in list(parts(2))[1:]:
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d\d-\d\d)", heading)
        assert match, f"CHANGELOG.md: {heading!r} is no version and day"
        found.append((tuple(map(int, match.groups()[:3])), datetime.date.fromisoformat(match[4])))
    return found


def test_the_newest_release_of_the_changelog_is_the_packages_version() -> None:
    assert next(iter(parts(2))) == "Unreleased"
    assert ".".join(map(str, releases()[0][0])) == PROJECT["version"]


def test_releases_go_back_in_time() -> None:
    found = releases()
    assert found == sorted(found, reverse=True)
    assert len({version for version, _ in found}) == len(found)


def test_changes_stand_under_known_headings_once_each() -> None:
    for title, text in parts(2).items():
        headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert set(headings) <= SECTIONS, title
        assert len(set(headings)) == len(headings), title
        assert headings or not text.strip(), f"{title}: changes stand under a heading"


def test_the_citation_has_the_same_version() -> None:
    assert yaml.safe_load(text_of("CITATION.cff"))["version"] == PROJECT["version"]


def linted() -> set[tuple[str, ...]]:
    """Commands of `make lint`."""
    rule = re.search(r"^lint:.*\n((?:\t.*\n)+)", text_of("Makefile"), re.MULTILINE)
    assert rule
    return {tuple(shlex.split(line.replace("$(BIN)", ".venv/bin"))) for line in rule[1].splitlines()}


def test_pre_commit_runs_what_make_lint_runs() -> None:
    """By the tools of .venv, whose versions are those of constraints.txt: there is no second list of versions."""
    repositories = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert all(hook["language"] == "system" for hook in hooks)
    assert {tuple(shlex.split(hook["entry"])) for hook in hooks} == linted()
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    pinned = dict(line.split("==") for line in text_of("constraints.txt").splitlines() if "==" in line)
    assert {Path(command[0]).name for command in linted()} <= set(pinned)


def test_the_catalog_finds_what_standardised_usage_asks_for() -> None:
    usage = yaml.safe_load(text_of(".snakemake-workflow-catalog.yml"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert all(isinstance(value, bool) for value in (*usage["software-stack-deployment"].values(), usage["report"]))
    for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml", "LICENSE", "README.md"):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", ["bug", "complex", "feature"])
def test_issue_templates_are_forms(name: str) -> None:
    form = yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(
        field["type"] in ("textarea", "input", "dropdown") and field["attributes"]["label"] for field in form["body"]
    )
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    if name != "feature":
        assert "bindrae env" in str(form)


def test_the_picture_shows_every_stage() -> None:
    text = text_of("CONTRIBUTING.md")
    picture = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert picture
    drawn = set(re.findall(r"\w+", picture[1]))
    assert set(VERSIONS) <= drawn
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    for stage in VERSIONS:
        assert re.search(rf"^(?:rule|checkpoint) {stage}(?:_batch)?:", rules, re.MULTILINE), stage


def test_the_picture_shows_what_each_rule_reads() -> None:
    """Its arrows are those of the rules in data.smk."""
    picture = re.search(r"```mermaid\n(.*?)```", text_of("CONTRIBUTING.md"), re.DOTALL)
    assert picture
    drawn = set()
    for line in picture[1].splitlines():
        ends = [set(re.findall(r"[a-z]+", re.sub(r"\[.*?\]", "", end))) for end in re.split(r"-->|-\..*?\.->", line)]
        drawn |= {(a, b) for left, right in pairwise(ends) for a in left for b in right}
    rules = (ROOT / "workflow" / "rules" / "data.smk").read_text()
    for name, body in re.findall(r"^(?:rule|checkpoint) (\w+):\n(.*?)\n    output:", rules, re.MULTILINE | re.DOTALL):
        stage = name.removesuffix("_batch")
        read = set(re.findall(r"^        (clean|pocket|torsions|tokens|embed|split)=", body, re.MULTILINE))
        if stage == "quality":  # it reads all of them: one arrow stands for them
            read = {"shards"}
        assert {a for a, b in drawn if b == stage} - {"files", "index"} == read, stage


def test_documents_name_files_and_codes_that_exist() -> None:
    for name in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", text_of(name)):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{name}: {target}"
    text = text_of("CONTRIBUTING.md") + text_of("SECURITY.md")
    for path in re.findall(r"`((?:bindrae|tests|workflow|config)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    assert "ligand_unreadable" in REJECTION_CODES
    assert "ligand_unreadable" in text_of(".github/ISSUE_TEMPLATE/complex.yml")
    makefile = text_of("Makefile")
    for document in DOCUMENTS:
        for target in set(re.findall(r"(?:^    |`)make ([a-z-]+)", text_of(document), re.MULTILINE)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE) or target.startswith("bench-"), target


def test_every_dependency_has_its_licence_noted() -> None:
    table = text_of("SECURITY.md").partition("| package | licence |")[2]
    noted = {name.strip() for line in table.splitlines() for name in line.split("|")[1:2] for name in name.split(",")}
    asked = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in PROJECT["dependencies"]}
    assert asked == noted - {"", "---"}


def test_limits_in_the_policy_are_those_of_the_code() -> None:
    from bindrae.chem import ligand_files
    from bindrae.data.ids import MAX_ID_LENGTH
    from bindrae.structure import atoms

    policy = text_of("SECURITY.md")
    assert f"{atoms.MAX_BYTES // 2**20} MB of text for a protein, {ligand_files._MAX_BYTES // 2**20} MB" in policy
    assert f"{atoms.MAX_ATOMS:,} atoms" in policy.replace("\n", " ")
    assert f"{MAX_ID_LENGTH} at most" in policy
