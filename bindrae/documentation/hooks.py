"""What mkdocs calls while it builds the site (``hooks:`` in mkdocs.yml).

The package has no need of mkdocs, and every module of it can be imported without: functions import what they use of it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindrae.documentation import figures, pages

if TYPE_CHECKING:
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_OPTIONAL = "attention-"  # figures of this part of the benchmark are left out until it has been run


def _root(config: Any) -> Path:
    return Path(config["config_file_path"]).parent


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    from mkdocs.structure.files import File

    for source, at in pages.PAGES.items():
        path = _root(config) / source
        if path.is_file():
            files.append(File.generated(config, at, content=path.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Fill blocks, mark the places of figures, turn links."""
    from mkdocs.structure.files import File

    root = _root(config)
    linked = pages.with_links(pages.with_places(markdown), page.file.src_uri, root)
    for name in linked.files:
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return pages.with_blocks(linked.text)


def on_page_content(content: str, config: Any, **_: Any) -> str:
    """Draw the figures."""
    return pages.with_figures(content, lambda name: _draw(name, _root(config)))


@cache
def _draw(name: str, root: Path) -> str | None:
    from mkdocs.exceptions import PluginError

    known = {**figures.FIGURES, **figures.recorded(root)}
    if name in known:
        return known[name].svg()
    if name.startswith(_OPTIONAL):
        return None
    raise PluginError(f"no figure is called '{name}' (known: {', '.join(known)})")


def on_post_build(config: Any) -> None:
    """Refuse a site that would load anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    site = Path(config["site_dir"])
    for path in sorted(path for path in site.rglob("*") if path.suffix in (".html", ".css")):
        if found := pages.foreign_resources(path.read_text()):
            raise PluginError(f"{path.relative_to(site)} loads from elsewhere: {', '.join(found)}")
