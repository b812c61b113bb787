"""The whole comparison: complexes, what is given of them, packers, scores, table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindrae.benchmark.peers.compare import CRYSTAL, counts_of, difference_of, figures_of, score_columns
from bindrae.benchmark.peers.faspr import Faspr
from bindrae.benchmark.peers.given import Entry, write_given
from bindrae.benchmark.peers.ligandmpnn import LigandMPNN
from bindrae.benchmark.peers.own import Own
from bindrae.benchmark.peers.peer import Peer
from bindrae.benchmark.peers.promod3 import ProMod3
from bindrae.benchmark.peers.run import Conditions, run_peers
from bindrae.benchmark.peers.table import hardware, markdown
from bindrae.config import IndexSettings, load_settings
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_table, rejected_path, write_json, write_text
from bindrae.errors import BindraeError
from bindrae.evaluation.aggregate import bootstrap_weights
from bindrae.evaluation.pairs import read_clusters, read_id_list
from bindrae.progress import track

PEERS = ("bindrae", "faspr", "promod3", "ligandmpnn")
"""What can be asked for; bindrae makes two columns, refined and unrefined."""
_REFERENCE = "bindrae"


@dataclass(frozen=True)
class BenchmarkOptions:
    """What a user may ask for."""

    layout: str = "casf2016"
    peers: tuple[str, ...] = PEERS
    only: str | None = None  # ids, separated by commas, or a file of them
    limit: int | None = None
    model: Path | None = None
    data: Path | None = None  # folder whose split.parquet gives the clusters
    threads: int = 1
    max_seconds: float = 1800.0
    retry: bool = False
    bootstrap: int = 1000
    seed: int = 0
    noise: float = 0.0  # angstrom, on the backbones that all programs are given

    def conditions(self, output: Path) -> Conditions:
        """How packers are run; with noise all but their environments stands in a folder of its own within `output`."""
        results = output / f"noise-{self.noise:g}" if self.noise else output
        return Conditions(results, output / "environments", self.threads, self.max_seconds, self.retry)


def make_peers(names: tuple[str, ...], model: Path | None) -> list[Peer]:
    """The packers of these names, in their order.

    Raises
    ------
    BindraeError
        When a name is not known.
    """
    made: dict[str, list[Peer]] = {
        "bindrae": [Own(model, refine=True), Own(model, refine=False)],
        "faspr": [Faspr()],
        "promod3": [ProMod3()],
        "ligandmpnn": [LigandMPNN()],
    }
    unknown = [name for name in names if name not in made]
    if unknown or not names:
        raise BindraeError(
            f"--peers: {', '.join(unknown) or 'nothing'} is no program that can be compared",
            f"choose of {', '.join(made)}",
        )
    return [peer for name in dict.fromkeys(names) for peer in made[name]]


def run_benchmark(
    root: Path | None, output: Path, options: BenchmarkOptions, peers: list[Peer] | None = None
) -> dict[str, Any]:
    """Run the packers, score them, print the table and write ``peers.json`` and ``peers.md``.

    Parameters
    ----------
    root : Path or None
        The dataset as `bindrae index` takes it.
    output : Path
        Folder for results, for what the packers are given, and for their environments; see
        `BenchmarkOptions.conditions`.
    options : BenchmarkOptions
    peers : list of Peer, optional
        Instead of those that the options name.

    Returns
    -------
    dict
        What ``peers.json`` holds.

    Raises
    ------
    BindraeError
        When the dataset cannot be read, or no program can be run.
    """
    peers = make_peers(options.peers, options.model) if peers is None else peers
    conditions = options.conditions(output)
    entries, left_out = find_entries(root, output, options)
    clusters = {entry.id: entry.id for entry in entries}
    if options.data is not None:
        clusters = read_clusters(DataLayout(options.data).split, list(clusters))
    complexes, used = [], []
    for entry in track(iter(entries), len(entries), "strip"):
        try:
            complexes.append(write_given(entry, conditions.given(entry.id), options.noise))
            used.append(entry)
        except BindraeError as error:
            left_out.append({"id": entry.id, "message": error.message})
    if not complexes:
        raise BindraeError(
            f"no complex can be compared; {left_out[0]['id']}: {left_out[0]['message']}", "mend the files"
        )
    columns, absent = run_peers(peers, complexes, conditions)
    if not columns:
        raise BindraeError("none of the programs can be run: see above", "install one, or name a model with --model")
    scored = score_columns(used, columns, clusters, options.threads)
    tables = scored.tables
    n_clusters = len(tables[CRYSTAL][1]["cluster"].cat.categories)
    weights = bootstrap_weights(n_clusters, options.bootstrap, options.seed)
    own = tables.get(_REFERENCE)
    record: dict[str, Any] = {
        "dataset": root.name if root is not None else options.layout,
        "noise": options.noise,
        "hardware": hardware(options.threads),
        "bootstrap": {
            "samples": options.bootstrap,
            "seed": options.seed,
            "over": "complexes" if options.data is None else "sequence clusters",
            "n": n_clusters,
        },
        "columns": {
            c.name: {
                "version": c.version,
                "given": c.given,
                "counts": counts_of(tables[c.name]),
                "figures": figures_of(tables[c.name], weights),
            }
            for c in columns
        },
        "crystal": figures_of(tables[CRYSTAL], None),
        "reference": _REFERENCE,
        "differences": {}
        if own is None
        else {c.name: difference_of(own, tables[c.name], weights) for c in columns if c.name != _REFERENCE},
        "absent": absent,
        "left_out": left_out + scored.rejected,
    }
    page = markdown(record)
    write_json(record, conditions.results / "peers.json")
    write_text(page, conditions.results / "peers.md")
    print(page, end="")
    return record


def find_entries(
    root: Path | None, output: Path, options: BenchmarkOptions
) -> tuple[list[Entry], list[dict[str, str]]]:
    """The complexes to compare on, in order of their ids, and those of the dataset that lack a file.

    Raises
    ------
    BindraeError
        When there is none, or an id is not there.
    """
    layout = DataLayout(output / "index")
    run_index(layout, root, load_settings(IndexSettings, json.dumps({"layout": options.layout, "n_batches": 1})))
    rows = sorted(read_table(layout.entries).to_pylist(), key=lambda row: str(row["id"]))
    rejected = read_table(rejected_path(layout.entries)).to_pylist()
    left_out = [{"id": row["id"], "message": row["message"]} for row in rejected]
    if options.only is not None:
        path = Path(options.only)
        wanted = set(read_id_list(path) if path.is_file() else options.only.replace(",", " ").split())
        missing = sorted(wanted - {row["id"] for row in rows} - {row["id"] for row in left_out})
        if missing:
            raise BindraeError(f"{root} holds no complex {', '.join(missing[:5])}", "check the ids of --only")
        rows = [row for row in rows if row["id"] in wanted]
        left_out = [row for row in left_out if row["id"] in wanted]
    rows = rows[: options.limit]
    if not rows:
        raise BindraeError("all complexes of --only lack a file", left_out[0]["message"] if left_out else "")
    return [Entry(row["id"], Path(row["protein"]), row["ligand"]) for row in rows], left_out
