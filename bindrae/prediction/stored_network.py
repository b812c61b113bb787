"""Small networks that travel in the metadata of a model file, as text."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from bindrae.errors import BindraeError


class StoredNetwork(nn.Module):
    """A network that can be written as text and read again; its sizes are constants of this version."""

    KEY: ClassVar[str]
    """Key of the model file's metadata that holds the network."""
    NAME: ClassVar[str]
    """What messages call it."""

    @staticmethod
    def about() -> dict[str, object]:
        """What must be the same for weights to mean the same."""
        raise NotImplementedError

    def to_json(self) -> str:
        """For the metadata of a model file; the weights in 16 bits."""
        numbers = torch.cat([x.detach().flatten() for x in self.parameters()]).numpy()
        return json.dumps(self.about() | {"weights": base64.b64encode(numbers.astype("<f2").tobytes()).decode()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The network of `to_json`.

        Raises
        ------
        ValueError, KeyError, TypeError
            When the text is damaged, or of a network of other sizes.
        """
        found = json.loads(text)
        network = cls()
        if {key: found[key] for key in cls.about()} != cls.about():
            raise ValueError("other kinds of atoms or distances")
        numbers = np.frombuffer(base64.b64decode(found["weights"]), "<f2").astype(np.float32)
        sizes = [x.numel() for x in network.parameters()]
        if len(numbers) != sum(sizes) or not np.isfinite(numbers).all():
            raise ValueError("values that cannot be")
        with torch.no_grad():
            for parameter, values in zip(network.parameters(), torch.as_tensor(numbers).split(sizes), strict=True):
                parameter.copy_(values.view_as(parameter))
        return network.requires_grad_(False).eval()

    @classmethod
    def from_model_file(cls, path: Path) -> Self | None:
        """The network in a model file's metadata; None where there is none.

        Raises
        ------
        BindraeError
            When it is damaged or of other sizes than this version's.
        """
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(cls.KEY)
        try:
            return None if text is None else cls.from_json(text)
        except (ValueError, KeyError, TypeError) as error:
            raise BindraeError(
                f"{path}: the {cls.NAME} in its metadata is damaged or of another version ({error!r})",
                "fit it anew: bindrae fit",
            ) from None
