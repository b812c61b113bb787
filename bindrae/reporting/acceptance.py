"""The four figures by which a run is accepted, against targets, floors and other packers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bindrae.reporting.html import DASH, number
from bindrae.reporting.peers import Peer
from bindrae.reporting.quality_page import Rows
from bindrae.reporting.svg import ACCENT, INK, MUTED, SECOND, figure
from bindrae.reporting.verdict import METRICS, Metric, entry_of


@dataclass(frozen=True)
class Figure:
    """One figure with its target, if one is set."""

    scope: str
    key: str
    label: str
    target: float | None = None

    @property
    def metric(self) -> Metric:
        """How it is written."""
        return METRICS[self.key]

    def off_target(self, value: float) -> float | None:
        """How far a value lies on the wrong side of the target; 0 when it is met, None without a target."""
        if self.target is None:
            return None
        return max(0.0, self.target - value if self.metric.higher_is_better else value - self.target)


# The targets are those of docs/progress.md, for CASF-2016; none is set there for distances.
ACCEPTANCE = (
    Figure("overall", "chi1_acc20", "χ1 within 20°", 87.0),
    Figure("pocket", "irmsd", "Pocket iRMSD"),
    Figure("overall", "clash_atoms_pct", "Clashing atoms", 0.5),
    Figure("overall", "fape", "FAPE"),
)
FURTHER = (
    Figure("pocket", "chi1_acc20", "Pocket χ1 within 20°", 90.0),
    Figure("overall", "all_chi_acc20", "All χ within 20°", 68.0),
)


def standing(figure_: Figure, rows: dict[str, Any]) -> tuple[str, str]:
    """What the target says of the model: words, and ``good``, ``bad`` or "" for their colour."""
    entry, metric = entry_of(rows, "model", figure_.scope, figure_.key), figure_.metric
    value = entry.get("value")
    if value is None:
        return "undefined", ""
    off = figure_.off_target(value)
    if off is None:
        return "no target set", ""
    if off == 0.0:
        return "met", "good"
    # A share that misses by less than is written would read as missed by 0.
    digits = metric.digits if round(off, metric.digits) else metric.digits + 2
    best = entry.get("high" if metric.higher_is_better else "low")
    reached = best is not None and figure_.off_target(best) == 0.0
    unit = "points" if metric.unit == "%" else metric.unit
    return f"missed by {number(off, digits)} {unit}" + (", within the interval" if reached else ""), "bad"


def summary(rows: dict[str, Any]) -> str:
    """One sentence on all targets: which are met, and by how much the others are missed."""
    with_target = [part for part in (*ACCEPTANCE, *FURTHER) if part.target is not None]
    told = [(part.label, *standing(part, rows)) for part in with_target]
    met = [label for label, _, tone in told if tone == "good"]
    missed = [f"{label} ({words.removeprefix('missed ')})" for label, words, tone in told if tone == "bad"]
    parts = [f"{len(met)} of {len(told)} targets {'is' if len(met) == 1 else 'are'} met"]
    parts[0] += f": {', '.join(met)}" if met else ""
    return ". ".join(parts + ([f"Missed: {', '.join(missed)}"] if missed else [])) + "."


def acceptance_cards(rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Label, value, target, standing and the lines under them, for each of the four figures."""
    cards = []
    for part in ACCEPTANCE:
        metric = part.metric
        model, base, crystal = _floors(part, rows)
        words, tone = standing(part, rows)
        cards.append(
            {
                "label": part.label,
                "value": metric.show(model.get("value")),
                "target": DASH if part.target is None else _aim(part),
                "standing": words,
                "tone": tone,
                "under": [
                    f"95 %: {metric.interval(model)}",
                    f"no learning: {metric.show(base.get('value'))}",
                    f"crystal: {metric.show(crystal.get('value'))}",
                ],
            }
        )
    return cards


def _floors(part: Figure, rows: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The figure's entries for the model, no learning and the crystal."""
    return tuple(entry_of(rows, row, part.scope, part.key) for row in ("model", "no_learning", "crystal"))


def _aim(part: Figure) -> str:
    assert part.target is not None
    sign = "≥" if part.metric.higher_is_better else "≤"
    return f"{sign} {number(part.target, 1)} {part.metric.unit}"


def acceptance_heads(peers: list[Peer]) -> list[tuple[str, bool]]:
    """Heads of the table of `acceptance_rows`."""
    names = ("Model", "95 %", "Target", "Standing", "No learning", "Crystal", *(peer.name for peer in peers))
    return [("Figure", False), *((name, name != "Standing") for name in names)]


def acceptance_rows(rows: dict[str, Any], peers: list[Peer]) -> Rows:
    """The four figures and two further ones with a target, the model beside floors and peers.

    Parameters
    ----------
    rows : dict
        ``rows`` of evaluation.json.
    peers : list of Peer
    """
    result = []
    for part in (*ACCEPTANCE, *FURTHER):
        metric = part.metric
        model, base, crystal = _floors(part, rows)
        others = [peer.rows[part.scope][part.key] for peer in peers]
        result.append(
            [
                f"{part.label} ({metric.unit})",
                number(model.get("value"), metric.digits),
                metric.interval(model, DASH),
                DASH if part.target is None else _aim(part).removesuffix(f" {metric.unit}"),
                standing(part, rows)[0],
                *(number(entry.get("value"), metric.digits) for entry in (base, crystal, *others)),
            ]
        )
    return result


def acceptance_figure(rows: dict[str, Any], peers: list[Peer]) -> Markup:
    """Each of the four figures on a line of its own scale: model with interval, no learning, peers, crystal, target."""
    title = "The four figures"
    marks: list[tuple[str, str, str]] = [
        ("no learning", "X", SECOND), ("crystal", "|", INK),
        *((peer.name, marker, MUTED) for peer, marker in zip(peers, "sD^v<>", strict=False)), ("model", "o", ACCENT),
    ]  # fmt: skip
    drawn = [(part, _places(part, rows, peers)) for part in ACCEPTANCE]
    drawn = [(part, places) for part, places in drawn if places.get("model") is not None]
    if not drawn:
        return Markup("")

    def draw(fig: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = fig.subplots(len(drawn), 1, squeeze=False).ravel()
        for ax, (part, places) in zip(axes, drawn, strict=True):
            entry = entry_of(rows, "model", part.scope, part.key)
            if entry.get("low") is not None:
                ax.plot([entry["low"], entry["high"]], [0, 0], color=ACCENT, linewidth=5, alpha=0.35, zorder=2)
            if part.target is not None:
                ax.axvline(part.target, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="target", zorder=1)
            for name, marker, colour in marks:
                if places.get(name) is not None:
                    # Peers are hollow: the model's point shows where two lie on each other.
                    face = "none" if colour == MUTED else colour
                    ax.plot(places[name], 0, marker, color=colour, markerfacecolor=face, markersize=7, label=name,
                            zorder=3, clip_on=False, markeredgewidth=2 if marker == "|" else 1.4)  # fmt: skip
            better = "higher is better" if part.metric.higher_is_better else "lower is better"
            ax.set_title(f"{part.label} ({part.metric.unit}), {better}", fontsize=9)
            ax.set_ylim(-1, 1)
            ax.set_yticks([])
            ax.margins(x=0.04)
            ax.xaxis.set_major_locator(MaxNLocator(8))
            ax.spines["left"].set_visible(False)
        shown = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), fontsize=8.5)

    words = []
    for part, places in drawn:
        aim = [f"target {_aim(part)}"] if part.target is not None else []
        values = [f"{name} {part.metric.show(value)}" for name, value in places.items() if value is not None]
        words.append(f"{part.label}: " + ", ".join(values + aim))
    return figure(draw, title, "Points on one line a figure. " + "; ".join(words) + ".", 8.4, 0.5 + 0.85 * len(drawn))


def _places(part: Figure, rows: dict[str, Any], peers: list[Peer]) -> dict[str, float | None]:
    own = {"model": "model", "no learning": "no_learning", "crystal": "crystal"}
    places = {name: entry_of(rows, row, part.scope, part.key).get("value") for name, row in own.items()}
    return places | {peer.name: peer.rows[part.scope][part.key].get("value") for peer in peers}


def peers_note(peers: list[Peer], evaluation: dict[str, Any]) -> str:
    """Where the peers' figures come from, and whether they may be compared."""
    if not peers:
        return ""
    names = " and ".join(peer.name for peer in peers) if len(peers) < 3 else ", ".join(peer.name for peer in peers)
    first = peers[0]
    if all(peer.same_as(evaluation) for peer in peers):
        return f"{names} were given the same complexes ({first.dataset}) and scored by the same code."
    return (
        f"{names} are shown as scored by the same code on {first.dataset} ({number(first.n_complexes)} complexes). "
        "This run was evaluated on other complexes: they are a guide, not a comparison."
    )
