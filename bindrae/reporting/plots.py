"""The kinds of figures the pages show: histogram, bars, curves, values with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from bindrae.reporting.svg import ACCENT, MUTED, SERIES, figure


@dataclass
class Panel:
    """One small plot of curves over a common x.

    Parameters
    ----------
    title : str
    series : dict of str to list
        Name to values; ``None`` leaves a gap.
    """

    title: str
    series: dict[str, list[float | None]] = field(default_factory=dict)


def histogram(
    counts: Sequence[float],
    edges: Sequence[float],
    title: str,
    xlabel: str,
    *,
    open_end: bool = True,
    trim: bool = True,
    log: bool = False,
) -> Markup:
    """Bars of a histogram with fixed bins.

    Parameters
    ----------
    counts, edges : sequence of float
        [n] and [n + 1].
    title, xlabel : str
    open_end : bool
        The last bin holds everything beyond its left edge.
    trim : bool
        Leave out empty bins at both ends.
    log : bool
        Logarithmic heights, where small bins matter beside large ones.
    """
    filled = [i for i, count in enumerate(counts) if count]
    first, last = (filled[0], filled[-1]) if trim and filled else (0, len(counts) - 1)
    shown, limits = list(counts[first : last + 1]), list(edges[first : last + 2])
    open_end = open_end and last == len(counts) - 1 and bool(counts[-1])

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        widths = [b - a for a, b in pairwise(limits)]
        ax.bar(limits[:-1], shown, widths, align="edge", color=ACCENT, edgecolor="none", linewidth=0)
        ax.set_title(title)
        ax.set_xlabel(xlabel)
        ax.grid(axis="x", visible=False)
        ax.set_xlim(limits[0], limits[-1])
        if log:
            ax.set_yscale("log", subs=[])
        else:
            ax.yaxis.set_major_locator(_whole_numbers(4))
        _thousands(ax.yaxis)
        if open_end:
            ax.annotate(
                f"≥ {edges[last]:g}",
                (limits[-1], shown[-1]),
                ha="right",
                va="bottom",
                color=MUTED,
                fontsize=8,
            )

    total = sum(counts)
    top = max(range(len(shown)), key=lambda i: shown[i])
    words = f"{total:,.0f} values" + (f"; the fullest bin is {limits[top]:g} to {limits[top + 1]:g}" if total else "")
    return figure(draw, title, f"Histogram of {xlabel}: {words}.", 4.4, 2.3)


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    title: str,
    ylabel: str,
    *,
    upper: float | None = None,
) -> Markup:
    """Grouped vertical bars, one group a label; ``None`` leaves a gap."""

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        width = 0.8 / len(series)
        for k, (name, values) in enumerate(series.items()):
            places = [i - 0.4 + width * (k + 0.5) for i in range(len(labels))]
            heights = [0.0 if v is None else v for v in values]
            ax.bar(places, heights, width * 0.92, color=SERIES[k % len(SERIES)], label=name, linewidth=0)
        ax.set_title(title)
        ax.set_ylabel(ylabel)
        ax.set_xticks(range(len(labels)), labels)
        ax.set_xlim(-0.6, len(labels) - 0.4)
        ax.set_ylim(0, upper)
        ax.grid(axis="x", visible=False)
        ax.tick_params(axis="x", length=0, labelsize=8)
        if max((v for vs in series.values() for v in vs if v is not None), default=0.0) >= 1000:
            _thousands(ax.yaxis)
        if len(series) > 1:
            ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series), borderpad=0, fontsize=8.5)

    values = [
        f"{name} {label} {v:,.3g}"
        for name, vs in series.items()
        for label, v in zip(labels, vs, strict=True)
        if v is not None
    ]
    return figure(draw, title, f"Bar chart, {ylabel}: " + ", ".join(values) + ".", 8.4, 2.9)


def horizontal_bars(labels: Sequence[str], values: Sequence[float], written: Sequence[str], title: str) -> Markup:
    """One bar a label from the top down, with its value written behind it.

    Parameters
    ----------
    labels : sequence of str
    values : sequence of float
        Lengths of the bars.
    written : sequence of str
        The values as text.
    title : str
    """

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        ax.barh(range(len(labels)), values, 0.72, color=ACCENT, linewidth=0)
        for i, (value, text) in enumerate(zip(values, written, strict=True)):
            ax.annotate(text, (value, i), (4, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlim(0, max(values) * 1.1 or 1)
        ax.set_title(title)
        ax.set_axisbelow(True)
        ax.grid(visible=False)
        ax.xaxis.set_visible(False)
        ax.spines[["bottom", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)

    words = ", ".join(f"{label} {text}" for label, text in zip(labels, written, strict=True))
    return figure(draw, title, f"Horizontal bars: {words}.", 8.4, 0.5 + 0.24 * len(labels))


def curves(x: Sequence[float], panels: Sequence[Panel], title: str, xlabel: str, mark: float | None = None) -> Markup:
    """Small line plots side by side, three a row.

    Parameters
    ----------
    x : sequence of float
    panels : sequence of Panel
    title, xlabel : str
    mark : float, optional
        Where a vertical line stands (the best epoch).
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)

    def draw(fig: Any) -> None:
        axes = fig.subplots(rows, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            for k, (name, values) in enumerate(panel.series.items()):
                y = [float("nan") if v is None else v for v in values]
                ax.plot(
                    x,
                    y,
                    color=SERIES[k % len(SERIES)],
                    label=name,
                    linewidth=1.4,
                    marker="o",
                    markersize=2.2 if len(x) <= 40 else 0,
                )
            if mark is not None:
                ax.axvline(mark, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
            ax.set_title(panel.title)
            ax.ticklabel_format(axis="y", useOffset=False)
            ax.xaxis.set_major_locator(_whole_numbers(5))
            ax.margins(x=0.03)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        for ax in axes[max(0, len(panels) - columns) : len(panels)]:
            ax.set_xlabel(xlabel)
        if len(panels[0].series) > 1:
            axes[0].legend(loc="best", fontsize=8.5)

    last = [
        f"{panel.title}, {name}: {values[0]} to {values[-1]}"
        for panel in panels
        for name, values in panel.series.items()
        if values
    ]
    return figure(draw, title, f"Curves by {xlabel}, first to last value. " + "; ".join(last) + ".", 8.4, 2.1 * rows)


def intervals(
    labels: Sequence[str],
    series: Mapping[str, Sequence[dict[str, Any]]],
    title: str,
    xlabel: str,
    width: float = 4.6,
) -> Markup:
    """Values with their intervals, one row a label and one colour a series.

    Parameters
    ----------
    labels : sequence of str
    series : dict of str to sequence of dict
        Name to one ``{"value", "low", "high"}`` for each label; ``None`` is left out.
    title, xlabel : str
    width : float
        Inches.
    """

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        step = 0.26 / max(1, len(series) - 1)
        for k, (name, points) in enumerate(series.items()):
            colour, marker = SERIES[k % len(SERIES)], "oDs"[k % 3]
            drawn = [(i + k * step - 0.13, p) for i, p in enumerate(points) if p.get("value") is not None]
            ax.plot(
                [p["value"] for _, p in drawn],
                [y for y, _ in drawn],
                marker,
                color=colour,
                markersize=5,
                label=name,
            )
            for y, p in drawn:
                if p.get("low") is not None and p.get("high") is not None:
                    ax.plot([p["low"], p["high"]], [y, y], color=colour, linewidth=1.6)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlabel(xlabel)
        ax.set_title(title)
        ax.tick_params(axis="y", length=0)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series), borderpad=0, fontsize=8.5)

    parts = [
        f"{name} {label} {p['value']:.1f}"
        for name, ps in series.items()
        for label, p in zip(labels, ps, strict=True)
        if p.get("value") is not None
    ]
    return figure(
        draw,
        title,
        f"Values with 95 percent intervals, {xlabel}: " + ", ".join(parts) + ".",
        width,
        0.9 + 0.36 * len(labels),
    )


def small_panel(ax: Any, title: str, limits: tuple[float, float], ticks: Sequence[float]) -> None:
    """Style of one of many small histograms: no heights, few ticks, the title in small letters."""
    ax.set_title(title, fontsize=8)
    ax.set_xlim(*limits)
    ax.set_xticks(ticks)
    ax.set_ylim(0, None)
    ax.set_yticks([])
    ax.tick_params(labelsize=7, length=0)
    ax.spines["left"].set_visible(False)


def _whole_numbers(n: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(n, integer=True)


def _thousands(axis: Any) -> None:
    from matplotlib.ticker import StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
