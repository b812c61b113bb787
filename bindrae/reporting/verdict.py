"""How metrics are written, and what the headline of a run says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bindrae.reporting.html import DASH, number
from bindrae.reporting.quality_page import Rows


@dataclass(frozen=True)
class Metric:
    """How a metric is written."""

    label: str
    unit: str = "%"
    digits: int = 1
    higher_is_better: bool = True

    def show(self, value: float | None) -> str:
        """The value with its unit, or a dash."""
        return DASH if value is None else f"{number(value, self.digits)}{'' if self.unit == '°' else ' '}{self.unit}"

    def interval(self, entry: dict[str, Any], between: str = " to ") -> str:
        """The interval without its unit, or a dash."""
        low, high = entry.get("low"), entry.get("high")
        if low is None or high is None:
            return DASH
        return f"{number(low, self.digits)}{between}{number(high, self.digits)}"


METRICS: dict[str, Metric] = {
    "chi1_acc20": Metric("χ1 within 20°"),
    "chi1_acc40": Metric("χ1 within 40°"),
    "chi2_acc20": Metric("χ2 within 20°"),
    "chi3_acc20": Metric("χ3 within 20°"),
    "chi4_acc20": Metric("χ4 within 20°"),
    "all_chi_acc20": Metric("All χ within 20°"),
    "chi1_mae_deg": Metric("Mean χ1 error", "°", 1, False),
    "sidechain_rmsd": Metric("Side-chain RMSD", "Å", 2, False),
    "irmsd": Metric("Pocket iRMSD", "Å", 2, False),
    "irmsd_ca": Metric("Pocket iRMSD, Cα", "Å", 2, False),
    "irmsd_sidechain": Metric("Pocket iRMSD, side chains", "Å", 2, False),
    "clash_atoms_pct": Metric("Clashing atoms", "%", 2, False),
    "clash_pairs_pct": Metric("Clashing pairs", "%", 2, False),
    "ligand_clash_atoms_pct": Metric("Atoms clashing with the ligand", "%", 2, False),
    "fape": Metric("FAPE", "Å", 2, False),
    "fape_pocket_weighted": Metric("FAPE, pocket-weighted", "Å", 2, False),
}
HEADLINE = (
    ("overall", "chi1_acc20", "χ1 within 20°"),
    ("pocket", "chi1_acc20", "Pocket χ1 within 20°"),
    ("pocket", "irmsd", "Pocket iRMSD"),
    ("overall", "clash_atoms_pct", "Clashing atoms"),
    ("overall", "fape", "FAPE"),
)
ACCURACIES = ("chi1_acc20", "chi2_acc20", "chi3_acc20", "chi4_acc20", "all_chi_acc20")
STANDINGS = {"better": "better than ", "worse": "worse than ", "same": "not told apart from ", "": ""}
ROWS = {
    "model": "Model",
    "unrefined": "Unrefined",
    "no_learning": "No learning",
    "rebuilt": "Rebuilt",
    "crystal": "Crystal",
}


def entry_of(rows: dict[str, Any], row: str, scope: str, metric: str) -> dict[str, Any]:
    """Value and interval of one metric in ``evaluation.json``'s rows; empty where it is missing."""
    return dict((rows.get(row) or {}).get(scope, {}).get(metric) or {})


def verdict(evaluation: dict[str, Any]) -> list[str]:
    """One sentence for each headline figure: the model, its interval, and the other rows."""
    sentences = []
    paired = evaluation.get("comparison", {}).get("model_minus_no_learning", {})
    for scope, key, label in HEADLINE:
        metric = METRICS[key]
        model = entry_of(evaluation["rows"], "model", scope, key)
        base = entry_of(evaluation["rows"], "no_learning", scope, key).get("value")
        crystal = entry_of(evaluation["rows"], "crystal", scope, key).get("value")
        if model.get("value") is None:
            sentences.append(f"{label}: undefined on this side.")
            continue
        interval = metric.interval(model)
        known = f"95 % interval {interval}" if interval != DASH else "no interval"
        sentence = f"{label}: {metric.show(model['value'])} ({known})"
        if base is not None:
            standing = stands(paired.get(scope, {}).get(key, {}), metric)
            sentence += f", {STANDINGS[standing]}no learning ({metric.show(base)})"
        if crystal is not None:
            sentence += f"; crystal {metric.show(crystal)}"
        sentences.append(sentence + ".")
    return sentences


def stands(difference: dict[str, Any], metric: Metric) -> str:
    """Whether a paired difference says ``better`` or ``worse``; ``same`` when its interval holds 0, "" without one.

    Parameters
    ----------
    difference : dict
        ``low`` and ``high`` of one figure in ``comparison`` of evaluation.json.
    metric : Metric
    """
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None:
        return ""
    if low <= 0.0 <= high:
        return "same"
    return "better" if (low > 0.0) == metric.higher_is_better else "worse"


def difference_rows(comparison: dict[str, Any]) -> Rows:
    """Rows of the table of paired differences: where, metric, difference, interval, and what it says.

    Parameters
    ----------
    comparison : dict
        One entry of ``comparison`` of evaluation.json: scope to metric to ``value``, ``low``, ``high``.
    """
    result = []
    for scope, name in (("overall", "all residues"), ("pocket", "pocket")):
        part = comparison.get(scope, {})
        for key, metric in METRICS.items():
            entry = part.get(key, {})
            if entry.get("value") is None:
                continue
            cells = [name, f"{metric.label} ({metric.unit})", f"{entry['value']:+,.{metric.digits}f}"]
            interval = DASH
            if entry.get("low") is not None:
                interval = f"{entry['low']:+,.{metric.digits}f} to {entry['high']:+,.{metric.digits}f}"
            said = {"same": "not told apart", "": DASH}
            standing = stands(entry, metric)
            result.append([*cells, interval, said.get(standing, standing)])
    return result


def shown_rows(rows: dict[str, Any]) -> dict[str, str]:
    """Rows of the evaluation and their headings: the known ones in order, then any further one by its key."""
    known = {row: name for row, name in ROWS.items() if row in rows}
    return known | {row: row for row in sorted(set(rows) - set(ROWS))}


def metric_heads(rows: dict[str, Any]) -> list[tuple[str, bool]]:
    """Heads of the table of `metric_rows`, and which columns hold numbers."""
    return [("Metric", False), *((head, True) for name in shown_rows(rows).values() for head in (name, "95 %"))]


def metric_rows(rows: dict[str, Any], scope: str) -> Rows:
    """Rows of the table of all metrics: label, then value and interval of each row of the evaluation.

    Parameters
    ----------
    rows : dict
        ``rows`` of evaluation.json.
    scope : str
        ``overall`` or ``pocket``.
    """
    present = {key for row in rows.values() for key in (row or {}).get(scope, {})}
    result = []
    for key in [*(k for k in METRICS if k in present), *sorted(present - set(METRICS))]:
        metric = METRICS.get(key, Metric(key, "", 2))
        cells = [metric.label + (f" ({metric.unit})" if metric.unit else "")]
        for row in shown_rows(rows):
            entry = entry_of(rows, row, scope, key)
            cells += [number(entry.get("value"), metric.digits), metric.interval(entry, DASH)]
        result.append(cells)
    return result
