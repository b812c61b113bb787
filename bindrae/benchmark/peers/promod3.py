"""ProMod3's `ReconstructSidechains` from the system's packages, with the ligand as a fixed obstacle.

Studer et al., PLoS Comput. Biol. 17, e1008667 (2021).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost, Launch, PackFailure, Worker, worker_command
from bindrae.errors import BindraeError

_START_SECONDS = 120.0
_DEBIAN = {"OST_ROOT": "/usr", "PROMOD3_SHARED_DATA_PATH": "/usr/share/promod3"}
_HINT = "on Debian and Ubuntu: apt-get install promod3 openstructure; elsewhere have its `pm` on the PATH"


class ProMod3:
    """A worker under the Python that has ProMod3: its `pm`, or that of a Debian system."""

    name = "promod3"
    given = "protein; ligand and other molecules as obstacles"

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def prepare(self, folder: Path, threads: int) -> str:
        """See `Peer`; installs nothing."""
        launcher = shutil.which("pm")
        if launcher is not None:
            python, variables = [launcher], {}
        elif Path(_DEBIAN["PROMOD3_SHARED_DATA_PATH"]).is_dir():
            # Not Debian's own wrapper, which takes the first python3 of the PATH.
            python, variables = ["/usr/bin/python3"], _DEBIAN
        else:
            raise BindraeError("ProMod3 is not installed", _HINT)
        command = worker_command(python, "promod3_packer", threads)
        self._worker = Worker(Launch(command, threads, folder.with_suffix(".log"), variables))
        try:
            return self._worker.start(_START_SECONDS)
        except PackFailure as failure:
            raise BindraeError(f"ProMod3 cannot be run: {failure.message}", _HINT) from None

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """See `Peer`."""
        assert self._worker is not None
        return self._worker.ask({"input": str(given.path), "output": str(output)}, _START_SECONDS, limit)

    def close(self) -> None:
        """See `Peer`."""
        if self._worker is not None:
            self._worker.close()
