"""What the documentation names is there: commands, options, settings, targets, modules, files."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import typer.main
from shell_blocks import DOCUMENTS, REPOSITORY

from bindrae import config
from bindrae.benchmark.suite.parts import PARTS
from bindrae.cli import app
from bindrae.config import Config
from bindrae.documentation.troubles import messages
from bindrae.errors import REJECTION_CODES

# Options of programs that are not ours.
FOREIGN_OPTIONS = {
    "--command", "--config", "--configfile", "--dry-run", "--executor", "--force-reinstall", "--format", "--help",
    "--install-completion", "--lint", "--no-deps", "--no-python", "--nproc-per-node", "--persistence-backend",
    "--profile", "--set-resources", "--set-threads", "--signal", "--standalone", "--unlock", "--until",
}  # fmt: skip
# Words with an underscore that stand in no file of ours.
FOREIGN_WORDS = {"flash_ipa", "source_bash", "source_fish", "source_zsh"}
ATTRIBUTES = {"model.residue_edges"}  # of a Python object, not a setting
FILE_ENDINGS = {"html", "json", "parquet", "pins", "py"}
SECTIONS = {
    name: set(field.annotation.model_fields)
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, config.Settings)
}


@cache
def spans(document: str) -> tuple[str, ...]:
    """Inline code of a document, with blocks left out."""
    text = (REPOSITORY / document).read_text()
    # Names of measured ratios are put together by the benchmark that writes them.
    text = re.sub(r"<!-- bench:begin -->.*?<!-- bench:end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    return tuple(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))


def every_span() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for span in spans(document):
            yield document, span


@cache
def sources() -> str:
    """All our code, settings and templates as one text."""
    folders = ("bindrae", "workflow", "config", "tests")
    suffixes = {".py", ".smk", ".yaml", ".j2", ".sh", ".json"}
    files = [path for name in folders for path in (REPOSITORY / name).rglob("*") if path.suffix in suffixes]
    files += [REPOSITORY / "workflow" / "Snakefile", REPOSITORY / "constraints.txt", REPOSITORY / "pyproject.toml"]
    return "\n".join(path.read_text() for path in files if "tests/documentation" not in path.as_posix())


def options() -> set[str]:
    group: Any = typer.main.get_command(app)
    parsed = {o for c in group.commands.values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    return parsed | set(re.findall(r'"(--[a-z][a-z-]+)[/"]', sources())) | FOREIGN_OPTIONS


def test_the_documents_hold_what_is_tested() -> None:
    assert len(list(every_span())) > 500
    assert ("README.md", "max_rejected_fraction") in set(every_span())


def test_options_exist() -> None:
    known = options()
    unknown = {
        (document, option)
        for document, span in every_span()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
        if option not in known
    }
    assert not unknown


def test_commands_exist() -> None:
    group: Any = typer.main.get_command(app)
    unknown = {
        (document, span)
        for document, span in every_span()
        if (match := re.match(r"bindrae ([a-z]+)", span)) and match[1] not in group.commands
    }
    assert not unknown


def test_settings_exist() -> None:
    unknown = {
        (document, span)
        for document, span in every_span()
        if (match := re.match(r"([a-z]+)\.([a-z_]+)(?=$|[ :=])", span))
        and match[1] in SECTIONS
        and match[0] not in ATTRIBUTES
        and match[2] not in SECTIONS[match[1]] | FILE_ENDINGS
    }
    assert not unknown


def told() -> Iterator[str]:
    """What the program says by itself: error messages with their hints, help texts, meanings of settings."""
    for _, message, hint in messages():
        yield f"{message} {hint}"
    yield from REJECTION_CODES.values()
    group: Any = typer.main.get_command(app)
    for command in group.commands.values():
        yield command.help
        yield from (parameter.help or "" for parameter in command.params)
    for name in SECTIONS:
        yield from (str(field.description) for field in Config.model_fields[name].annotation.model_fields.values())


def test_messages_and_help_name_what_exists() -> None:
    known = options()
    targets = "|".join(SECTIONS)
    keys = 0
    for text in told():
        for section, key in re.findall(rf"(?<![\w./])({targets})\.([a-z_]+)\b", text):
            if key not in FILE_ENDINGS:
                assert key in SECTIONS[section], text
                keys += 1
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
            assert option in known, text
        for path in re.findall(r"(?<![\w/.])(?:config|docs)/[\w./-]+", text):
            assert (REPOSITORY / path.rstrip(".")).exists(), text
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert f"\n{target}:" in (REPOSITORY / "Makefile").read_text(), text
        for command in re.findall(r"`bindrae ([a-z]+)", text):
            assert command in typer.main.get_command(app).commands, text
    assert keys > 20


def test_targets_exist() -> None:
    rules = set(re.findall(r"^(?:rule|checkpoint) (\w+):", sources(), re.MULTILINE))
    targets = {name.removesuffix("_batch") for name in rules} | rules
    made = set(re.findall(r"^([a-z-]+)(?:-%)?:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    parts = {f"bench-{part}" for part in PARTS}
    for document, span in every_span():
        if match := re.match(r"snakemake (?:-\w+ )?([a-z]+)\b", span):
            assert match[1] in targets, (document, span)
        if match := re.match(r"make ([a-z-]+)\b", span):
            assert match[1] in made | parts, (document, span)


def test_the_targets_of_the_front_door_are_those_of_the_workflow() -> None:
    text = (REPOSITORY / "README.md").read_text()
    named = re.search(r"^Targets: `([a-z ]+)`, and `data`,\s`all`", text, re.MULTILINE)
    assert named is not None
    rules = re.findall(r"^(?:rule|checkpoint) (\w+):", sources(), re.MULTILINE)
    assert {*named[1].split(), "data", "all", "ensemble", "join", "ablation"} == {
        name.removesuffix("_batch") for name in rules
    }


def test_modules_and_their_members_exist() -> None:
    for document, span in every_span():
        for dotted in re.findall(r"(?<!/)\bbindrae(?:\.\w+)+", span):
            assert resolves(dotted), (document, dotted)


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a member of one."""
    parent, _, member = dotted.rpartition(".")
    return find_spec(parent) is not None and (
        hasattr(importlib.import_module(parent), member) or find_spec(dotted) is not None
    )


def test_files_exist() -> None:
    tops = ("bindrae", "config", "docs", "tests", "workflow", "containers")
    for document, span in every_span():
        for path in re.findall(rf"(?<![\w/.])(?:{'|'.join(tops)})/[\w./*-]+", span):
            assert list(REPOSITORY.glob(path.rstrip("/."))), (document, path)


# The names of docs/benchmarks.md, too, are put together.
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "docs/benchmarks.md"])
def test_words_of_the_code_stand_in_the_code(document: str) -> None:
    """A name with an underscore in it is one of ours."""
    words = {
        word for span in spans(document) for word in re.findall(r"(?<![\w<])[a-z]+(?:_[a-z0-9]+)+\b_?(?!\.py)", span)
    }
    unknown = {word for word in words - FOREIGN_WORDS if word not in sources()}
    assert not unknown
