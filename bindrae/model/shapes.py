"""Whether a file's weights are those of a model, found before there is memory for the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a safetensors file, from its header."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def has_shapes(build: Callable[[], nn.Module], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether tensors of these shapes are all that a module needs: a file may ask for any size, but must fill it.

    Parameters
    ----------
    build : callable
        Makes the module; called where tensors take no memory.
    shapes : dict of str to tuple
        As `shapes_in` gives them.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(x.shape) for name, x in build().state_dict().items()} == shapes
    except RuntimeError:  # a size that no tensor can have
        return False
