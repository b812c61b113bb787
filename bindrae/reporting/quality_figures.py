"""The figures of the data quality report."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from bindrae.reporting import plots, svg
from bindrae.reporting.backbone import CLASSES, COLUMNS, ROWS

_BY_TYPE_COLUMNS = 6


def quality_figures(data: dict[str, Any]) -> dict[str, Any]:
    """All figures, by the name under which the page shows them.

    Parameters
    ----------
    data : dict
        The content of quality.json.
    """
    types = {name: t for name, t in data["residue_types"].items() if t["residues"]}
    total = {key: sum(t[key] for t in types.values()) for key in ("residues", "pocket")}
    shares = {
        label: [100 * t[key] / total[key] if total[key] else None for t in types.values()]
        for key, label in (("residues", "all residues"), ("pocket", "pocket residues"))
    }
    distributions = [d for d in data["distributions"].values() if d["n"]]
    chi, floors = data["chi"], data["floors"]
    return {
        "funnel": funnel(data),
        "distributions": [plots.histogram(d["counts"], d["edges"], d["label"], d["unit"]) for d in distributions],
        "chi": [
            plots.histogram(chi[f"chi{k}"], chi["edges"], f"χ{k}", f"χ{k} (degrees)", open_end=False, trim=False)
            for k in (1, 2, 3, 4)
        ],
        "chi1_by_type": _chi1_by_type(chi) if chi["by_type"] else Markup(""),
        "types": plots.bars(list(types), shares, "Share of each residue type", "share (%)") if types else Markup(""),
        "ramachandran": _ramachandran(data["backbone"]["ramachandran"]),
        "floors": [
            plots.histogram(d["counts"], d["edges"], d["label"], d["unit"])
            for d in floors["distributions"].values()
            if d["n"]
        ],
        "floors_by_type": [
            plots.bars(list(floors["by_type"]), {label: [f[key] for f in floors["by_type"].values()]}, title, label)
            for key, title, label in (
                ("clash_atoms_pct", "Clashing crystal atoms by residue type", "heavy atoms (%)"),
                ("fk_sidechain_rmsd", "Rebuilt side chains by residue type", "RMSD beyond CB (Å)"),
            )
            if floors["by_type"]
        ],
    }


def _chi1_by_type(chi: dict[str, Any]) -> Markup:
    types = {name: counts["chi1"] for name, counts in chi["by_type"].items() if any(counts["chi1"])}
    centres = [(a + b) / 2 for a, b in zip(chi["edges"], chi["edges"][1:], strict=False)]
    rows = -(-len(types) // _BY_TYPE_COLUMNS)

    def draw(fig: Any) -> None:
        axes = fig.subplots(rows, _BY_TYPE_COLUMNS, squeeze=False, sharex=True).ravel()
        for ax, (name, counts) in zip(axes, types.items(), strict=False):
            ax.fill_between(centres, counts, step="mid", color=svg.ACCENT, linewidth=0)
            plots.small_panel(ax, f"{name}  {sum(counts):,}", (-180, 180), (-120, 0, 120))
        for ax in axes[len(types) :]:
            ax.set_visible(False)

    peaks = [f"{name} {centres[max(range(len(c)), key=c.__getitem__)]:g}" for name, c in types.items()]
    words = "Histograms of chi1 in degrees, each scaled to its own peak; the fullest bin lies at " + ", ".join(peaks)
    return svg.figure(draw, "χ1 by residue type", words + ".", 8.4, 0.4 + 0.95 * rows)


def _ramachandran(counts: dict[str, list[list[float]]]) -> Markup:
    """Hexagons of (phi, psi), darker for more residues on a logarithmic scale, a panel a class."""
    if not any(counts.values()):
        return Markup("")
    across, along = 360.0 / COLUMNS, 360.0 / ROWS
    hexagon = [(0.5, 1 / 6), (0.0, 1 / 3), (-0.5, 1 / 6), (-0.5, -1 / 6), (0.0, -1 / 3), (0.5, -1 / 6)]
    corners = [(x * across, y * along) for x, y in hexagon]

    def draw(fig: Any) -> None:
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import to_rgba

        for ax, name in zip(fig.subplots(1, len(CLASSES), sharey=True), CLASSES, strict=True):
            # What lies on the left and lower edge lies on the right and upper one too.
            cells = [
                (x + dx, y + dy, n)
                for x, y, n in counts[name]
                for dx in ((0, 360) if x < -180 + across else (0,))
                for dy in ((0, 360) if y < -180 + along else (0,))
            ]
            top = max((n for *_, n in cells), default=1)
            colours = [to_rgba(svg.ACCENT, round(0.1 + 0.9 * math.log1p(n) / math.log1p(top), 2)) for *_, n in cells]
            offsets = [(x, y) for x, y, _ in cells] or [(math.nan, math.nan)]
            ax.add_collection(
                PolyCollection([corners], offsets=offsets, offset_transform=ax.transData, facecolors=colours,
                               linewidths=0, transform=_scale_only(ax))
            )  # fmt: skip
            ax.set_title(f"{name}  {sum(n for *_, n in counts[name]):,}")
            ax.set_xlim(-180, 180)
            ax.set_ylim(-180, 180)
            ax.set_xticks(range(-180, 181, 90))
            ax.set_yticks(range(-180, 181, 90))
            ax.set_xlabel("φ (degrees)")
            ax.set_aspect("equal")
        fig.axes[0].set_ylabel("ψ (degrees)")

    words = []
    for name in CLASSES:
        if counts[name]:
            x, y, n = max(counts[name], key=lambda cell: cell[2])
            words.append(f"{name}: {sum(c for *_, c in counts[name]):,} residues, most ({n:,}) near {x:.0f}, {y:.0f}")
    return svg.figure(draw, "Ramachandran plot", "Hexagons of phi and psi. " + "; ".join(words) + ".", 8.4, 3.1)


def _scale_only(ax: Any) -> Any:
    """From data units to pixels, without the origin: the shape that is set down at each offset."""
    from matplotlib.transforms import AffineDeltaTransform

    return AffineDeltaTransform(ax.transData)


def funnel(data: dict[str, Any]) -> Markup:
    """Complexes left after each stage.

    Parameters
    ----------
    data : dict
        The content of quality.json.
    """
    stages = {name: s["out"] for name, s in data["stages"].items() if "out" in s}
    steps = {"found": data["found"], **stages, "accepted": data["accepted"]}
    return plots.horizontal_bars(
        list(steps), [float(n) for n in steps.values()], [f"{n:,}" for n in steps.values()],
        "Complexes left after each stage",
    )  # fmt: skip
