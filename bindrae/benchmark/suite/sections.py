"""Which part of a training step an operation belongs to, also in the backward pass."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

_FORWARD, _BACKWARD = "section: ", "autograd::engine::evaluate_function: "


class Sections:
    """Marks the parts of a model while it runs.

    Autograd numbers the nodes of its graph in the order in which the forward pass makes them. The number at which a
    part begins and ends tells in the backward pass to which part a node belongs.

    Parameters
    ----------
    model : nn.Module
    parts : mapping of str to str
        Beginning of a submodule's name to the name of its part; of several that fit the longest counts. The empty
        beginning stands for the model itself.
    outside : str
        Part of what runs when no module does.
    gathering : str
        Part that adds up the gradients of the parameters.
    """

    def __init__(self, model: nn.Module, parts: Mapping[str, str], outside: str, gathering: str) -> None:
        self.gathering = gathering
        self.stack: list[Any] = []
        self.names = [outside]
        self.marks: list[tuple[int, str]] = [(0, outside)]
        self.handles: list[Any] = []
        for name, module in model.named_modules():
            fitting = [start for start in parts if name == start or name.startswith(f"{start}.") or not start]
            if fitting:
                self._watch(module, parts[max(fitting, key=len)])

    def _watch(self, module: nn.Module, part: str) -> None:
        def enter(*_: Any) -> None:
            self._enter(part)

        def leave(*_: Any) -> None:
            self._leave()

        self.handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _enter(self, part: str) -> None:
        scope = record_function(_FORWARD + part)
        scope.__enter__()
        self.stack.append(scope)
        self.names.append(part)
        self.marks.append((_number(), part))

    def _leave(self) -> None:
        self.stack.pop().__exit__(None, None, None)
        self.names.pop()
        self.marks.append((_number(), self.names[-1]))

    @contextmanager
    def section(self, part: str) -> Iterator[None]:
        """A part that is no module."""
        self._enter(part)
        yield
        self._leave()

    def close(self) -> None:
        """Take the marks off the model."""
        for handle in self.handles:
            handle.remove()

    def current(self) -> str:
        """Part of the running operation."""
        node = torch._C._current_autograd_node()
        return self.names[-1] if node is None else self._of(node._sequence_nr())

    def _of(self, number: int) -> str:
        """Part that made the node of a number; the nodes that gather gradients are made by none and have none."""
        if not 0 <= number <= _number():
            return self.gathering
        return self.marks[bisect_right(self.marks, number, key=lambda mark: mark[0]) - 1][1]

    def seconds(self, task: Callable[[], object]) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds of each part in the forward and in the backward pass of a task, as torch's profiler sees them."""
        with profile(activities=[ProfilerActivity.CPU]) as watch:
            task()
        forward: dict[str, float] = defaultdict(float)
        backward: dict[str, float] = defaultdict(float)
        for event in watch.events() or []:
            seconds = event.cpu_time_total * 1e-6
            if event.name.startswith(_FORWARD):
                forward[event.name.removeprefix(_FORWARD)] += seconds
            elif event.name.startswith(_BACKWARD):
                backward[self._of(event.sequence_nr)] += seconds
            else:
                continue
            above = event.cpu_parent
            while above is not None and not above.name.startswith((_FORWARD, _BACKWARD)):
                above = above.cpu_parent
            if above is None:
                continue
            if above.name.startswith(_FORWARD):
                forward[above.name.removeprefix(_FORWARD)] -= seconds
            else:
                backward[self._of(above.sequence_nr)] -= seconds
        return dict(forward), dict(backward)


def _number() -> int:
    """Number of the next node that autograd makes."""
    return int(torch._C._autograd._get_sequence_nr())
