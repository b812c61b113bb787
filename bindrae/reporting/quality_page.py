"""The page of the data quality report, from the numbers of quality.json."""

from __future__ import annotations

from typing import Any

from bindrae.reporting.html import DASH, duration, flatten, number, percent, render, size, text, words
from bindrae.reporting.nested import nested_tables
from bindrae.reporting.quality_figures import quality_figures

CONTENTS = (
    ("funnel", "Found to accepted"),
    ("split", "Split"),
    ("cleaning", "Cleaning"),
    ("ligands", "Ligands"),
    ("distributions", "Distributions"),
    ("types", "Residue types"),
    ("backbone", "Backbone"),
    ("floors", "Floors"),
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
    floors = data["floors"]
    if floors["complexes"]:
        under = [f"{number(floors['complexes'])} complexes, {number(floors['atoms'])} heavy atoms"]
        cards.append(("Clashing crystal atoms", f"{number(floors['clash_atoms_pct'], 2)} %", under))
        under = ["true frames and torsions, ideal bonds and angles"]
        cards.append(("Rebuilt side chains", f"{number(floors['fk_sidechain_rmsd'], 3)} Å", under))
    return render(
        "quality.html.j2",
        title="Data quality",
        contents=[entry for entry in CONTENTS if entry[0] != "floors" or floors["complexes"]],
        d=data,
        b=data["distributions"]["bfactors"],
        cards=cards,
        figures=quality_figures(data),
        tables=_tables(data),
        leakage=nested_tables(data["split"]["leakage"], "Leakage between the sides")
        if data["split"]["leakage"]
        else [],
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
        "bonds": [
            [label, number(data["backbone"][key]), percent(data["backbone"][key], data["backbone"]["peptide_bonds"], 2)]
            for key, label in (
                ("cis_before_proline", "cis, before proline"),
                ("cis_before_others", "cis, before another residue"),
                ("twisted", "neither: more than 30° from both cis and trans"),
            )
        ],
        **_floor_tables(data["floors"]),
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


def _floor_tables(floors: dict[str, Any]) -> dict[str, Rows]:
    def figures(name: str, f: dict[str, Any]) -> list[str]:
        return [
            name, number(f["residues"]), number(f["atoms"]), number(f["clash_atoms_pct"], 2),
            number(f["ligand_clash_atoms_pct"], 3), number(f["fk_rmsd"], 3), number(f["fk_sidechain_rmsd"], 3),
        ]  # fmt: skip

    labels = {
        "clash_atoms_pct": "Clashing atoms (%)",
        "ligand_clash_atoms": "Atoms clashing with the ligand",
        "fk_sidechain_rmsd": "Side-chain RMSD after rebuilding (Å)",
    }
    rows = [figures("all", floors)] if floors["complexes"] else []
    return {
        "floors": [*rows, *(figures(name, f) for name, f in floors["by_type"].items())],
        "worst": [
            [labels[key], ", ".join(f"{p['id']} ({number(p['value'])})" for p in pairs) or DASH]
            for key, pairs in floors["worst"].items()
        ],
        "distorted": [[p["id"], p["residue"], number(p["value"], 2)] for p in floors["distorted_residues"]],
    }


def _list(pairs: list[dict[str, Any]]) -> str:
    """Ids with their values; a dash where all are 0, as the smallest counts of a fault mostly are."""
    return ", ".join(f"{p['id']} ({number(p['value'])})" for p in pairs) if any(p["value"] for p in pairs) else DASH
