"""The part of a run's report that looks into its errors: tables, figures and sentences for ``errors.html.j2``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bindrae.reporting import error_tables
from bindrae.reporting.error_figures import error_figures
from bindrae.reporting.html import DASH, number
from bindrae.reporting.quality_page import Rows
from bindrae.reporting.reliability_figures import reliability_figures
from bindrae.reporting.verdict import METRICS, difference_rows

_AGAINST = ("n", "χ1", "95 %", "no learning", "gain", "95 %", "All χ", "no learning", "RMSD", "no learning", "Clashes")
AGAINST_HEADS = tuple((name, True) for name in _AGAINST)
BIN_HEADS = (("Confidence", False), ("Residues", True), ("Promised (%)", True), ("Found (%)", True), ("Points", True))


@dataclass(frozen=True)
class ErrorSection:
    """What the template shows, by name."""

    tables: dict[str, Rows]
    figures: dict[str, Markup]
    heads: dict[str, Any]  # of tables: lists of (name, is a number)
    sentences: list[str]  # for the verdict


def error_section(evaluation: dict[str, Any]) -> ErrorSection:
    """Make the section.

    Parameters
    ----------
    evaluation : dict
        The content of evaluation.json.
    """
    errors, bands = evaluation["errors"], evaluation["bands"]
    reliability, refinement = evaluation["reliability"], evaluation["refinement"]
    wells = errors["wells"]
    tables = {
        "bands": error_tables.band_rows(bands),
        "types": error_tables.type_rows(bands),
        "kinds": error_tables.kind_rows(errors),
        "wells": error_tables.well_rows(wells["tetrahedral"]),
        "puckers": error_tables.well_rows(wells["proline"]),
        "flips": error_tables.half_turn_rows(errors["flips"]),
        "symmetric": error_tables.half_turn_rows(errors["symmetric"]),
        "worst_residues": error_tables.worst_residue_rows(errors["worst_residues"]),
        "worst_complexes": error_tables.worst_complex_rows(errors["worst_complexes"]),
    }
    figures = error_figures(errors, bands)
    if refinement:
        tables["refinement"] = error_tables.refinement_rows(refinement)
        tables["refinement_clashes"] = error_tables.clash_rows(refinement)
        tables["refinement_differences"] = difference_rows(evaluation["comparison"].get("model_minus_unrefined", {}))
    if reliability:
        figures |= reliability_figures(reliability)
        tables["bins"] = error_tables.bin_rows(reliability["overall"]["bins"])
        if reliability["pocket"]:
            tables["pocket_bins"] = error_tables.bin_rows(reliability["pocket"]["bins"])
    heads = {
        "bands": (("By", False), ("Band", False), *AGAINST_HEADS),
        "types": (("Type", False), *AGAINST_HEADS),
        "bins": BIN_HEADS,
        "kinds": error_tables.kind_heads(errors),
        "wells": {name: error_tables.well_heads(part) for name, part in wells.items()},
    }
    return ErrorSection(tables, figures, heads, [_sentence(reliability)] if reliability else [])


def _sentence(reliability: dict[str, Any]) -> str:
    part, metric = reliability["overall"], METRICS["chi1_acc20"]
    half = part["surer_half"]
    interval = metric.interval(half)
    known = f" (95 % interval {interval})" if interval != DASH else ""
    return (
        f"Confidence: in the surer half of the residues χ1 is within 20° for {metric.show(half['value'])}{known}; "
        f"what it promises and what comes differ by {number(part['calibration_error'], 1)} points (expected "
        "calibration error, ten bins)."
    )
