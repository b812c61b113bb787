"""Figures of the benchmark's page as SVG files: text as text, equal bytes for equal numbers."""

from __future__ import annotations

import io
from typing import Any

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bindrae",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "text.parse_math": False,
    "legend.frameon": False,
}
_SIZE = (6.4, 3.4)  # inches


def draw(axes: Any, plot: dict[str, Any]) -> None:
    """Curves of one figure with a tick at each measured place, in the colours of the axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    plot : dict
        As for `svg`.
    """
    for name, points in plot["series"].items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=4, label=name)
    if plot["log"]:
        axes.set_xscale("log")
        axes.set_yscale("log")
    ticks = sorted({x for points in plot["series"].values() for x, _ in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set(xlabel=plot["x"], ylabel=plot["y"])
    axes.legend()


def svg(plot: dict[str, Any]) -> str:
    """One figure.

    Parameters
    ----------
    plot : dict
        A `Plot` as read from a part's JSON file.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        canvas = FigureCanvasSVG(Figure(figsize=_SIZE, layout="constrained"))
        axes = canvas.figure.subplots()
        draw(axes, plot)
        axes.set_title(plot["title"])
        stream = io.StringIO()
        canvas.print_svg(stream, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
