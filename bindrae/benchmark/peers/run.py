"""Running the packers over the complexes, so that an interrupted run goes on where it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost, PackFailure, Peer
from bindrae.data.storage import read_json, write_json
from bindrae.errors import BindraeError
from bindrae.progress import track

_MESSAGE = 500  # characters of a failure that are kept


@dataclass(frozen=True)
class Outcome:
    """What a packer made of one complex."""

    prediction: Path | None  # None for a failure
    cost: Cost | None  # None for a failure
    message: str  # of the failure, else ""


@dataclass
class Column:
    """One packer in the table."""

    name: str
    given: str
    version: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # by id


@dataclass(frozen=True)
class Conditions:
    """Where and how packers are run."""

    results: Path  # ``<name>/<id>.pdb`` and ``.json`` are written there
    environments: Path  # folder of the programs' own environments
    threads: int  # of each packer
    limit: float  # seconds that it may take for a complex
    retry: bool = False  # complexes again that failed before

    def given(self, identifier: str) -> Path:
        """The file that all packers are given of a complex."""
        return self.results / "given" / f"{identifier}.pdb"


def run_peer(peer: Peer, complexes: list[Given], conditions: Conditions) -> Column:
    """Run a packer over all complexes, except for those that it has done before.

    A result is kept as long as the packer's version and all that it is given stay the same. Failures are kept too.

    Parameters
    ----------
    peer : Peer
    complexes : list of Given
    conditions : Conditions

    Raises
    ------
    BindraeError
        When the packer cannot be installed or run.
    """
    try:
        version = peer.prepare(conditions.environments / peer.name, conditions.threads)
        column = Column(peer.name, peer.given, version)
        for given in track(iter(complexes), len(complexes), peer.name):
            column.outcomes[given.id] = _outcome(peer, given, version, conditions)
    finally:
        peer.close()
    return column


def _outcome(peer: Peer, given: Given, version: str, conditions: Conditions) -> Outcome:
    folder = conditions.results / peer.name
    prediction, record = folder / f"{given.id}.pdb", folder / f"{given.id}.json"
    key = {"version": version, "given": given.digest}
    if record.is_file():
        kept = read_json(record)
        same = {name: kept.get(name) for name in key} == key
        if same and kept["message"] and not conditions.retry:
            return Outcome(None, None, kept["message"])
        if same and not kept["message"] and prediction.is_file():
            return Outcome(prediction, Cost(kept["seconds"], kept["cpu_seconds"]), "")
    folder.mkdir(parents=True, exist_ok=True)
    # The record goes first and comes last: where there is one, the structure beside it is of the same run.
    record.unlink(missing_ok=True)
    prediction.unlink(missing_ok=True)
    cost: Cost | None = None
    try:
        cost = peer.pack(given, prediction, conditions.limit)
        message = "" if prediction.is_file() else "no structure was written"
    except PackFailure as failure:
        message = " ".join(failure.message.split())[:_MESSAGE] or "failed without a message"
    spent = {name: round(seconds, 3) for name, seconds in asdict(cost).items()} if cost is not None else {}
    write_json({"id": given.id, **key, "message": message, **spent}, record)
    return Outcome(None, None, message) if message else Outcome(prediction, cost, "")


def run_peers(
    peers: Iterable[Peer], complexes: list[Given], conditions: Conditions
) -> tuple[list[Column], dict[str, str]]:
    """Run several packers one after the other; one that cannot be had is told and passed over.

    Returns
    -------
    columns : list of Column
    absent : dict of str to str
        Packers that cannot be installed or run, and why.
    """
    columns, absent = [], {}
    for peer in peers:
        try:
            columns.append(run_peer(peer, complexes, conditions))
        except BindraeError as error:
            absent[peer.name] = str(error)
            print(f"{peer.name} is left out: {error}", flush=True)
    return columns, absent
