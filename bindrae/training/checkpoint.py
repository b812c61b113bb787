"""Checkpoints: everything that a training run needs to go on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bindrae.data.storage import atomic_path
from bindrae.errors import BindraeError

LAST = "last.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last.pt`` atomically; the one before stays until the new one is whole."""
    with atomic_path(folder / LAST) as temporary:
        torch.save(state, temporary)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read ``last.pt``; None when there is none.

    Raises
    ------
    BindraeError
        When the file is damaged.
    """
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged archive
        raise BindraeError(f"{path} cannot be read: {error}", "start over with --fresh") from None
    return state


def differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys in which two nested mappings differ, with both values.

    Parameters
    ----------
    old, new : dict
    prefix : str
        Path so far.
    """
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return lines
