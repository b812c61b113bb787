"""Backbones that are not quite right: ``python -m bindrae.evaluation.noise DATA MODEL --noise 0.25,0.5``.

Each residue of held-out complexes is moved a little as a rigid body. Is the backbone that the network gives closer to
the crystal than the one it was given, and how many chi1 are still right? Definitions: docs/off_crystal.md.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bindrae.data.dataset import ShardDataset, even_part
from bindrae.data.layout import DataLayout
from bindrae.data.storage import sha256_file, write_json
from bindrae.errors import BindraeError, exit_on_error
from bindrae.evaluation.aggregate import Figures, Ratio, bootstrap_weights, summarise
from bindrae.evaluation.noise_trial import (
    ROTATION_DEG_PER_ANGSTROM,
    Network,
    answer,
    disturb,
    noise_generator,
    score_trial,
)
from bindrae.model.model_file import load_model
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.rotamers import run_model
from bindrae.progress import track

_STATES = ("input", "output", "input_fitted", "output_fitted")
SHARES = [
    Ratio("closer", "closer", "one"),
    Ratio("chi1_input", "chi1_input", "chi1_n"),
    Ratio("chi1_predicted", "chi1_predicted", "chi1_n"),
]


def measure(
    network: Network,
    dataset: ShardDataset,
    levels: list[float],
    seed: int,
    networks: RefinementNetworks | None = None,
) -> dict[float, pd.DataFrame]:
    """Disturb the backbones of complexes and score what the network makes of them.

    Parameters
    ----------
    network : callable
        As ``partial(run_model, model)``.
    dataset : ShardDataset
    levels : list of float
        Noise (A), see `disturb`. All levels move a complex in the same directions.
    seed : int
    networks : RefinementNetworks, optional
        Of the refinement.

    Returns
    -------
    dict of float to pandas.DataFrame
        The rows of `score_trial` for each level, with ``id`` and ``cluster``.
    """
    tables: dict[float, list[pd.DataFrame]] = {level: [] for level in levels}
    for index in track(range(len(dataset)), len(dataset), "noise"):
        identifier, sample = dataset[index]
        names = {"id": identifier, "cluster": str(dataset.facts[identifier]["cluster"])}
        for level in levels:
            given = disturb(sample, level, noise_generator(seed, identifier))
            found = answer(network, identifier, given, networks)
            tables[level].append(score_trial(sample, given, found).assign(**names))
    return {level: pd.concat(parts, ignore_index=True) for level, parts in tables.items()}


def noise_figures(residues: pd.DataFrame, weights: np.ndarray | None) -> Figures:
    """Backbone RMSD (A), the share of residues that came closer (%) and chi1 (%), with intervals over clusters.

    Parameters
    ----------
    residues : pandas.DataFrame
        From `measure`, one level.
    weights : numpy.ndarray or None
        From `bootstrap_weights`, for the sorted clusters of the table; None gives no interval.

    Returns
    -------
    dict
        Name to ``value``, ``low``, ``high``. ``rmsd_<state>`` for the states of `score_trial`; ``change`` and
        ``change_fitted``, output less input; `SHARES`, where ``closer`` is None if the input is the crystal itself.
    """
    found: Figures = {}
    mean_squares = summarise(residues, [Ratio(state, state, "atoms", 1.0) for state in _STATES], weights)
    for state, square in mean_squares.items():
        found[f"rmsd_{state}"] = {key: None if x is None else float(np.sqrt(x)) for key, x in square.items()}
    for end in ("", "_fitted"):
        found[f"change{end}"] = _change(residues, f"output{end}", f"input{end}", weights)
    found |= summarise(residues, SHARES, weights)
    if not residues["input"].any():
        found["closer"] = {"value": None, "low": None, "high": None}
    return found


def _change(residues: pd.DataFrame, after: str, before: str, weights: np.ndarray | None) -> dict[str, float | None]:
    """Difference of two RMSDs (A), both drawn with the same clusters."""
    sums = residues.groupby("cluster", sort=True, observed=False)[[after, before, "atoms"]].sum().to_numpy(float)

    def difference(total: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(total[..., 0] / total[..., 2]) - np.sqrt(total[..., 1] / total[..., 2]))

    low = high = None
    if weights is not None and np.count_nonzero(sums[:, 2]) > 1:
        drawn = weights @ sums
        low, high = (float(x) for x in np.percentile(difference(drawn[drawn[:, 2] > 0]), [2.5, 97.5]))
    return {"value": float(difference(sums.sum(0))), "low": low, "high": high}


def results(tables: dict[float, pd.DataFrame], samples: int, seed: int) -> list[dict[str, Any]]:
    """An entry for each level: ``noise_angstrom``, ``rotation_deg``, figures ``overall`` and of the ``pocket``."""
    entries = []
    for level, residues in tables.items():
        categories = sorted(residues["cluster"].unique())
        table = residues.assign(cluster=pd.Categorical(residues["cluster"], categories))
        weights = bootstrap_weights(len(categories), samples, seed)
        entries.append(
            {
                "noise_angstrom": level,
                "rotation_deg": ROTATION_DEG_PER_ANGSTROM * level,
                "overall": noise_figures(table, weights),
                "pocket": noise_figures(table[table["contact"]], weights),
            }
        )
    return entries


def markdown(entries: list[dict[str, Any]]) -> str:
    """The tables that the command prints."""
    lines: list[str] = []
    for part, title in (("overall", "all residues"), ("pocket", "pocket")):
        lines += [
            f"{title}:",
            "",
            "| noise, A | turn, deg | RMSD of input, A | of output | change | superposed: input | output | change | "
            "closer, % | chi1 on input backbone, % | chi1 on predicted backbone, % |",
            "|" + "---|" * 11,
        ]
        for entry in entries:
            f = entry[part]
            cells = [f"{entry['noise_angstrom']:g}", f"0-{entry['rotation_deg']:g}"]
            cells += [_cell(f[name], 3) for name in ("rmsd_input", "rmsd_output", "change")]
            cells += [_cell(f[name], 3) for name in ("rmsd_input_fitted", "rmsd_output_fitted", "change_fitted")]
            cells += [_cell(f[name], 1) for name in ("closer", "chi1_input", "chi1_predicted")]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(figure: dict[str, float | None], digits: int) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})")


def parse_levels(given: str) -> list[float]:
    """Levels of noise (A) in ascending order, always with 0.

    Raises
    ------
    BindraeError
        When one is no number of 0 or more.
    """
    try:
        levels = {float(word) for word in given.split(",")}
    except ValueError:
        levels = {-1.0}
    if not all(0.0 <= level < np.inf for level in levels):
        raise BindraeError(f"--noise: {given!r} is no list of lengths", "write angstrom, separated by commas: 0.25,0.5")
    return sorted(levels | {0.0})


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m bindrae.evaluation.noise", description=__doc__)
    parser.add_argument("data", type=Path, help="data folder of the dataset: results/<dataset>/data")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side", default="val", help="side of the split; never one that was trained on")
    parser.add_argument("--noise", default="0.25,0.5", help="A a component, separated by commas; 0 is always measured")
    parser.add_argument("--limit", type=int, help="complexes at most, evenly over the side; all by default")
    parser.add_argument("--no-geometry", action="store_true", help="read no bonds and angles of the backbones")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the bootstrap")
    parser.add_argument("--bootstrap", type=int, default=1000, help="samples of the bootstrap over clusters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args(arguments)
    start = time.monotonic()
    torch.set_num_threads(given.threads)
    model = load_model(given.model)
    dataset = even_part(ShardDataset(DataLayout(given.data), given.side), given.limit)
    tables = measure(
        partial(run_model, model, geometry=not given.no_geometry),
        dataset,
        parse_levels(given.noise),
        given.seed,
        read_networks(given.model),
    )
    entries = results(tables, given.bootstrap, given.seed)
    first = next(iter(tables.values()))
    counts = {
        "n_complexes": len(dataset),
        "n_residues": len(first),
        "n_pocket": int(first["contact"].sum()),
        "n_clusters": int(first["cluster"].nunique()),
    }
    print(", ".join(f"{count} {name[2:]}" for name, count in counts.items()) + f" (side {given.side})\n")
    print(markdown(entries))
    if given.output is not None:
        about = {"side": given.side, "geometry": not given.no_geometry, "seed": given.seed}
        about |= {"bootstrap": given.bootstrap, **counts}
        facts = {"model_sha256": sha256_file(given.model), "ids": dataset.ids}
        seconds = round(time.monotonic() - start, 3)
        write_json({**about, **facts, "levels": entries, "seconds": seconds}, given.output)


if __name__ == "__main__":
    with exit_on_error():
        main()
