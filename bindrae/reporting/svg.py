"""Inline SVG from matplotlib, coloured by the page's own CSS variables and described in words."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

# Colours that matplotlib writes and the page replaces, so that figures follow light, dark and print.
_COLOURS = {
    "#010203": "var(--ink)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--accent)",
    "#010207": "var(--second)",
    "#010208": "var(--soft)",
}
INK, MUTED, LINE, ACCENT, SECOND, SOFT = _COLOURS
SERIES = (ACCENT, SECOND, MUTED)

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bindrae",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def figure(
    draw: Callable[[Any], None], title: str, description: str, width: float = 6.4, height: float = 2.6
) -> Markup:
    """Draw one figure and return it as an inline SVG element.

    Parameters
    ----------
    draw : callable
        Gets the matplotlib figure.
    title, description : str
        For readers who do not see it; put into the SVG and escaped.
    width, height : float
        Inches.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        canvas = FigureCanvasSVG(Figure(figsize=(width, height), layout="constrained"))
        draw(canvas.figure)
        stream = io.StringIO()
        canvas.print_svg(stream, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # A wide figure would be too small to read on a narrow screen: there, the page lets it scroll.
    return _inline(stream.getvalue(), title, description, "wide" if width > 6 else "small")


def _inline(svg: str, title: str, description: str, size: str) -> Markup:
    key = "f" + hashlib.sha256(f"{title}\n{svg}".encode()).hexdigest()[:8]
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several figures stand in one page: ids and what refers to them get the figure's key.
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r"url\(#", f"url(#{key}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{key}-', svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None  # matplotlib always writes one
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" class="{size}" role="img"'
        ' aria-labelledby="{key}-t {key}-d">'
        '<title id="{key}-t">{title}</title><desc id="{key}-d">{description}</desc>'
    ).format(box=box.group(1), size=size, key=key, title=title, description=description)
    return head + Markup(svg[svg.index(">") + 1 :])
