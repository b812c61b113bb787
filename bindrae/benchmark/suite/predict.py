"""Part `predict`: our model and the packers of others on the same files, speed and accuracy in one table."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from bindrae.benchmark.peers.benchmark import BenchmarkOptions, find_entries, make_peers, run_benchmark
from bindrae.benchmark.peers.compare import CRYSTAL
from bindrae.benchmark.peers.given import Given, write_given
from bindrae.benchmark.peers.peer import Cost, Peer
from bindrae.benchmark.peers.run import run_peer
from bindrae.benchmark.peers.table import ROWS, cell, figures_of, named
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Table
from bindrae.errors import BindraeError
from bindrae.progress import track

ACCURACIES = {
    "chi1": ("overall", "chi1_acc20", "chi1 within 20 degrees, points"),
    "pocket_chi1": ("pocket", "chi1_acc20", "chi1 within 20 degrees in the pocket, points"),
    "all_chi": ("overall", "all_chi_acc20", "all chis within 20 degrees, points"),
    "pocket_all_chi": ("pocket", "all_chi_acc20", "all chis within 20 degrees in the pocket, points"),
    "sidechain_rmsd": ("overall", "sidechain_rmsd", "side-chain RMSD, A"),
}
"""Differences that become ratios: part, figure and words of each."""
_UNREFINED = "bindrae-unrefined"
_QUICK_COMPLEXES = 2
_TITLES = {"faspr": "FASPR", "promod3": "ProMod3", "ligandmpnn": "LigandMPNN"}
Cells = list[str | float | int | None]


class KeptUp:
    """A packer that stays up from its first `prepare` to `end`, whatever asks for it between."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self.name, self.given = peer, peer.name, peer.given
        self._version = ""
        self._refusal: BindraeError | None = None

    def prepare(self, folder: Path, threads: int) -> str:
        """As the packer does, once; what it refused it refuses again."""
        if self._refusal is not None:
            raise self._refusal
        try:
            self._version = self._version or self._peer.prepare(folder, threads)
        except BindraeError as error:
            self._refusal = error
            raise
        return self._version

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """As the packer does."""
        return self._peer.pack(given, output, limit)

    def close(self) -> None:
        """Nothing yet."""

    def end(self) -> None:
        """End what still runs."""
        self._peer.close()


def pack_in_turn(peers: list[KeptUp], root: Path | None, output: Path, options: BenchmarkOptions) -> None:
    """Have all packers pack the first complex, then all of them the next, so that the machine's drift hits all alike.

    Results are kept as `run_benchmark` keeps them, which then only scores them. A packer that cannot be had, and a
    complex that cannot be given, are left to it to name.
    """
    entries, _ = find_entries(root, output, options)
    conditions = options.conditions(output)
    able = list(peers)
    for entry in track(iter(entries), len(entries), "pack"):
        try:
            given = write_given(entry, conditions.given(entry.id), options.noise)
        except BindraeError:
            continue
        for peer in list(able):
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # a bar for each complex would tell nothing
                    run_peer(peer, [given], conditions)
            except BindraeError:
                able.remove(peer)


def run(options: Options, peers: list[Peer] | None = None) -> Part:
    """Run the packers in turn and score them.

    Parameters
    ----------
    options : Options
    peers : list of Peer, optional
        Instead of those that the options name.

    Raises
    ------
    BindraeError
        When the complexes cannot be read, or no program can be run.
    """
    wanted = BenchmarkOptions(
        layout="demo" if options.root is None else options.layout,
        peers=tuple(name.strip() for name in options.peers.split(",") if name.strip()),
        limit=_QUICK_COMPLEXES if options.quick else None,
        data=None if options.root is None else options.data,
    )
    output = options.output / "peers"
    kept = [KeptUp(peer) for peer in (make_peers(wanted.peers, None) if peers is None else peers)]
    try:
        pack_in_turn(kept, options.root, output, wanted)
        record = run_benchmark(options.root, output, wanted, list(kept))
    finally:
        for peer in kept:
            peer.end()
    return part_of(record, wanted.threads)


def part_of(record: dict[str, Any], threads: int = 1) -> Part:
    """The record of a comparison (``peers.json``) as a part."""
    columns, own, drawn = record["columns"], record["reference"], record["bootstrap"]
    counts = next(iter(columns.values()))["counts"]
    part = Part(
        name="predict",
        about=f"Side chains of {counts['complexes']} complexes ({record['dataset']}; {counts['residues']:,} residues, "
        f"{counts['chi1']:,} with a chi1, {counts['pocket_chi1']:,} of them in pockets) by our model and by packers of "
        "others, each with its defaults, all given the same stripped files; docs/peers.md says what each is given and "
        "how it is scored. Speed and accuracy are of the same outputs.",
        settings={
            "dataset": record["dataset"],
            "threads": threads,
            "bootstrap": drawn["samples"],
            "programs": {name: column["version"] for name, column in columns.items()},
        },
        remarks=[
            f"In brackets 95 % bootstrap intervals over {drawn['n']} {drawn['over']}. A residue without a prediction "
            "is a miss.",
            "Throughput is compared by processor seconds a complex, which other work on the machine hardly lengthens; "
            "starting a program is not in them, but for FASPR, which is started for each complex.",
            "Programs take turns complex by complex. A result that an earlier run of the same version left in "
            "results/bench/peers is kept, with its time.",
        ],
    )
    part.tables = [
        Table(
            "Accuracy and time on the same files",
            ["", *columns, CRYSTAL],
            [[row[2], *(cell(figures_of(record, name), row) for name in (*columns, CRYSTAL))] for row in ROWS],
        )
    ]
    others = record["differences"]
    if others:
        part.tables.append(
            Table(
                f"{own} minus the others, paired",
                ["", *others],
                [[row[2], *(cell(others[name], row, "+") for name in others)] for row in ROWS],
                "A star marks differences whose interval excludes 0.",
            )
        )
    facts: list[Cells] = [
        [name, column["version"], column["given"], len(column["counts"]["failed"])] for name, column in columns.items()
    ]
    part.tables.append(Table("Programs", ["program", "version", "what it reads", "failed"], facts))
    _add_ratios(part, record)
    part.remarks += [f"{name} was not run: {' '.join(why.split())}" for name, why in record["absent"].items()]
    missing = {f"{name} failed on": column["counts"]["failed"] for name, column in columns.items()}
    missing["Left out for all programs:"] = record["left_out"]
    part.remarks += [f"{words} {named(entries)}" for words, entries in missing.items() if entries]
    return part


def _add_ratios(part: Part, record: dict[str, Any]) -> None:
    """Throughput and accuracy against each other program, by name."""
    columns, own = record["columns"], record["reference"]
    for name, differences in record["differences"].items():
        if name == _UNREFINED:
            continue
        title = _TITLES.get(name, name)
        ours, theirs = (columns[x]["figures"]["complex"]["cpu_seconds"]["value"] for x in (own, name))
        part.ratios[f"throughput_vs_{name}"] = theirs / ours if ours and theirs else None
        part.words[f"throughput_vs_{name}"] = f"complexes a second of the processor, ours over those of {title}"
        for key, (where, figure, words) in ACCURACIES.items():
            part.ratios[f"{key}_vs_{name}"] = differences[where][figure]
            part.words[f"{key}_vs_{name}"] = f"ours minus {title}: {words}"
