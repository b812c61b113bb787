"""The figures of the confidence: what it promises against what came, and accuracy by the share that is kept."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bindrae.reporting.svg import MUTED, SERIES, figure

FEWEST = 20
"""Residues that a bin must hold to be drawn."""
_SCOPES = {"overall": "all residues", "pocket": "pocket"}


def reliability_figures(reliability: dict[str, Any]) -> dict[str, Markup]:
    """Both figures, by the name under which the page shows them.

    Parameters
    ----------
    reliability : dict
        ``reliability`` of evaluation.json.
    """
    known = {label: reliability[scope] for scope, label in _SCOPES.items() if reliability[scope]}
    return {"reliability": _diagram(known), "coverage": _coverage(known)}


def _diagram(known: dict[str, Any]) -> Markup:
    title = "Confidence and share of hits"

    def draw(fig: Any) -> None:
        from matplotlib.ticker import StrMethodFormatter

        top, below = fig.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        top.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), label="as promised")
        for k, (label, part) in enumerate(known.items()):
            x, y = ([b[name] for b in part["bins"] if b["n"] >= FEWEST] for name in ("confidence", "right"))
            top.plot(x, y, color=SERIES[k], marker="oD"[k], markersize=4, linewidth=1.4, label=label)
        top.set_title(title)
        top.set_ylabel("χ1 within 20° (%)")
        top.set_xlim(0, 100)
        top.set_ylim(0, 100)
        top.legend(loc="upper left", fontsize=8.5)
        first = next(iter(known.values()))["bins"]
        below.bar(
            [b["low"] for b in first], [b["n"] for b in first], [b["high"] - b["low"] for b in first],
            align="edge", color=SERIES[0], linewidth=0,
        )  # fmt: skip
        below.set_yscale("log", subs=[])
        below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        below.set_ylabel("residues")
        below.set_xlabel("confidence (%)")

    words = [
        f"{label}: " + ", ".join(f"{b['confidence']:.0f} promised {b['right']:.0f} found" for b in part["bins"])
        for label, part in known.items()
    ]
    description = f"Share of hits by confidence, in percent. {'; '.join(words)}. Bars below: residues in each bin."
    return figure(draw, title, description, 4.4, 4.0)


def _coverage(known: dict[str, Any]) -> Markup:
    title = "Accuracy of the surest residues"

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        for k, (label, part) in enumerate(known.items()):
            x, y = ([row[name] for row in part["coverage"]] for name in ("share", "chi1_acc20"))
            ax.plot(x, y, color=SERIES[k], linewidth=1.4, label=label)
        ax.axvline(50, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        ax.set_title(title)
        ax.set_xlabel("residues kept, the surest first (%)")
        ax.set_ylabel("χ1 within 20° (%)")
        ax.set_xlim(0, 100)
        ax.set_ylim(None, 100)
        ax.legend(loc="lower left", fontsize=8.5)

    words = [
        f"{label}: "
        + ", ".join(f"{row['chi1_acc20']:.1f} of the surest {row['share']}" for row in part["coverage"][1::4])
        for label, part in known.items()
    ]
    return figure(draw, title, f"Accuracy against coverage, in percent. {'; '.join(words)}.", 4.4, 4.0)
