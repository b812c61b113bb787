"""The pages in a real browser: what it is shown, told, asked for and may do, with names that try to break out."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from browser import Tab, browser
from PIL import Image

from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import SIDES, DataLayout, RunLayout
from bindrae.data.storage import read_table, write_table
from bindrae.evaluation.predictors import rebuild
from bindrae.evaluation.report import run_report
from bindrae.evaluation.scoring import score_complex

HOSTILE = (
    """</script><script>window.hacked=1</script><img src="https://example.org/x" onerror=window.hacked=1>"'&{{7*7}}"""
)
MAX_BYTES = 15_000_000
LARGE, NARROW = 1200, 400
CANVAS = "document.querySelectorAll('canvas')[0]"
PICTURE = f"{CANVAS}.toDataURL()"


def hostile_scores(source: DataLayout, target: DataLayout) -> pd.DataFrame:
    """A real complex under a hostile name as the only one of the test side, and its scores under hostile labels."""
    side = next(s for s in SIDES if read_table(source.shard(s, 0), ["id"])["id"].to_pylist() == ["1s3v"])
    shard = source.shard(side, 0)
    sample = ShardDataset(source, side)[0][1]
    facts = [row | {"id": HOSTILE} for row in read_table(shard).to_pylist()]
    write_table(pa.Table.from_pylist(facts, schema=read_table(shard).schema), target.shard("test", 0))
    torch.save(torch.load(shard.with_suffix(".pt"), weights_only=True), target.shard("test", 0).with_suffix(".pt"))
    chi = sample["torsion_angles"][:, 3:].numpy().copy()
    chi[::4] += np.radians(120.0)
    truth = {name: value.numpy() for name, value in sample.items()}
    residues, _ = score_complex(truth, *rebuild(sample, chi), np.full(len(truth["ligand_xyz"]), 1.7, np.float32))
    labels = {"chain": HOSTILE, "number": range(1, len(residues) + 1), "insertion": "", "name": HOSTILE}
    return residues.assign(id=HOSTILE, confidence=0.75, type=residues["type"].astype(str), **labels)


@pytest.fixture(scope="module")
def pages(
    tab: Tab,  # first: without a browser no page is made
    tmp_path_factory: pytest.TempPathFactory,
    demo_layout: DataLayout,
    build_dataset: Callable[..., Any],
    build_run: Callable[[Path], RunLayout],
    surveyed: Path,
) -> dict[str, Path]:
    """The report of a run whose every name is hostile, and the page of the data."""
    root = tmp_path_factory.mktemp("pages")
    layout, run = DataLayout(root / "data"), build_run(root)
    for folder in ("index", "shards"):
        (layout.root / folder).mkdir(parents=True)
    layout.batches.write_text('{"0": "x"}')
    quality = json.loads(surveyed.read_text())
    quality["rejections"][0]["examples"][0] |= {"id": HOSTILE, "message": HOSTILE}
    quality["rejections"][0] |= {"hint": HOSTILE, "code": HOSTILE}
    layout.quality.write_text(json.dumps(quality))
    scores = hostile_scores(demo_layout, layout)
    write_table(pa.Table.from_pandas(scores, preserve_index=False), run.residues)
    record = json.loads(run.evaluation.read_text())
    record["by_complex"] = [record["by_complex"][1] | {"id": HOSTILE, "pocket_irmsd": 1.25}]
    record["failed"] = [{"id": HOSTILE, "message": HOSTILE}]
    worst = record["errors"]["worst_residues"]["residues"][0]
    worst |= {"id": HOSTILE, "chain": HOSTILE, "name": HOSTILE}
    run.evaluation.write_text(json.dumps(record | {"attention": HOSTILE}))
    run_report(layout, run, None)
    return {"report": run.report, "quality": surveyed.with_suffix(".html")}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        yield opened


@pytest.fixture(params=["report", "quality"])
def page(request: pytest.FixtureRequest, tab: Tab, pages: dict[str, Path]) -> Tab:
    tab.show(width=LARGE)
    tab.open(pages[request.param])
    return tab


@pytest.fixture
def report(tab: Tab, pages: dict[str, Path]) -> Tab:
    tab.show(width=LARGE)
    tab.open(pages["report"])
    return tab


def picture(png: bytes) -> np.ndarray:
    """[height, width, 3] float, 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)


def test_nothing_is_asked_for_and_nothing_goes_wrong(page: Tab, pages: dict[str, Path]) -> None:
    page.show("dark", width=NARROW)
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.requests == [page.run("location.href")]
    assert page.complaints == []
    assert all(path.stat().st_size < MAX_BYTES for path in pages.values())


def test_hostile_names_are_text(report: Tab) -> None:
    report.run("document.querySelectorAll('button').forEach(button => button.click())")
    assert report.run("window.hacked") is None
    assert report.run("document.querySelectorAll('img, iframe, object, link').length") == 0
    assert report.run("document.querySelectorAll('script').length") == 2  # one drawing and the viewer
    text = report.run("document.body.textContent")
    assert text.count(HOSTILE) > 8
    assert report.run("document.querySelector('h4').textContent") == f"{HOSTILE}: largest pocket iRMSD, 1.25 Å"
    assert report.run(f"{CANVAS}.getAttribute('aria-label')") == f"Pocket of {HOSTILE}"
    label = report.run("JSON.parse(document.querySelector('figure.pocket script').textContent).labels[0][1]")
    assert label.startswith(f"{HOSTILE}:")


def test_only_the_viewer_may_run(report: Tab) -> None:
    report.run(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.late = 1'}))"
    )
    assert report.run("window.late") is None
    report.run("new Image().src = 'https://example.org/y.png'; new Promise(done => setTimeout(done, 200))")
    assert any("Content Security Policy" in complaint for complaint in report.complaints)


def test_everything_has_a_name(page: Tab) -> None:
    nodes = page.accessibility()
    named = ("image", "img", "button", "link", "application", "Canvas", "region", "table", "navigation", "group")
    nameless = [node for node in nodes if node["role"] in named and not node["name"].strip()]
    assert nameless == []
    pictures = [node for node in nodes if node["role"] in ("image", "img", "application")]
    drawn = page.run("document.querySelectorAll('figure > svg, canvas').length")
    assert len(pictures) == drawn > 5
    assert all(len(node["description"]) > 20 for node in pictures)  # what they show, in words
    assert not [node for node in nodes if node["role"] == "Canvas"]
    assert page.run(
        "[...document.querySelectorAll('canvas')].every(c => c.tabIndex === 0 && c.textContent.length > 20)"
    )


def test_headings_and_landmarks(page: Tab) -> None:
    nodes = page.accessibility()
    levels = [node["level"] for node in nodes if node["role"] == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    roles = [node["role"] for node in nodes]
    assert [roles.count(role) for role in ("banner", "navigation", "main", "contentinfo")] == [1, 1, 1, 1]
    anchors = page.run(
        "[...document.querySelectorAll('nav a')].map(a => document.getElementById(a.hash.slice(1)).tagName)"
    )
    assert len(anchors) >= 10
    assert set(anchors) == {"H2"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Tab, scheme: str) -> None:
    page.show(scheme, width=LARGE)
    result = page.run(Path(__file__).with_name("page_checks.js").read_text())
    assert result["seen"] > 200
    assert result["found"] == []


def test_a_narrow_window_does_not_scroll_sideways(page: Tab) -> None:
    page.show(width=NARROW)
    assert page.run("document.documentElement.scrollWidth") <= NARROW
    # Nothing is cut off: what is wider scrolls inside a region that the keyboard reaches.
    wide = """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
      && !e.closest('.scroll, figure:has(> svg.wide)')).map(e => e.outerHTML.slice(0, 80))"""
    assert page.run(wide) == []


def test_light_and_dark_look_different_and_are_not_blank(page: Tab) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page.show(scheme, width=LARGE)
        seen = picture(page.screenshot())
        assert seen.shape == (900, LARGE, 3)
        assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 50
        shades[scheme] = float(np.median(seen))
    assert shades["light"] > 200
    assert shades["dark"] < 60


def test_printing_gives_pages(page: Tab) -> None:
    page.show("dark")
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) > 3
    assert page.run("document.documentElement.classList.contains('printing')") is False


def test_views_are_drawn_and_printed_in_light_colours(report: Tab) -> None:
    def drawn(colour: list[int]) -> int:
        """Pixels of the view in about this colour."""
        data = f"{CANVAS}.getContext('2d').getImageData(0, 0, {CANVAS}.width, {CANVAS}.height).data"
        near = f"[0, 1, 2].every(k => Math.abs(d[i + k] - {colour}[k]) < 8)"
        return int(
            report.run(f"(d => {{let n = 0; for (let i = 0; i < d.length; i += 4) n += {near}; return n;}})({data})")
        )

    light, dark = [44, 122, 75], [116, 196, 146]  # --good, the ligand's
    report.show("dark")
    assert drawn(dark) > 100
    assert drawn(light) == 0
    report.run("dispatchEvent(new Event('beforeprint'))")
    assert drawn(light) > 100
    assert drawn(dark) == 0
    report.run("dispatchEvent(new Event('afterprint'))")
    assert drawn(dark) > 100
    report.show("light")
    assert drawn(light) > 100


def test_views_turn_and_zoom_by_keyboard(report: Tab) -> None:
    first = report.run(PICTURE)
    report.run(f"{CANVAS}.focus()")
    seen = {first}
    for key in ("ArrowLeft", "ArrowUp", "+", "ArrowRight", "ArrowRight"):
        report.press(key)
        seen.add(report.run(PICTURE))
    assert len(seen) == 6
    report.press("0")
    assert report.run(PICTURE) == first
    report.press("-")
    assert report.run(PICTURE) != first
    report.press("Tab")
    assert report.run("document.activeElement.getAttribute('aria-label')") == "Turn left"
    assert report.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # the focus is seen


def test_views_turn_by_mouse_and_zoom_only_when_chosen(report: Tab) -> None:
    report.run(f"{CANVAS}.scrollIntoView()")
    x, y, first = (
        *report.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({CANVAS}.getBoundingClientRect())"),
        report.run(PICTURE),
    )
    report.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-200)
    assert report.run(PICTURE) == first  # the wheel scrolls the page
    report.run(f"{CANVAS}.scrollIntoView()")
    report.drag((x, y), (x + 60, y + 20))
    turned = report.run(PICTURE)
    assert turned != first
    report.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-200)
    assert report.run(PICTURE) != turned


def test_buttons_do_what_the_keys_do(report: Tab) -> None:
    first = report.run(PICTURE)
    for act in ("left", "right", "up", "down", "in", "out"):
        report.run(f"document.querySelector('[data-act={act}]').click()")
        assert report.run(PICTURE) != first
        report.run("document.querySelector('[data-act=reset]').click()")
        assert report.run(PICTURE) == first
    report.run("document.querySelector('[data-act=labels]').click()")
    assert report.run("document.querySelector('[data-act=labels]').getAttribute('aria-pressed')") == "false"
    assert report.run(PICTURE) != first


def test_the_first_stop_of_the_keyboard_skips_to_the_content(page: Tab) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to the content"
    assert page.run("document.activeElement.getBoundingClientRect().x") >= 0  # comes into sight
    page.press("Enter")
    assert page.run("document.activeElement.id") == "main"
