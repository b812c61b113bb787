"""Signals that ask a training to save and go."""

from __future__ import annotations

import signal
from types import FrameType

REQUEUE_EXIT_CODE = 85
"""Exit code after a signal asked for a checkpoint: the run is unfinished, not failed."""
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Remembers that SIGTERM or SIGUSR1 came, so that the current step can end."""

    def __init__(self) -> None:
        self.requested = False
        self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
