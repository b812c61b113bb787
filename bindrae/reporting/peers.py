"""Figures of other packers that a report sets beside its own: those that ship for CASF-2016, and those of the run.

`bindrae score --json` writes the figures of any program's structures. Files of it in ``<run>/peers/NAME.json`` are
shown under that name. What ships, in ``peers.json`` of this package, is made of the same files:

    bindrae score --dir results/bench/peers/faspr CASF-2016 --clusters results/casf2016/data/split.parquet --json f.json
    python -m bindrae.reporting.peers CASF-2016 FASPR=f.json ProMod3=p.json
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindrae.data.layout import RunLayout
from bindrae.data.storage import read_json, write_json
from bindrae.errors import BindraeError, exit_on_error

SHIPPED_PEERS = Path(__file__).with_name("peers.json")
SHOWN = {"overall": ("chi1_acc20", "all_chi_acc20", "clash_atoms_pct", "fape"),
         "pocket": ("chi1_acc20", "all_chi_acc20", "irmsd")}  # fmt: skip
_DIGITS = 4


@dataclass(frozen=True)
class Peer:
    """Another program's figures.

    Attributes
    ----------
    name, dataset : str
    n_complexes, n_residues : int
        What was scored.
    rows : dict
        Scope to metric to ``value``, ``low``, ``high``, as in ``rows`` of evaluation.json.
    """

    name: str
    dataset: str
    n_complexes: int
    n_residues: int
    rows: dict[str, dict[str, dict[str, float | None]]]

    def same_as(self, evaluation: dict[str, Any]) -> bool:
        """Whether the counts say that it was scored on the complexes of an evaluation."""
        return (self.n_complexes, self.n_residues) == (evaluation["n_complexes"], evaluation["n_residues"])


def read_peers(run: RunLayout, evaluation: dict[str, Any]) -> list[Peer]:
    """The peers of a run's own folder, by name; without any, those that ship.

    Parameters
    ----------
    run : RunLayout
    evaluation : dict
        The content of evaluation.json; the run's own peers must have been scored on the same complexes.

    Raises
    ------
    BindraeError
        When a file of the run's folder is no record of `bindrae score`, or is of other complexes.
    """
    own = [peer_of_score(path.stem, "this dataset", path) for path in sorted(run.peers.glob("*.json"))]
    for peer in own:
        if not peer.same_as(evaluation):
            raise BindraeError(
                f"{run.peers}/{peer.name}.json scores {peer.n_complexes} complexes with {peer.n_residues} residues, "
                f"the evaluation {evaluation['n_complexes']} with {evaluation['n_residues']}",
                "score the structures of the evaluated complexes (bindrae score --ids), or remove the file",
            )
    return own or [Peer(**entry) for entry in read_json(SHIPPED_PEERS)]


def peer_of_score(name: str, dataset: str, path: Path) -> Peer:
    """A peer from what `bindrae score --json` wrote.

    Raises
    ------
    BindraeError
        When the file lacks a part.
    """
    record = read_json(path)
    try:
        counts, rows = record["counts"], {}
        for scope, keys in SHOWN.items():
            values, intervals = (
                (record, record["intervals"])
                if scope == "overall"
                else (record[scope] or {}, (record["intervals"] or {}).get(scope) or {})
            )
            rows[scope] = {key: _entry(values.get(key), (intervals or {}).get(key)) for key in keys}
        return Peer(name, dataset, int(counts["complexes"]), int(counts["residues"]), rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise BindraeError(
            f"{path} is no record of scored structures: {error!r}", "write it with `bindrae score --json`"
        ) from None


def _entry(value: float | None, interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {
        key: None if v is None else round(v, _DIGITS) for key, v in (("value", value), ("low", low), ("high", high))
    }


def main(arguments: list[str]) -> None:
    """Write ``peers.json`` of this package: the dataset's name, then NAME=FILE for each program."""
    dataset, *pairs = arguments
    peers = [peer_of_score(name, dataset, Path(file)) for name, file in (pair.split("=", 1) for pair in pairs)]
    write_json([vars(peer) for peer in peers], SHIPPED_PEERS)


if __name__ == "__main__":
    with exit_on_error():
        main(sys.argv[1:])
