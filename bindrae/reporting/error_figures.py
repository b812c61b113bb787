"""The figures of the errors: how far chi1 is off, which well it takes for which, and accuracy by residue type."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bindrae.reporting import plots
from bindrae.reporting.html import number
from bindrae.reporting.svg import ACCENT, INK, figure

_BARS = (
    ("Model, χ1", "model", "chi1_acc20"),
    ("Model, all χ", "model", "all_chi_acc20"),
    ("No learning, χ1", "no_learning", "chi1_acc20"),
)
# A stronger colour would hide the number in the square.
_STRONGEST = 0.5


def error_figures(errors: dict[str, Any], bands: dict[str, Any]) -> dict[str, Markup]:
    """All figures, by the name under which the page shows them.

    Parameters
    ----------
    errors, bands : dict
        Those parts of evaluation.json.
    """
    histogram = errors["histogram"]
    figures = {
        "chi1_errors": plots.histogram(
            histogram["counts"], histogram["edges"], "Errors of χ1", "error of χ1 (degrees)",
            open_end=False, trim=False, log=True,
        ),
        "wells": _squares(errors["wells"]["tetrahedral"]),
    }  # fmt: skip
    types = {name: entry for name, entry in bands.get("type", {}).items() if entry["n"]}
    if types:
        bars = {
            label: [entry.get(row, {}).get(key, {}).get("value") for entry in types.values()]
            for label, row, key in _BARS
        }
        figures["types"] = plots.bars(list(types), bars, "Accuracy by residue type", "% within 20°", upper=100.0)
    return figures


def degrees(well: str) -> str:
    """A well as the page writes it: ``-60`` as ``−60°``."""
    return f"{well.replace('-', '−')}°"


def _squares(wells: dict[str, dict[str, int]]) -> Markup:
    """True against predicted well; the stronger the colour, the larger the share of the true well's residues."""
    labels = list(wells)
    title = "Wells of χ1, all types but proline"

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        for i, row in enumerate(wells.values()):
            total = max(sum(row.values()), 1)
            for j, other in enumerate(labels):
                share = row[other] / total
                # A white-to-dark scale would not follow the page's light and dark: the opacity does.
                ax.bar(j, 0.96, 0.96, i - 0.48, color=ACCENT, alpha=_STRONGEST * share, linewidth=0)
                ax.text(j, i, f"{number(row[other])}\n{100 * share:.1f} %", color=INK, ha="center", va="center")
        ax.set_title(title)
        ax.set_xticks(range(len(labels)), [degrees(label) for label in labels])
        ax.set_yticks(range(len(labels)), [degrees(label) for label in labels])
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        ax.grid(visible=False)
        ax.tick_params(length=0)

    words = [
        f"true {degrees(true)}: " + ", ".join(f"{row[other]} predicted {degrees(other)}" for other in labels)
        for true, row in wells.items()
    ]
    return figure(draw, title, f"Residues by true and predicted well. {'; '.join(words)}.", 4.4, 2.3)
