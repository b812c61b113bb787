"""Files of plain tensors: written atomically, read without running anything that they hold.

The only place that calls ``torch.load``: a test holds the package to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from bindrae.data.storage import atomic_path
from bindrae.errors import BindraeError


def write_tensors(data: dict[str, Any], path: Path) -> None:
    """Write plain tensors atomically; equal data give equal bytes.

    Handed a path, torch would store the file's name inside, and the temporary one is random.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(data, stream)


def read_tensors(path: Path, hint: str, *, mmap: bool = False, namespaces: bool = False) -> dict[str, Any]:
    """Read tensors, numbers, texts and containers of these; a file that holds anything else is refused.

    Parameters
    ----------
    path : Path
    hint : str
        What the user is told to do about a file that is missing or damaged.
    mmap : bool
        Leave the tensors on disk until they are used.
    namespaces : bool
        Let in `argparse.Namespace` as well, which published ESM-2 weights hold: a plain bag of settings.

    Returns
    -------
    dict
        On the CPU.

    Raises
    ------
    BindraeError
        When the file is missing or damaged, holds something else than tensors, or is no mapping.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace] if namespaces else []):
            data = torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", hint) from None
    except Exception as error:  # torch raises many types for a damaged archive
        raise BindraeError(f"{path} is damaged: {' '.join(str(error).split())[:200]}", hint) from None
    if not isinstance(data, dict):
        raise BindraeError(f"{path} holds {type(data).__name__}, not a mapping of tensors", hint)
    return data
