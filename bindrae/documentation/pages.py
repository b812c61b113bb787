"""Pages of the site: files of the repository that are pages too, their links, and the blocks filled from the code."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bindrae.documentation.citation import citation
from bindrae.documentation.commands import command_reference, module_reference
from bindrae.documentation.troubles import exit_code_table, message_table, rejection_table
from bindrae.errors import BindraeError

DOCS = "docs"
PAGES: dict[str, str] = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "SECURITY.md": "security.md",
    "bindrae/weights/README.md": "model_card.md",
    "config/README.md": "configuration.md",
    "config/REFERENCE.md": "reference.md",
}
"""Files outside docs/ that are pages of the site as they are, those that exist."""
BLOCKS: dict[str, Callable[[], str]] = {
    "citation": citation,
    "commands": command_reference,
    "exit codes": exit_code_table,
    "messages": message_table,
    "programs": module_reference,
    "rejections": rejection_table,
}
"""What a line ``<!-- made from the code: NAME -->`` is replaced by."""
_BLOCK = re.compile(r"^<!-- made from the code: ([a-z ]+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?P<image>!?)\[(?P<label>[^\[\]]*)\]\((?P<target>[^()\s#:]+)(?P<anchor>#[^()\s]*)?\)")
_FIGURE = re.compile(r"!\[(?P<caption>[^\[\]]+)\]\(figures/(?P<name>[\w-]+)\.svg\)")
_PLACE = '<div class="drawing" data-name="{name}">{caption}</div>'
_PLACED = re.compile(_PLACE.format(name=r"(?P<name>[\w-]+)", caption="(?P<caption>.*?)"))


@dataclass
class Linked:
    """A page whose links lead to other pages of the site.

    Attributes
    ----------
    text : str
        Markdown.
    files : list of str
        Files of the repository that it links to and that are no pages: they are copied beside the pages.
    """

    text: str
    files: list[str] = field(default_factory=list)


def source_of(page: str) -> str:
    """The file of the repository that a page comes from."""
    return {at: source for source, at in PAGES.items()}.get(page, f"{DOCS}/{page}")


def with_links(text: str, page: str, root: Path) -> Linked:
    """Turn links between files of the repository into links between pages.

    Parameters
    ----------
    text : str
        Markdown as it stands in the repository.
    page : str
        Path of the page in the site.
    root : Path
        The repository.
    """
    folder = posixpath.dirname(source_of(page))
    linked = Linked("")

    def turn(match: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join(folder, match["target"]))
        if not (root / file).exists():
            return match[0]  # the site's own check names it
        if (root / file).is_dir():
            return match["label"]
        at = PAGES.get(file) or (file.removeprefix(f"{DOCS}/") if file.startswith(f"{DOCS}/") else file)
        if at == file and not file.endswith(".md"):  # a page that is missing in PAGES: the site's own check names it
            linked.files.append(file)
        relative = posixpath.relpath(at, posixpath.dirname(page) or ".")
        return f"{match['image']}[{match['label']}]({relative}{match['anchor'] or ''})"

    linked.text = _LINK.sub(turn, text)
    return linked


def with_blocks(text: str) -> str:
    """Fill the blocks that are made from the code.

    Raises
    ------
    BindraeError
        When a block's name is not known.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] not in BLOCKS:
            raise BindraeError(f"no block is called '{match[1]}'", f"known: {', '.join(BLOCKS)}")
        return BLOCKS[match[1]]()

    return _BLOCK.sub(fill, text)


def with_places(text: str) -> str:
    """Put a place-holder, which Markdown leaves alone, where a page shows a figure."""
    return _FIGURE.sub(lambda m: _PLACE.format(name=m["name"], caption=html.escape(m["caption"])), text)


def with_figures(text: str, draw: Callable[[str], str | None]) -> str:
    """Put inline figures into a page's HTML.

    Parameters
    ----------
    text : str
        HTML with the place-holders of `with_places`.
    draw : callable
        Gets a figure's name and returns its SVG; None leaves it out.
    """

    def show(match: re.Match[str]) -> str:
        svg = draw(match["name"])
        return f"<figure>{svg}<figcaption>{match['caption']}</figcaption></figure>" if svg else ""

    return _PLACED.sub(show, text)


def foreign_resources(text: str) -> list[str]:
    """Scripts, styles, images and frames that a page or a style sheet would load from elsewhere."""
    tags = re.findall(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*>", text)
    loads = [tag for tag in tags if re.search(r"\b(?:src|href|data|srcset)\s*=\s*[\"']?(?:https?:)?//", tag)]
    return loads + re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\s)\"']+", text)
