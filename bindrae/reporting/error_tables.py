"""Rows of the tables that say where and how a run errs: kinds, wells, half turns, worst cases, bands, types."""

from __future__ import annotations

from typing import Any

from bindrae.evaluation.error_kinds import KINDS
from bindrae.reporting.error_figures import degrees
from bindrae.reporting.html import DASH, number, percent
from bindrae.reporting.quality_page import Rows
from bindrae.reporting.verdict import METRICS, ROWS

Heads = list[tuple[str, bool]]
BANDS = {"burial": "burial", "bfactor": "B-factor", "place": "place"}


def kind_heads(errors: dict[str, Any]) -> Heads:
    """Heads of the table of `kind_rows`."""
    others = [row for row in errors["kinds"] if row != "model"]
    return [
        ("Kind", False),
        *((name, True) for name in ("Residues", "Share", "Pocket", *(ROWS.get(row, row) for row in others))),
    ]


def kind_rows(errors: dict[str, Any]) -> Rows:
    """Kinds of the model's residues, and the shares in its pocket and of the other predictions.

    Parameters
    ----------
    errors : dict
        ``errors`` of evaluation.json.
    """
    kinds = errors["kinds"]
    shares = [kinds["model"], errors["pocket_kinds"], *(kinds[row] for row in kinds if row != "model")]
    return [
        [label, number(kinds["model"][kind]), *(percent(part[kind], sum(part.values())) for part in shares)]
        for kind, label in KINDS.items()
    ]


def well_rows(wells: dict[str, dict[str, int]]) -> Rows:
    """True well, residues, and the share of them in each predicted well."""
    return [
        [degrees(true), number(sum(row.values())), *(percent(n, sum(row.values())) for n in row.values())]
        for true, row in wells.items()
    ]


def well_heads(wells: dict[str, dict[str, int]]) -> Heads:
    """Heads of the table of `well_rows`."""
    return [
        ("True χ1", False),
        ("Residues", True),
        *((f"predicted {degrees(well)}", True) for well in wells),
        ("no prediction", True),
    ]


def half_turn_rows(counts: dict[str, dict[str, int]]) -> Rows:
    """Residue type, its last chi, residues, and the shares that are right, half a turn off, and otherwise wrong."""
    return [
        [name, f"χ{c['chi']}", number(c["n"]), *(percent(c[key], c["n"]) for key in ("right", "half_turn", "other"))]
        for name, c in counts.items()
    ]


def worst_residue_rows(worst: dict[str, Any]) -> Rows:
    """Rows of the worst residues: who they are, what was said and what is true, and what may excuse it."""
    return [
        [
            str(r["id"]),
            place_of(r),
            str(r["type"]) if r.get("name") in (None, r["type"]) else f"{r['name']} ({r['type']})",
            *(number(r[key], 0) for key in ("chi1_pred", "chi1_true", "chi1_error")),
            number(r["sidechain_rmsd"], 2),
            DASH if r["confidence"] is None else f"{100 * r['confidence']:.1f}",
            number(r["neighbours"]),
            number(r["bfactor"] or None, 1),
            number(r["ligand_distance"], 1),
        ]
        for r in worst["residues"]
    ]


def place_of(residue: dict[str, Any]) -> str:
    """Chain, number and insertion code of a residue, or its row where these are not known."""
    if "number" in residue:
        return f"{residue['chain']}:{residue['number']}{residue['insertion']}".lstrip(":")  # chains may be blank
    return f"row {residue['row']}"


def worst_complex_rows(worst: list[dict[str, Any]]) -> Rows:
    """Rows of the complexes with the smallest share of right chi1."""
    return [
        [
            str(c["id"]),
            number(c["n"]),
            *(number(c[key], 1) for key in ("chi1_acc20", "base_chi1_acc20", "all_chi_acc20")),
            number(c["sidechain_rmsd"], 2),
            number(c["median_bfactor"], 1),
        ]
        for c in worst
    ]


def refinement_rows(refinement: dict[str, Any]) -> Rows:
    """What the refinement wins and loses, by scope and angle."""
    result = []
    for scope, name in (("overall", "all residues"), ("pocket", "pocket")):
        part = refinement[scope]
        for key, label in (("chi1", "χ1 within 20°"), ("all_chi", "All χ within 20°")):
            c = part[key]
            net = c["gained"] - c["lost"]
            share = DASH if not part["n"] else f"{100 * net / part['n']:+.2f}"
            counts = [part["n"], *(c[k] for k in ("kept", "gained", "lost", "neither"))]
            result.append([name, label, *map(number, counts), f"{net:+,}", share])
    return result


def clash_rows(refinement: dict[str, Any]) -> Rows:
    """Clashing atoms before and after the refinement, and residues freed and newly clashing."""
    result = []
    for scope, name in (("overall", "all residues"), ("pocket", "pocket")):
        for key, label in (("clashes", "within the protein"), ("ligand_clashes", "with the ligand")):
            c = refinement[scope][key]
            counts = (c[k] for k in ("atoms_before", "atoms_after", "freed", "left", "new"))
            result.append([name, label, *map(number, counts)])
    return result


def bin_rows(bins: list[dict[str, Any]]) -> Rows:
    """Bins of the confidence: residues, what was promised, what came, and the difference."""
    return [
        [
            f"{b['low']:.0f} to {b['high']:.0f} %",
            number(b["n"]),
            number(b["confidence"], 1),
            number(b["right"], 1),
            f"{b['right'] - b['confidence']:+.1f}",
        ]
        for b in bins
    ]


def band_rows(bands: dict[str, Any]) -> Rows:
    """Rows of the table of bands: the model beside the no-learning row, and their paired difference in chi1."""
    return [
        [name, band.replace("A^2", "Å²"), *_against_no_learning(entry)]
        for scheme, name in BANDS.items()
        for band, entry in bands.get(scheme, {}).items()
    ]


def type_rows(bands: dict[str, Any]) -> Rows:
    """The same by residue type; types without a chi1 are left out."""
    return [[name, *_against_no_learning(entry)] for name, entry in bands.get("type", {}).items() if entry["n"]]


def _against_no_learning(entry: dict[str, Any]) -> list[str]:
    chi1 = METRICS["chi1_acc20"]
    model, base, difference = (entry.get(part, {}) for part in ("model", "no_learning", "difference"))
    own, gain = (part.get("chi1_acc20", {}) for part in (model, difference))
    cells = [number(entry.get("n")), number(own.get("value"), 1), chi1.interval(own, DASH)]
    cells += [_value(base, "chi1_acc20"), number(gain.get("value"), 1), chi1.interval(gain)]
    for key in ("all_chi_acc20", "sidechain_rmsd"):
        cells += [_value(model, key), _value(base, key)]
    return [*cells, _value(model, "clash_atoms_pct")]


def _value(figures: dict[str, Any], key: str) -> str:
    return number(figures.get(key, {}).get("value"), METRICS[key].digits)
