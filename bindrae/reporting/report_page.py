"""The page of a run's report, from the records of data, training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bindrae.evaluation.pockets import Pocket
from bindrae.reporting import plots
from bindrae.reporting.acceptance import (
    acceptance_cards,
    acceptance_figure,
    acceptance_heads,
    acceptance_rows,
    peers_note,
    summary,
)
from bindrae.reporting.chi_figures import chi_figures
from bindrae.reporting.error_section import error_section
from bindrae.reporting.html import DASH, duration, flatten, number, render, text, words
from bindrae.reporting.peers import Peer
from bindrae.reporting.pocket_views import pocket_view, viewer_script
from bindrae.reporting.quality_figures import funnel
from bindrae.reporting.quality_page import Rows, seconds_rows, settings_rows
from bindrae.reporting.reliability_figures import FEWEST
from bindrae.reporting.verdict import (
    ACCURACIES,
    METRICS,
    ROWS,
    difference_rows,
    entry_of,
    metric_heads,
    metric_rows,
    verdict,
)

CONTENTS = (
    ("verdict", "Verdict"),
    ("training", "Training"),
    ("angles", "Angles"),
    ("reliability", "Reliability"),
    ("worst", "Worst cases"),
    ("bands", "Burial, B-factor and place"),
    ("refinement", "Refinement"),
    ("complexes", "Complexes"),
    ("predicted", "Predicted structures"),
    ("data", "Data"),
    ("time", "Time"),
    ("provenance", "Provenance"),
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
    angles: dict[str, Any] | None = None,
    pockets: Sequence[Pocket] = (),
    pockets_missing: str = "",
    peers: Sequence[Peer] = (),
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
    angles : dict, optional
        From `chi_counts`; without it the page has no figures of angles by residue type.
    pockets : sequence of Pocket
        Shown in three dimensions.
    pockets_missing : str
        Why there are none.
    peers : sequence of Peer
        Other programs, beside the acceptance figures.

    Returns
    -------
    str
        One self-contained page.
    """
    complexes = evaluation["by_complex"]
    errors = error_section(evaluation)
    rows, others = evaluation["rows"], list(peers)
    seconds = _seconds(quality, training, evaluation)
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
        summary=summary(rows),
        cards=acceptance_cards(rows),
        peers_note=peers_note(others, evaluation),
        metric_heads=metric_heads(rows),
        heads=errors.heads | {"acceptance": acceptance_heads(others)},
        fewest_in_bin=FEWEST,
        pockets=[pocket_view(pocket) for pocket in pockets],
        pockets_missing=pockets_missing,
        **_viewer(pockets),
        figures={
            **_figures(evaluation, epochs, best_epoch),
            **errors.figures,
            **chi_figures(angles or {}),
            "acceptance": acceptance_figure(rows, others),
            "funnel": funnel(quality),
            "time": _time_figure(quality, training, evaluation),
        },
        tables={
            **errors.tables,
            "acceptance": acceptance_rows(rows, others),
            "overall": metric_rows(rows, "overall"),
            "pocket": metric_rows(rows, "pocket"),
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
                ["model sha256", text(evaluation.get("model_sha256", DASH))],
                ["inputs' fingerprint", text(quality.get("inputs", {}).get("fingerprint", DASH))],
                *_extras(training),
                *map(list, environment),
            ],
            "seconds": seconds,
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


def _single_seconds(
    quality: dict[str, Any], training: dict[str, Any], evaluation: dict[str, Any]
) -> dict[str, float | None]:
    """Seconds of the stages that run once for the whole dataset."""
    return {
        "quality": quality.get("provenance", {}).get("seconds"),
        "train": training["seconds"],
        "evaluate": evaluation.get("seconds"),
    }


def _seconds(quality: dict[str, Any], training: dict[str, Any], evaluation: dict[str, Any]) -> Rows:
    singles = _single_seconds(quality, training, evaluation)
    return [*seconds_rows(quality["stages"]), *([name, "1", duration(s), DASH] for name, s in singles.items())]


def _time_figure(quality: dict[str, Any], training: dict[str, Any], evaluation: dict[str, Any]) -> Markup:
    seconds = {name: stage["seconds"] for name, stage in quality["stages"].items()}
    seconds |= {name: s for name, s in _single_seconds(quality, training, evaluation).items() if s is not None}
    return plots.horizontal_bars(
        list(seconds), list(seconds.values()), [duration(s) for s in seconds.values()], "Time by stage"
    )


def _viewer(pockets: Sequence[Pocket]) -> dict[str, Any]:
    """The script of the page; a page without pockets needs none and allows none."""
    return dict(zip(("script", "script_hash"), viewer_script(), strict=True)) if pockets else {}


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
