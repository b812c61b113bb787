"""One crystal's backbone with another's ligand: ``python -m bindrae.evaluation.cross_pairs PAIRS.csv ROOT MODEL``.

Pairs of crystals of the same protein with different ligands. The prediction for the backbone of one and the ligand of
the other is scored against the side chains of the other, apart for the residues that moved between the two and for
those that did not. Definitions: docs/off_crystal.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bindrae.data.layout import DataLayout
from bindrae.data.storage import write_json
from bindrae.errors import BindraeError, exit_on_error
from bindrae.evaluation.cross_scores import COMPARISONS, LABELS, PARTS, Bench, cross_figures
from bindrae.evaluation.pair_list import group_pairs, pairs_on_side, read_pair_list, thin
from bindrae.evaluation.pairs import find_truths
from bindrae.evaluation.predictors import refined_predictor
from bindrae.prediction.predict import Predictor

_CLOSE_ANGSTROM = 2.2


def markdown(figures: dict[str, Any], counts: dict[str, int]) -> str:
    """The tables that the command prints."""

    def cell(figure: dict[str, float | None]) -> str:
        if figure["value"] is None:
            return "-"
        interval = "" if figure["low"] is None else f" ({figure['low']:.1f} to {figure['high']:.1f})"
        return f"{figure['value']:.1f}{interval}"

    heads = [f"{label}, chi1 within 20 degrees, %" for label in PARTS.values()]
    lines = [
        "| | " + " | ".join([*heads, "moved, within 40 degrees, %", "moved, nearer to the right crystal, %"]) + " |",
        "|" + "---|" * (len(heads) + 3),
        "| residues | " + " | ".join(str(counts[f"n_{part}"]) for part in PARTS) + " | | |",
    ]
    for name, label in LABELS.items():
        cells = [cell(figures[part][f"{name}_acc20"]) for part in PARTS]
        cells += [cell(figures["moved"][f"{name}_{what}"]) for what in ("acc40", "nearer")]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "| difference, points | " + " | ".join(PARTS.values()) + " |", "|" + "---|" * (len(PARTS) + 1)]
    for name, (one, other) in COMPARISONS.items():
        cells = [cell(figures["differences"][part][name]) for part in PARTS]
        lines.append(f"| {LABELS[one]} less {LABELS[other]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m bindrae.evaluation.cross_pairs", description=__doc__)
    parser.add_argument("pairs", type=Path, help="table of pairs, columns id1 and id2")
    parser.add_argument("root", type=Path, help="folder of complexes: <id>_protein.pdb with <id>_ligand.sdf")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side-of", type=Path, metavar="DATA", help="only pairs on a side of this dataset's split")
    parser.add_argument("--side", default="val", help="the side, or several separated by commas")
    parser.add_argument("--per-cluster", type=int, help="pairs of one sequence cluster at most, evenly chosen")
    parser.add_argument("--limit", type=int, help="pairs at most, evenly chosen")
    parser.add_argument("--no-geometry", action="store_true", help="read no bonds and angles of the backbones")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--bootstrap", type=int, default=1000, help="samples of the bootstrap over clusters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args(arguments)
    start = time.monotonic()
    torch.set_num_threads(given.threads)
    named = read_pair_list(given.pairs)
    sides = given.side.split(",") if given.side_of else []
    listed = pairs_on_side(named, DataLayout(given.side_of), sides) if given.side_of else group_pairs(named)
    chosen = thin(listed, given.per_cluster, given.limit)
    predictor = Predictor.load(given.model)
    bench = Bench(
        find_truths(given.root),
        refined_predictor(
            predictor.model, predictor.calibrations.refined, predictor.networks, geometry=not given.no_geometry
        ),
    )
    residues = bench.score(chosen)
    dropped = Counter(entry["code"] for entry in bench.dropped)
    if residues.empty:
        raise BindraeError(
            f"none of {len(chosen)} pairs can be scored: " + ", ".join(f"{n} {code}" for code, n in dropped.items()),
            f"{bench.dropped[0]['message']}" if bench.dropped else "the pockets hold no residue with a chi1",
        )
    figures = cross_figures(residues, given.bootstrap, given.seed)
    counts = {
        "n_named": len(named),
        "n_listed": len(listed),
        "n_chosen": len(chosen),
        "n_used": len(chosen) - len(bench.dropped),
        "n_directions": len(bench.directions),
        "n_complexes": len(set(residues["ligand"]) | set(residues["backbone"])),
        "n_clusters": int(residues["cluster"].nunique()),
        "n_moved": int(residues["moved"].sum()),
        "n_unmoved": int((~residues["moved"]).sum()),
        "n_pocket": len(residues),
        "n_ligand_on_backbone": sum(d["ligand_distance"] < _CLOSE_ANGSTROM for d in bench.directions),
    }
    where = f"on side {', '.join(sides)}" if sides else "of any side, trained on or not"
    print(
        f"{counts['n_named']} pairs named, {counts['n_listed']} {where}, {counts['n_chosen']} chosen, "
        f"{counts['n_used']} used both ways ({counts['n_complexes']} complexes, {counts['n_clusters']} clusters), "
        f"{len(bench.dropped)} dropped" + "".join(f"; {n} {code}" for code, n in dropped.items())
    )
    print(
        f"in {counts['n_ligand_on_backbone']} of {counts['n_directions']} predictions the moved ligand comes within "
        f"{_CLOSE_ANGSTROM} A of the backbone\n"
    )
    print(markdown(figures, counts))
    if given.output is not None:
        about = {
            "sides": sides, "per_cluster": given.per_cluster, "limit": given.limit, "geometry": not given.no_geometry,
            "seed": given.seed,
        }  # fmt: skip
        record = {
            **about, "bootstrap": given.bootstrap, "model_sha256": predictor.sha256, **counts, "figures": figures,
            "dropped": bench.dropped, "pairs": [asdict(pair) for pair in chosen], "directions": bench.directions,
            "seconds": round(time.monotonic() - start, 3),
        }  # fmt: skip
        write_json(record, given.output)


if __name__ == "__main__":
    with exit_on_error():
        main()
