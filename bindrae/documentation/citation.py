"""How to cite, from CITATION.cff."""

from __future__ import annotations

from pathlib import Path

from bindrae.config import read_yaml

_FILE = Path(__file__).parents[2] / "CITATION.cff"


def citation() -> str:
    """BibTeX of the software as a code block in Markdown."""
    cff = read_yaml(_FILE)
    authors = " and ".join(
        f"{{{author['name']}}}" if "name" in author else f"{author['family-names']}, {author['given-names']}"
        for author in cff["authors"]
    )
    fields = {
        "author": authors,
        "title": f"{{{cff['title']}}}",
        "version": cff["version"],
        "note": f"{cff['license']} licence",
    }
    body = ",\n".join(f"      {name:<7} = {{{value}}}" for name, value in fields.items())
    return f"    @software{{bindrae,\n{body}\n    }}\n"
