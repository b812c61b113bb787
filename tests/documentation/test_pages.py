"""The site's pages: links, blocks made from the code, figures, and nothing from elsewhere."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell_blocks import REPOSITORY

from bindrae.chem import residues as aa
from bindrae.documentation import commands, figures, flat, pages, peptide, troubles
from bindrae.errors import REJECTION_CODES, BindraeError
from bindrae.structure.torsions import CHI1, OMEGA, PHI, PSI, residue_torsions


def test_links_lead_to_pages(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", "docs/a.md", "docs/b.md", "config/README.md", "config/REFERENCE.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    text = "[a](docs/a.md#one) [c](config/README.md) [folder](config) [l](LICENSE) [w](https://x.org/a) [no](gone.md)"
    linked = pages.with_links(text, "index.md", tmp_path)
    assert linked.text == ("[a](a.md#one) [c](configuration.md) folder [l](LICENSE) [w](https://x.org/a) [no](gone.md)")
    assert linked.files == ["LICENSE"]
    assert pages.with_links("[r](../README.md) [b](b.md)", "a.md", tmp_path).text == "[r](index.md) [b](b.md)"
    assert pages.with_links("[r](REFERENCE.md)", "configuration.md", tmp_path).text == "[r](reference.md)"


def test_blocks_are_filled_and_unknown_ones_refused() -> None:
    filled = pages.with_blocks("before\n\n<!-- made from the code: exit codes -->\n\nafter\n")
    assert "| 85 |" in filled
    assert filled.startswith("before\n")
    with pytest.raises(BindraeError, match="no block is called 'exit code'"):
        pages.with_blocks("<!-- made from the code: exit code -->")
    used = {name for path in (REPOSITORY / "docs").glob("*.md") for name in pages._BLOCK.findall(path.read_text())}
    assert used == set(pages.BLOCKS)


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text()
    found = set(re.findall(r"^ +- [^:]+: (\S+\.md)$", text, re.MULTILINE))
    there = {path.name for path in (REPOSITORY / "docs").glob("*.md")}
    there |= {at for source, at in pages.PAGES.items() if (REPOSITORY / source).is_file()}
    assert found | {"contributing.md"} == there | {"contributing.md"}


def test_what_a_page_would_load_from_elsewhere_is_found() -> None:
    safe = '<a href="https://x.org">x</a><script src="assets/a.js"></script><link rel="stylesheet" href="a.css">'
    assert pages.foreign_resources(safe) == []
    for bad in (
        '<script async src="https://x.org/a.js"></script>',
        "<link rel=stylesheet href=//fonts.x.org/css>",
        '<img alt="a" src="http://x.org/a.png">',
        "a { background: url(https://x.org/a.png) }",
        '@import "https://x.org/a.css";',
    ):
        assert len(pages.foreign_resources(bad)) == 1, bad


def test_figures_are_drawn_alike_each_time_and_told_in_words(demo: dict[str, dict[str, Any]]) -> None:
    assert figures.DEMO_COMPLEX in demo
    for name, drawing in figures.FIGURES.items():
        svg = drawing.svg()
        assert svg == drawing.svg(), name
        root = ET.fromstring(svg)
        title, description = (root.find(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("title", "desc"))
        assert title is not None
        assert description is not None
        assert len(description.text or "") > 80, name
        assert "mathdefault" not in svg
        assert pages.foreign_resources(svg) == []


def test_pages_show_every_figure_and_no_other() -> None:
    shown: set[str] = set()
    for path in (REPOSITORY / "docs").glob("*.md"):
        shown |= {match["name"] for match in pages._FIGURE.finditer(path.read_text())}
    assert shown == {*figures.FIGURES, "attention-memory"}
    placed = pages.with_places('text\n\n![A "b" & c](figures/x.svg)\n')
    assert pages.with_figures(placed, lambda name: f"<svg>{name}</svg>") == (
        "text\n\n<figure><svg>x</svg><figcaption>A &quot;b&quot; &amp; c</figcaption></figure>\n"
    )
    assert pages.with_figures(placed, lambda name: None) == "text\n\n\n"


def test_recorded_curves_are_drawn(tmp_path: Path) -> None:
    assert figures.recorded(tmp_path) == {}
    (tmp_path / "docs" / "benchmarks").mkdir(parents=True)
    (tmp_path / "docs" / "benchmarks" / "attention.json").write_text(
        '{"plots": [{"name": "attention-memory", "title": "Memory", "x": "residues", "y": "MB", "log": true,'
        ' "series": {"ours": [[64, 1.5], [128, 3.0]]}}]}'
    )
    (drawing,) = figures.recorded(tmp_path).values()
    svg = drawing.svg()
    assert "ours" in svg
    assert "MB against residues" in svg


def test_the_residue_that_is_drawn_has_the_torsions_that_were_asked_for() -> None:
    built = peptide.build("ARA", phi=-150.0, psi=150.0, chi=60.0)
    angles, defined = residue_torsions(built.xyz, built.mask, built.aatype, built.linked)
    assert defined[1].all()
    np.testing.assert_allclose(np.degrees(angles[1, [PHI, PSI]]), [-150, 150], atol=0.1)
    assert abs(np.degrees(angles[1, OMEGA])) == pytest.approx(180, abs=0.1)
    np.testing.assert_allclose(np.degrees(angles[1, CHI1:]), 60, atol=0.1)
    arginine = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["ARG"]]
    assert built.atoms()[5 : 5 + 11] == [(1, atom) for atom in arginine[:11]]
    lengths = [np.linalg.norm(built.at(*a) - built.at(*b)) for a, b in built.bonds()]
    assert 1.2 < min(lengths) < max(lengths) < 1.6
    assert len(lengths) == 4 + 10 + 4 + 2  # within ALA, ARG, ALA, and two peptide bonds


def test_projection_keeps_distances_of_flat_molecules_and_does_not_hang_on_the_frame() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(9, 2)) * [4.0, 1.0], np.zeros((9, 1))], axis=1)
    drawn = flat.project(points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=-1), apart, atol=1e-9)
    assert np.ptp(drawn[:, 0]) > np.ptp(drawn[:, 1])
    np.testing.assert_allclose(flat.project(points + 50.0), drawn, atol=1e-9)


def test_the_command_reference_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = commands.command_reference()
    assert "## bindrae predict" in text
    assert "| `--samples` | Sets of side chains, written as models; the first is the best. | `1` |" in text
    assert "| `--data` | Data folder of the dataset: results/&lt;dataset>/data. | must be given |" in text
    assert "| `--seed` | Seed of the bootstrap. | `0` |" in text
    assert "`--max-epochs`" in text
    assert "bindrae.prediction.tune" in commands.module_reference()
    assert "workers" not in commands.module_reference()


def test_every_code_and_message_is_in_the_tables() -> None:
    assert re.findall(r"^\| `(\w+)` \|", troubles.rejection_table(), re.MULTILINE) == list(REJECTION_CODES)
    found = list(troubles.messages())
    assert ("bindrae.data.batch", "", "") not in found
    assert any(message.endswith("is not valid YAML: ...") for _, message, _ in found)
    raised = sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BindraeError"
        for path in (REPOSITORY / "bindrae").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    assert len([where for where, _, _ in found]) > 0.9 * raised, "messages that are no text when read"


def test_exit_codes_are_those_that_the_code_ends_with() -> None:
    """Numbers given to exits, and the named one of an interrupted training."""
    given = set()
    for path in (REPOSITORY / "bindrae").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "typer.Exit", "SystemExit"):
                given |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
                given |= {85 for argument in node.args if ast.unparse(argument) == "REQUEUE_EXIT_CODE"}
    assert given | {0} == set(troubles.EXIT_CODES)


ACCIDENTS = {
    "a job failed or was cancelled": "test_a_cancelled_data_job_is_submitted_again",
    "a node went down": "test_jobs_of_a_node_that_went_down_start_again",
    "Ctrl-C": None,  # the same road as a cancelled job
    "Snakemake was killed": "test_after_a_kill_of_snakemake_the_run_goes_on",
    "the disk was full": "test_a_full_disk_is_named_and_the_next_run_goes_on",
}


def test_every_accident_on_the_cluster_page_is_one_that_was_tried() -> None:
    page = (REPOSITORY / "docs" / "cluster.md").read_text()
    table = page[page.index("## After an accident") :].split("\n\n")[1]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == list(ACCIDENTS)
    tests = (REPOSITORY / "tests" / "workflow" / "test_slurm.py").read_text()
    for name in filter(None, ACCIDENTS.values()):
        assert f"\ndef {name}(" in tests
