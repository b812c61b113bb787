"""The page of a run's report, from the records of data, training and evaluation."""

from __future__ import annotations

from typing import Any

from bindrae.reporting import plots
from bindrae.reporting.error_section import error_section
from bindrae.reporting.html import DASH, duration, flatten, number, render, text, words
from bindrae.reporting.quality_page import Rows, seconds_rows, settings_rows
from bindrae.reporting.reliability_figures import FEWEST
from bindrae.reporting.verdict import (
    ACCURACIES,
    METRICS,
    ROWS,
    difference_rows,
    entry_of,
    headline_cards,
    metric_heads,
    metric_rows,
    verdict,
)

CONTENTS = (
    ("verdict", "Verdict"),
    ("data", "Data"),
    ("training", "Training"),
    ("bands", "Burial, B-factor and place"),
    ("types", "Residue types"),
    ("errors", "Kinds of errors"),
    ("worst", "Worst cases"),
    ("refinement", "Refinement"),
    ("reliability", "Reliability"),
    ("complexes", "Complexes"),
    ("predicted", "Predicted structures"),
    ("settings", "Settings"),
    ("software", "Software and hardware"),
    ("time", "Time"),
)
MAX_COMPLEXES = 500
MAX_NAMES = 20
N_EXAMPLES = 3
LOSSES = {
    "loss": "Total loss",
    "torsion": "Torsion",
    "fape": "FAPE",
    "distance": "Distance",
    "clash": "Clash",
}
VALIDATION = {
    "chi1_acc20": "χ1 within 20° (%)",
    "pocket_chi1_acc20": "Pocket χ1 within 20° (%)",
    "pocket_irmsd": "Pocket iRMSD (Å)",
    "clash_atoms_pct": "Clashing atoms (%)",
}


def report_page(
    *,
    title: str,
    dataset: str,
    quality: dict[str, Any],
    training: dict[str, Any],
    evaluation: dict[str, Any],
    epochs: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    settings: dict[str, Any],
    environment: list[tuple[str, str]],
) -> str:
    """Build report.html.

    Parameters
    ----------
    title, dataset : str
    quality, training, evaluation : dict
        The contents of quality.json, training.json and evaluation.json.
    epochs : list of dict
        The epoch records of metrics.jsonl.
    predicted : list of dict
        From `predicted_structures`.
    settings : dict
        Nested; shown with dotted keys.
    environment : list of (str, str)
        Versions and hardware.

    Returns
    -------
    str
        One self-contained page.
    """
    complexes = evaluation["by_complex"]
    errors = error_section(evaluation)
    best = [e["epoch"] for e in epochs if e.get("best")]
    best_epoch = training["counts"].get("best_epoch", best[-1] if best else None)
    return render(
        "report.html.j2",
        title=title,
        dataset=dataset,
        contents=[entry for entry in CONTENTS if predicted or entry[0] != "predicted"],
        quality=quality,
        evaluation=evaluation,
        n_epochs=len(epochs),
        best_epoch=best_epoch,
        verdict=[*verdict(evaluation), *errors.sentences],
        cards=headline_cards(evaluation["rows"]),
        metric_heads=metric_heads(evaluation["rows"]),
        heads=errors.heads,
        fewest_in_bin=FEWEST,
        figures=_figures(evaluation, epochs, best_epoch) | errors.figures,
        tables={
            **errors.tables,
            "overall": metric_rows(evaluation["rows"], "overall"),
            "pocket": metric_rows(evaluation["rows"], "pocket"),
            "rejections": _rejection_rows(quality["rejections"]),
            "training": [
                [words(key), number(value) if isinstance(value, int | float) else text(value)]
                for key, value in flatten(training["counts"]).items()
            ],
            "differences": difference_rows(evaluation["comparison"].get("model_minus_no_learning", {})),
            "failed": [[str(f["id"]), str(f["message"])] for f in evaluation["failed"][:MAX_NAMES]],
            "complexes": _complex_rows(complexes)[:MAX_COMPLEXES],
            "predicted": _predicted_rows(predicted)[:MAX_COMPLEXES],
            "settings": settings_rows(settings),
            "software": [
                ["attention backend", text(evaluation["attention"])],
                ["model sha256", evaluation.get("model_sha256", DASH)],
                *_extras(training),
                *map(list, environment),
            ],
            "seconds": _seconds(quality, training, evaluation),
        },
        n_complexes=len(complexes),
        n_predicted=len(predicted),
        n_failed=len(evaluation["failed"]),
    )


def _rejection_rows(rejections: list[dict[str, Any]]) -> Rows:
    result = []
    for r in rejections:
        names = [str(e["id"]) for e in r["examples"][:N_EXAMPLES]]
        more = ", …" if r["count"] > len(names) else ""
        result.append([r["stage"], r["code"], number(r["count"]), ", ".join(names) + more, r["hint"]])
    return result


def _complex_rows(complexes: list[dict[str, Any]]) -> Rows:
    """Rows of the complexes, the largest pocket iRMSD first, undefined ones last."""
    keys = (
        ("chi1_acc20", 1),
        ("pocket_chi1_acc20", 1),
        ("pocket_irmsd", 2),
        ("sidechain_rmsd", 2),
        ("clash_atoms_pct", 2),
        ("fape", 2),
    )
    ranked = sorted(
        complexes,
        key=lambda c: (c.get("pocket_irmsd") is None, -(c.get("pocket_irmsd") or 0.0), str(c["id"])),
    )
    return [
        [
            str(c["id"]),
            number(c.get("n_residues")),
            number(c.get("n_pocket")),
            *(number(c.get(k), d) for k, d in keys),
        ]
        for c in ranked
    ]


def _predicted_rows(predicted: list[dict[str, Any]]) -> Rows:
    """Rows of the predicted structures; failed ones say why."""
    return [
        [
            str(p["id"]),
            f"{number(p['built'])} of {number(p['residues_total'])}" if p["status"] == "done" else text(p["message"]),
            number(p.get("mean_confidence"), 0),
            number(p.get("clashing_atoms_pct"), 2),
            number(p.get("ligand_clashing_atoms")),
            number(p.get("n_chi1")),
            number(p.get("chi1_acc20"), 1),
        ]
        for p in predicted
    ]


def _extras(training: dict[str, Any]) -> Rows:
    """What the training recorded beyond the form of every sidecar, such as its device."""
    known = ("stage", "version", "settings", "inputs", "counts", "seconds")
    return [
        [f"train: {key}", text(v)] for key, v in flatten({k: v for k, v in training.items() if k not in known}).items()
    ]


def _seconds(quality: dict[str, Any], training: dict[str, Any], evaluation: dict[str, Any]) -> Rows:
    singles = {
        "quality": quality.get("provenance", {}).get("seconds"),
        "train": training["seconds"],
        "evaluate": evaluation.get("seconds"),
    }
    return [
        *seconds_rows(quality["stages"]),
        *([name, "1", duration(s), DASH] for name, s in singles.items()),
    ]


def _figures(evaluation: dict[str, Any], epochs: list[dict[str, Any]], best_epoch: int | None) -> dict[str, Any]:
    rows = evaluation["rows"]
    labels = [METRICS[key].label for key in ACCURACIES]
    figures: dict[str, Any] = {
        f"{scope}_accuracy": plots.intervals(
            labels,
            {ROWS[row]: [entry_of(rows, row, scope, key) for key in ACCURACIES] for row in ("model", "no_learning")},
            name,
            "% of residues that have the angle",
        )
        for scope, name in (("overall", "All residues"), ("pocket", "Pocket residues"))
    }
    if epochs:
        x = [float(e["epoch"]) for e in epochs]
        losses = [
            plots.Panel(name, {side: [e.get(side, {}).get(key) for e in epochs] for side in ("train", "val")})
            for key, name in LOSSES.items()
        ]
        norms = [e.get("train", {}).get("gradient_norm") for e in epochs]
        if any(norm is not None for norm in norms):
            losses.append(plots.Panel("Gradient norm", {"train": norms}))
        others = [
            plots.Panel(name, {"val": [e.get("val", {}).get(key) for e in epochs]}) for key, name in VALIDATION.items()
        ]
        others += [
            plots.Panel(name, {"train": [e.get(key) for e in epochs]})
            for key, name in (("lr", "Learning rate"), ("residues_per_second", "Residues a second"))
        ]
        figures["losses"] = plots.curves(x, losses, "Losses", "epoch", best_epoch)
        figures["metrics"] = plots.curves(x, others, "Metrics of the validation side", "epoch", best_epoch)
    return figures
