"""A program that packs side chains, as the comparison sees it, and how those of other environments are run."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from bindrae.benchmark.peers.given import Given
from bindrae.errors import BindraeError

_TAIL = 300  # characters of a log that a message quotes
_SERVE = Path(__file__).parent / "workers" / "serve.py"


class PackFailure(BindraeError):
    """A program did not pack one complex: all its residues count as misses."""


@dataclass(frozen=True)
class Cost:
    """What packing one complex took."""

    seconds: float  # by the clock
    cpu_seconds: float  # of the processor, which other work on the machine does not lengthen


class Peer(Protocol):
    """A program that packs side chains."""

    name: str
    """Of its folder and its column."""
    given: str
    """What it reads of the complex, for the table."""

    def prepare(self, folder: Path, threads: int) -> str:
        """Make the environment in `folder`, or find it there, and tell the version.

        Raises
        ------
        BindraeError
            When the program cannot be installed or run here.
        """
        ...

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """Pack one complex, and write a PDB file under the labels of the given one.

        Raises
        ------
        PackFailure
            When there is no result, or none within `limit` seconds.
        """
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


@dataclass
class Launch:
    """How a program of another environment is started."""

    command: list[str]
    threads: int
    log: Path  # of everything that it prints
    variables: dict[str, str]  # of its environment, beside ours

    def environment(self) -> dict[str, str]:
        """Variables of the process: ours without what belongs to our Python, and the number of threads."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        count = str(self.threads)
        return (
            kept | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count} | self.variables
        )


class Worker:
    """A program that stays up, so that starting it is not counted: one job a line, one answer a line, both JSON.

    Parameters
    ----------
    launch : Launch
        Its command answers ``{"ready": VERSION}`` first, and every job ``{"input": PATH, "output": PATH}`` by
        ``{"seconds": S, "cpu_seconds": S}`` or ``{"error": MESSAGE}``: see `worker_command`.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._left = b""

    def start(self, limit: float) -> str:
        """Start the program and return its version.

        Raises
        ------
        PackFailure
            When it ends or is not ready within `limit` seconds.
        """
        self.launch.log.parent.mkdir(parents=True, exist_ok=True)
        with self.launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.launch.environment(),
            )
        self._left = b""
        return str(self._answer(limit)["ready"])

    def ask(self, job: dict[str, Any], start_limit: float, limit: float) -> Cost:
        """Give it one job, and return what it took; a program that has ended is started again, uncounted.

        Raises
        ------
        PackFailure
            When the job fails, the program ends, or the time is up.
        """
        if self._process is None or self._process.poll() is not None:
            self.start(start_limit)
        stdin: IO[bytes] | None = self._process.stdin if self._process is not None else None
        assert stdin is not None
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            self.close()
            raise PackFailure(f"the program has ended; {self._tail()}") from None
        answer = self._answer(limit)
        if "error" in answer:
            raise PackFailure(str(answer["error"]))
        return Cost(float(answer["seconds"]), float(answer["cpu_seconds"]))

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None

    def _answer(self, limit: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._left:
                if not selector.select(max(until - time.monotonic(), 0.0)):
                    self.close()
                    raise PackFailure(f"no answer within {limit:.0f} s")
                part = os.read(self._process.stdout.fileno(), 65536)
                if not part:
                    code = self._process.wait()
                    self.close()
                    raise PackFailure(f"the program ended with code {code}; {self._tail()}")
                self._left += part
        line, _, self._left = self._left.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _tail(self) -> str:
        return f"its log ends: {tail_of(self.launch.log)}"


def worker_command(python: list[str], module: str, threads: int) -> list[str]:
    """Command of a `Worker`: a module of ``workers`` under another Python."""
    return [*python, str(_SERVE), module, str(threads)]


def tail_of(log: Path) -> str:
    """The end of a log on one line."""
    return " ".join(log.read_text(errors="replace").split())[-_TAIL:] if log.is_file() else ""


def run_once(launch: Launch, limit: float) -> Cost:
    """Run a program to its end, and return what it took, its start included.

    Raises
    ------
    PackFailure
        When it fails or takes longer than `limit` seconds.
    """
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    start, cpu_start = time.monotonic(), _cpu_of_ended()
    with launch.log.open("ab") as log:
        try:
            done = subprocess.run(
                launch.command, stdout=log, stderr=log, env=launch.environment(), timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            raise PackFailure(f"no result within {limit:.0f} s") from None
        except OSError as error:
            raise PackFailure(f"{launch.command[0]} cannot be run: {error}") from None
    if done.returncode:
        raise PackFailure(f"ended with code {done.returncode}; its log ends: {tail_of(launch.log)}")
    return Cost(time.monotonic() - start, _cpu_of_ended() - cpu_start)


def _cpu_of_ended() -> float:
    """Processor time (s) of all programs that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system
