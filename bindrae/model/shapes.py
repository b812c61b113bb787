"""Whether a file's weights are those of a model, found before there is memory for the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)
_SPARE = 1 << 20  # numbers that a module may have beside those of a file, such as the centres of its bins


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a safetensors file, from its header."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


class TooLarge(Exception):
    """More numbers were asked for than there may be."""


class Budget(TorchFunctionMode):
    """While it is entered, torch makes no more new numbers than a limit; what it works out from them is not counted.

    Layers of torch do not draw their first weights: those of a file take their places.

    Building on the meta device would find too large a model as well, but imports torch's compiler, for a second.

    Parameters
    ----------
    numbers : int

    Attributes
    ----------
    left : int
        What of the limit has not been asked for yet.

    Raises
    ------
    TooLarge
        Before memory is taken.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS:
            self.left -= _MAKERS[func](*args, **kwargs)
            if self.left < 0:
                raise TooLarge
        if func in _DRAWS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _by_size(*size: Any, **options: Any) -> int:
    sizes = options.get("size", size[0] if size and isinstance(size[0], Sequence) else size)
    return math.prod(map(int, sizes))


# Those that modules are made with; a test looks whether they are all.
_MAKERS: dict[Any, Callable[..., int]] = {
    torch.empty: _by_size,
    torch.zeros: _by_size,
    torch.ones: _by_size,
    torch.full: lambda size, *_, **__: _by_size(*size),
    torch.linspace: lambda start, end, steps, **_: int(steps),
    torch.arange: lambda end, **_: int(end),
}

# What layers of torch draw their first weights with. The tensor's own methods are no choice: truncated normal
# distributions draw until all numbers are within their limits.
_DRAWS: set[Any] = {nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}


def build_to_fit(build: Callable[[], Module], shapes: dict[str, tuple[int, ...]]) -> Module | None:
    """A module, if tensors of these shapes are all that it needs: a file may ask for any size, but must fill it.

    Parameters
    ----------
    build : callable
        Makes the module. It gets memory for as many numbers as the shapes have, and 4 MB.
    shapes : dict of str to tuple
        As `shapes_in` gives them.
    """
    try:
        with Budget(sum(map(math.prod, shapes.values())) + _SPARE):
            module = build()
    except TooLarge:
        return None
    return module if {name: tuple(x.shape) for name, x in module.state_dict().items()} == shapes else None
