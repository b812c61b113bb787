"""docs/benchmarks.md, its figures, and the block of README.md: all from the JSON files of the last runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bindrae.benchmark.suite.part import read_part
from bindrae.benchmark.suite.parts import PARTS
from bindrae.benchmark.suite.plots import svg
from bindrae.benchmark.suite.words import number
from bindrae.data.storage import write_text
from bindrae.errors import BindraeError

Record = dict[str, Any]
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
FOLDER, PAGE, README = Path("docs/benchmarks"), Path("docs/benchmarks.md"), Path("README.md")
_HARDWARE = {"processor": "processor", "cores": "cores", "memory_gb": "memory, GB", "bf16": "bf16"}
_HEAD = """# Benchmarks

Written by `make bench` from the files of `docs/benchmarks/`; what is edited here by hand is overwritten.
"""
_REPEAT = """## How to repeat

    make demo                       # data for the parts that need prepared ones
    make bench                      # all parts
    make bench-fk ARGS="--openfold /where/openfold"
    make bench ARGS="--data results/casf2016/data --root /where/CASF-2016"
    make bench-preprocess ARGS="--root /where/CASF-2016"
    make bench-scale ARGS="--root /where/CASF-2016 --scale 30000"   # to 30,000 complexes; without, to 3,000
    make bench-fk ARGS=--quick      # a first try: small sizes, into results/bench/quick, no page is written

Each part writes `results/bench/PART.json`; this page and the numbers of README.md are made of them. What is compared is
measured in turn, several times; figures are medians, with quartiles in brackets where nothing else is said. Seconds are
those of the processor on one thread, which other work on the machine hardly lengthens. All options:
`python -m bindrae.benchmark.suite --help`.
"""


def publish(results: Path, names: Iterable[str], root: Path) -> None:
    """Take over the results of some parts and write page, figures and README.md anew.

    Parameters
    ----------
    results : Path
        Folder of the parts' JSON files.
    names : iterable of str
        Parts to take over, those that are there; the others keep what is published.
    root : Path
        The repository.

    Raises
    ------
    BindraeError
        When README.md lacks the marks of the block.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name in names:
        if (results / f"{name}.json").is_file():
            shutil.copyfile(results / f"{name}.json", root / FOLDER / f"{name}.json")
    records = published(root)
    wanted = {plot["name"]: svg(plot) for record in records.values() for plot in record["plots"]}
    for path in (root / FOLDER).glob("*.svg"):
        if path.stem not in wanted:
            path.unlink()
    for name, text in wanted.items():
        write_text(text, root / FOLDER / f"{name}.svg")
    for path, text in texts(root).items():
        write_text(text, root / path)


def published(root: Path) -> dict[str, Record]:
    """Records of the parts that have been published, in the order of the page."""
    paths = {name: root / FOLDER / f"{name}.json" for name in PARTS}
    return {name: read_part(path) for name, path in paths.items() if path.is_file()}


def texts(root: Path) -> dict[Path, str]:
    """What docs/benchmarks.md and README.md must hold, by path in the repository.

    Raises
    ------
    BindraeError
        When README.md lacks the marks of the block.
    """
    records = published(root)
    before, begin, rest = (root / README).read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BindraeError(f"{README} lacks the marks {BEGIN} and {END}", "put them where the numbers belong")
    return {PAGE: page(records), README: f"{before}{BEGIN}\n{block(records)}{END}{after}"}


def page(records: dict[str, Record]) -> str:
    """The page."""
    parts = [_HEAD, _machines(records), _REPEAT]
    for name, what in PARTS.items():
        parts.append(_section(records[name]) if name in records else _missing(name, what))
    return "\n".join(parts)


def block(records: dict[str, Record]) -> str:
    """The block of README.md: accuracy and time beside the peers', then a line for each ratio of the other parts."""
    if not records:
        return "\nNothing is measured yet: `make bench`.\n\n"
    lines = [
        "",
        "Inserted by `make bench`; hardware, spread and how to repeat: [docs/benchmarks.md](docs/benchmarks.md).",
    ]
    if "predict" in records:
        first = records["predict"]["tables"][0]
        lines += ["", f"{first['title']} ({records['predict']['settings']['dataset']}):", "", *_table(first)]
        lines += ["", *_against(records["predict"]["ratios"])]
    others = [record for name, record in records.items() if name != "predict"]
    lines += ["", *(line for record in others for line in _ratio_lines(record))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).rstrip("\n")) + "\n\n"


def _section(record: Record) -> str:
    lines = [f"## {record['name']}", "", record["about"]]
    settings = "; ".join(f"{key} {_setting(value)}" for key, value in record["settings"].items())
    lines += ["", f"Settings: {settings}."] if settings else []
    if record["ratios"]:
        rows = [[f"`{name}`", record["words"].get(name, ""), value] for name, value in record["ratios"].items()]
        lines += ["", *_table({"columns": ["ratio", "what", "value"], "rows": rows})]
    for table in record["tables"]:
        lines += ["", f"### {table['title']}", "", *_table(table)]
        lines += ["", table["note"]] if table["note"] else []
    for plot in record["plots"]:
        lines += ["", f"![{plot['title']}](benchmarks/{plot['name']}.svg)"]
    lines += ["", *(f"- {remark}" for remark in record["remarks"])] if record["remarks"] else []
    return "\n".join(lines) + "\n"


def _missing(name: str, what: str) -> str:
    return f"## {name}\n\nNot measured yet ({what}): `make bench-{name}`.\n"


def _machines(records: dict[str, Record]) -> str:
    """A row for all parts that ran on the same hardware with the same versions."""
    groups: dict[tuple[str, ...], list[str]] = {}
    packages = sorted({name for record in records.values() for name in record["versions"]})
    for name, record in records.items():
        facts = {**record["hardware"], **record["versions"]}
        groups.setdefault(tuple(str(facts.get(key, "-")) for key in (*_HARDWARE, *packages)), []).append(name)
    rows = [[", ".join(names), *facts] for facts, names in groups.items()]
    head = ["parts", *_HARDWARE.values(), *packages]
    lines = _table({"columns": head, "rows": rows}) if rows else ["No part has been run yet."]
    return "\n".join(["## Hardware and versions", "", *lines]) + "\n"


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key}: {_setting(item)}" for key, item in value.items()) + ")"
    if isinstance(value, list):
        return ", ".join(map(_setting, value))
    return str(value)


def _against(ratios: dict[str, Any]) -> list[str]:
    """One line a program: our differences to it and how many complexes we do in the time of one of its own."""
    peers: dict[str, dict[str, Any]] = {}
    for name, value in ratios.items():
        figure, _, peer = name.partition("_vs_")
        peers.setdefault(peer, {})[figure] = value
    lines = []
    for peer, figures in peers.items():
        times = number(figures.pop("throughput", None))
        words = ", ".join(f"{figure.replace('_', ' ')} {number(value)}" for figure, value in figures.items())
        lines.append(f"- Ours minus {peer}, paired: {words}; complexes a processor second: {times} times as many.")
    return lines


def _ratio_lines(record: Record) -> list[str]:
    words = record["words"]
    return [
        f"- `{name}`, {words.get(name, record['name'])}: {number(value)}" for name, value in record["ratios"].items()
    ]


def _table(table: dict[str, Any]) -> list[str]:
    cells = [[number(cell).replace("|", "/") for cell in row] for row in (table["columns"], *table["rows"])]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(cells[0]), *lines[1:]]
