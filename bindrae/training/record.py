"""The record of a training: one JSON object a line, TensorBoard events beside it when wanted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from bindrae.data.storage import atomic_path
from bindrae.errors import BindraeError


class Record:
    """Appends to ``metrics.jsonl`` among the checkpoints; the run's declared output is a copy of it.

    A resumed run cuts off what was written after its checkpoint, so every step appears once.

    Parameters
    ----------
    path : Path
        File to append to.
    size : int
        Bytes of it that belong to the checkpoint; the rest goes.
    tensorboard : Path or None
        Folder for events; None writes none.

    Raises
    ------
    BindraeError
        When TensorBoard is wanted and not installed.
    """

    def __init__(self, path: Path, size: int, tensorboard: Path | None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        # A lost record cannot be made up; one that is shorter than it should be goes on from its end.
        os.truncate(path, min(size, path.stat().st_size))
        self._events = _event_writer(tensorboard) if tensorboard else None

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    def write(self, line: dict[str, Any]) -> None:
        """Append one line; its nested numbers become TensorBoard scalars by their dotted names."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is not None:
            for name, value in _scalars(line):
                self._events.add_scalar(f"{line['event']}/{name}", value, line["step"])

    def publish(self, path: Path) -> None:
        """Copy the record to the run's declared output."""
        with atomic_path(path) as temporary:
            shutil.copyfile(self.path, temporary)

    def close(self) -> None:
        """Write out pending events."""
        if self._events is not None:
            self._events.close()


def _event_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BindraeError(
            "training.tensorboard is set, but the package tensorboard is not installed",
            "pip install tensorboard, or leave training.tensorboard out",
        ) from None
    return SummaryWriter(str(folder))


def _scalars(line: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in line.items():
        if isinstance(value, dict):
            found += _scalars(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and name not in ("step", "best"):
            found.append((prefix + name, float(value)))
    return found
