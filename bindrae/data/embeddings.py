"""Stored embeddings: the file of a batch, and the optional cache that batches and datasets share."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from bindrae.config import PLM_WIDTH, EmbedSettings
from bindrae.data.storage import sha256_text
from bindrae.data.tensors import read_tensors, write_tensors
from bindrae.errors import BindraeError


def layer_of(plm: str) -> int:
    """The layer whose representation is taken, the last: 33 for ``esm2_t33_650M_UR50D``, 0 for none."""
    found = re.search(r"_t(\d+)_", plm)
    return int(found.group(1)) if found else 0


def identity_of(settings: EmbedSettings, digest: str | None) -> dict[str, Any]:
    """What an embedding depends on besides its sequence.

    Parameters
    ----------
    settings : EmbedSettings
    digest : str, optional
        SHA-256 of the weights; None where none were needed.
    """
    return {
        "plm": settings.plm,
        "width": PLM_WIDTH[settings.plm],
        "layer": layer_of(settings.plm),
        "dtype": settings.dtype,
        "weights_sha256": digest,
        "window": settings.window,
        "overlap": settings.overlap,
    }


def read_store(path: Path) -> dict[str, Any]:
    """Read what `run_embed` wrote and check it.

    Returns
    -------
    dict
        ``embeddings``, [n, width] tensors by the SHA-256 of the sequence, and the keys of `identity_of`.

    Raises
    ------
    BindraeError
        When the file is missing or damaged, or a tensor differs in width or dtype from what the store says.
    """
    store = read_tensors(path, "rerun embed for this batch")
    wanted = (store["width"], getattr(torch, store["dtype"]))
    for embedding in store["embeddings"].values():
        if (embedding.shape[-1], embedding.dtype) != wanted:
            raise BindraeError(
                f"{path} should hold {store['plm']}, width {wanted[0]} in {wanted[1]}, but an embedding has width "
                f"{embedding.shape[-1]} in {embedding.dtype}",
                "rerun embed for this batch",
            )
    return store


class EmbeddingCache:
    """Embeddings of single chains in files, shared by batches and datasets.

    A file appears whole or not at all, under a name made of all that the embedding depends on, so several jobs may use
    the folder at once; two that embed the same chain write the same file.

    Parameters
    ----------
    folder : str, optional
        Without one, nothing is kept.
    identity : dict
        See `identity_of`.
    """

    def __init__(self, folder: str | None, identity: dict[str, Any]) -> None:
        self._identity = identity
        name = f"{identity['plm']}-{sha256_text(json.dumps(self._identity, sort_keys=True))[:16]}"
        self._folder = Path(folder) / name if folder else None
        self.hits = 0

    def read(self, key: str) -> torch.Tensor | None:
        """The kept embedding of a sequence's hash, or None.

        Raises
        ------
        BindraeError
            When the file is damaged or was made otherwise.
        """
        if self._folder is None or not (path := self._path(key)).is_file():
            return None
        hint = "delete this file and run again"
        data = read_tensors(path, hint)
        if {k: v for k, v in data.items() if k != "embedding"} != {**self._identity, "sequence_sha256": key}:
            raise BindraeError(f"{path} holds another sequence's or model's embedding", hint)
        self.hits += 1
        embedding: torch.Tensor = data["embedding"]
        return embedding

    def write(self, key: str, embedding: torch.Tensor) -> None:
        """Keep an embedding."""
        if self._folder is not None:
            write_tensors({**self._identity, "sequence_sha256": key, "embedding": embedding}, self._path(key))

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.pt"
