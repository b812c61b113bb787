"""The page of the data quality report, from the numbers of quality.json."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bindrae.reporting import plots, svg
from bindrae.reporting.html import DASH, duration, flatten, number, percent, render, size, text, words

CONTENTS = (
    ("funnel", "Found to accepted"),
    ("split", "Split"),
    ("cleaning", "Cleaning"),
    ("ligands", "Ligands"),
    ("distributions", "Distributions"),
    ("types", "Residue types"),
    ("outliers", "Outliers"),
    ("time", "Time"),
    ("inputs", "Inputs"),
)
Rows = list[list[str]]


def quality_page(data: dict[str, Any]) -> str:
    """Build quality.html.

    Parameters
    ----------
    data : dict
        The content of quality.json.

    Returns
    -------
    str
        One self-contained page.
    """
    lengths, pockets = data["distributions"]["protein_length"], data["distributions"]["pocket_size"]
    rejected_under = percent(data["rejected"], data["found"]) + " of those found"
    cards = [
        ("Accepted complexes", number(data["accepted"]), [f"of {number(data['found'])} found"]),
        ("Rejected", number(data["rejected"]), [rejected_under]),
        ("Sequence clusters", number(data["split"]["clusters"]), [f"largest: {_largest_cluster(data)}"]),
        ("Residues", number(lengths["total"]), [f"median {number(lengths['median'])} a complex"]),
        ("Pocket residues", number(pockets["total"]), [f"median {number(pockets['median'])} a complex"]),
    ]
    return render(
        "quality.html.j2",
        title="Data quality",
        contents=CONTENTS,
        d=data,
        b=data["distributions"]["bfactors"],
        cards=cards,
        figures=_figures(data),
        tables=_tables(data),
        disagreeing=[s for s, r in data["stages"].items() if not r["settings_agree"] or len(r["versions"]) > 1],
    )


def seconds_rows(stages: dict[str, Any]) -> Rows:
    """Rows of the time table: stage, batches, total, slowest batch."""
    return [
        [
            stage,
            number(s["batches"]),
            duration(s["seconds"]),
            duration(s["slowest"]) if s["batches"] > 1 else DASH,
        ]
        for stage, s in stages.items()
    ]


def settings_rows(settings: dict[str, Any]) -> Rows:
    """Rows of a settings table: dotted key, value."""
    return [[key, text(value)] for key, value in flatten(settings).items()]


def _largest_cluster(data: dict[str, Any]) -> str:
    largest = data["split"]["largest_clusters"]
    return f"{number(largest[0]['complexes'])} complexes" if largest else DASH


def _tables(data: dict[str, Any]) -> dict[str, Rows]:
    accepted, inputs = data["accepted"], data["inputs"]
    n_residues = sum(t["residues"] for t in data["residue_types"].values())
    n_pocket = sum(t["pocket"] for t in data["residue_types"].values())
    per_complex = {key: data["distributions"][key] for key in data["outliers"]}
    return {
        "clusters": [
            [c["cluster"], c["split"], number(c["complexes"])] for c in data["split"]["largest_clusters"]
        ],
        "notes": [
            [words(key), number(n["total"]), number(n["complexes"]), percent(n["complexes"], accepted)]
            for key, n in data["notes"].items()
        ],
        "routes": [[route, number(n), percent(n, accepted)] for route, n in data["ligand_routes"].items()],
        "distributions": [
            [
                s["label"], s["unit"], *(number(s[k]) for k in ("n", "min", "q05", "median")),
                number(s["mean"], 1), *(number(s[k]) for k in ("q95", "max", "total")),
            ]
            for s in per_complex.values()
        ],
        "types": [
            [
                name, number(t["residues"]), percent(t["residues"], n_residues),
                number(t["pocket"]), percent(t["pocket"], n_pocket),
                *(number(t[f"chi{k}"]) if t[f"chi{k}"] else DASH for k in (1, 2, 3, 4)),
            ]
            for name, t in data["residue_types"].items()
            if t["residues"]
        ],
        "outliers": [
            [per_complex[key]["label"], *(_list(extremes[end]) for end in ("smallest", "largest"))]
            for key, extremes in data["outliers"].items()
        ],
        "seconds": seconds_rows(data["stages"]),
        "inputs": [
            ["Folder or sheet", text(inputs["root"]) if inputs["root"] else "inside installed packages"],
            ["Layout", text(inputs["layout"])],
            ["Complexes with all files", number(inputs["complexes"])],
            ["Size of the files", size(inputs["bytes"])],
            ["Newest file", inputs["newest"] or DASH],
            ["Fingerprint", inputs["fingerprint"]],
        ],
        # A folder for each complex says nothing that the ids do not.
        "sources": [
            [s["source"], number(s["complexes"]), size(s["bytes"])]
            for s in inputs["sources"]
            if inputs["n_sources"] <= len(inputs["sources"]) or s["complexes"] > 1
        ],
        "settings": settings_rows({stage: s["settings"] for stage, s in data["stages"].items()}),
    }  # fmt: skip


def _list(pairs: list[dict[str, Any]]) -> str:
    """Ids with their values; a dash where all are 0, as the smallest counts of a fault mostly are."""
    return ", ".join(f"{p['id']} ({number(p['value'])})" for p in pairs) if any(p["value"] for p in pairs) else DASH


def _figures(data: dict[str, Any]) -> dict[str, Any]:
    types = {name: t for name, t in data["residue_types"].items() if t["residues"]}
    total = {key: sum(t[key] for t in types.values()) for key in ("residues", "pocket")}
    shares = {
        label: [100 * t[key] / total[key] if total[key] else None for t in types.values()]
        for key, label in (("residues", "all residues"), ("pocket", "pocket residues"))
    }
    distributions = [d for d in data["distributions"].values() if d["n"]]
    return {
        "funnel": _funnel(data),
        "distributions": [plots.histogram(d["counts"], d["edges"], d["label"], d["unit"]) for d in distributions],
        "chi": [
            plots.histogram(
                data["chi"][f"chi{k}"],
                data["chi"]["edges"],
                f"χ{k}",
                f"χ{k} (degrees)",
                open_end=False,
                trim=False,
            )
            for k in (1, 2)
        ],
        "types": plots.bars(list(types), shares, "Share of each residue type", "share (%)") if types else Markup(""),
    }


def _funnel(data: dict[str, Any]) -> Markup:
    steps = [
        ("found", data["found"]),
        *((name, s["out"]) for name, s in data["stages"].items() if "out" in s),
    ]
    steps.append(("accepted", data["accepted"]))
    labels, values = [name for name, _ in steps], [float(n) for _, n in steps]

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        ax.barh(range(len(steps)), values, 0.72, color=svg.ACCENT, linewidth=0)
        for i, value in enumerate(values):
            ax.annotate(f"{value:,.0f}", (value, i), (4, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(steps)), labels)
        ax.set_ylim(len(steps) - 0.5, -0.5)
        ax.set_xlim(0, max(values) * 1.1 or 1)
        ax.set_title("Complexes left after each stage")
        ax.set_axisbelow(True)
        ax.grid(visible=False)
        ax.xaxis.set_visible(False)
        ax.spines[["bottom", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)

    words_of = ", ".join(f"{name} {value:,.0f}" for name, value in zip(labels, values, strict=True))
    return svg.figure(
        draw, "Complexes left after each stage", f"Horizontal bars: {words_of}.", 8.4, 0.5 + 0.24 * len(steps)
    )
