"""Small panels of true against predicted side-chain angles, one a residue type."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from bindrae.reporting.html import number
from bindrae.reporting.plots import small_panel
from bindrae.reporting.svg import ACCENT, MUTED, figure

_COLUMNS = 6


def chi_figures(counts: dict[str, Any]) -> dict[str, Markup]:
    """The figures ``chi1_types`` and ``chi2_types``; an angle that no residue has gives none.

    Parameters
    ----------
    counts : dict
        From `bindrae.evaluation.chi_counts.chi_counts`.
    """
    return {
        f"{chi}_types": _panels(counts["edges"], counts[chi], f"χ{chi[-1]} by residue type, true and predicted")
        for chi in counts
        if chi != "edges" and counts[chi]
    }


def overlap(pair: dict[str, list[int]]) -> float | None:
    """Common part of two histograms (%): 100 when they are the same; None when one is empty."""
    true, pred = (np.asarray(pair[side], dtype=float) for side in ("true", "pred"))
    if not true.sum() or not pred.sum():
        return None
    return float(100.0 * np.minimum(true / true.sum(), pred / pred.sum()).sum())


def _panels(edges: list[float], types: dict[str, dict[str, list[int]]], title: str) -> Markup:
    rows = -(-len(types) // _COLUMNS)
    centres = [(a + b) / 2 for a, b in pairwise(edges)]

    def draw(fig: Any) -> None:
        axes = fig.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
        for ax, (name, pair) in zip(axes, types.items(), strict=False):
            ax.fill_between(centres, pair["true"], step="mid", color=MUTED, alpha=0.45, linewidth=0, label="true")
            ax.step(centres, pair["pred"], where="mid", color=ACCENT, linewidth=1.3, label="predicted")
            small_panel(ax, f"{name}  {sum(pair['true']):,}", (edges[0], edges[-1]), (-60, 60, 180))
        for ax in axes[len(types) :]:
            ax.set_visible(False)
        # The panel above an empty place shows the angles that the one below it would have.
        for ax in axes[max(0, len(types) - _COLUMNS) : len(types)]:
            ax.tick_params(labelbottom=True)
        fig.suptitle(title, x=0.005, ha="left", fontsize=9.5, fontweight="bold")
        handles = axes[0].get_legend_handles_labels()
        fig.legend(*handles, loc="outside upper right", ncols=2, fontsize=8.5, borderpad=0)
        fig.supxlabel("degrees", fontsize=8)

    common = ", ".join(f"{name} {number(overlap(pair), 0)}" for name, pair in types.items())
    words = f"Histograms of true and predicted angles, each type scaled to its own peak; common part (%): {common}."
    return figure(draw, title, words, 8.4, 0.65 + 0.95 * rows)
