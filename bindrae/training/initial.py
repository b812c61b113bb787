"""Weights that a training starts from: those of the package, or of an earlier run on other data."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bindrae.config import differing_keys
from bindrae.data.layout import SHIPPED_NAME, weights_file
from bindrae.errors import BindraeError
from bindrae.model.model_file import load_single
from bindrae.model.stage1 import Stage1

# What may differ between the weights and the run that starts from them: it shapes no weight.
_FREE = {"preset", "dropout", "ligand_warmup_steps", "attention", "max_rotation_deg", "max_translation_angstrom"}


def initial_weights(init: str, setting: str = "training.init") -> Path:
    """Model file that a setting names.

    Parameters
    ----------
    init : str
        Its value: a path, or `SHIPPED_NAME`.
    setting : str
        The setting, for the message.

    Raises
    ------
    BindraeError
        When there is none.
    """
    path = weights_file(init)
    if not path.is_file():
        raise BindraeError(
            f"{setting}: {path} does not exist", f"name a model file, or `{SHIPPED_NAME}` for the package's weights"
        )
    return path


def load_weights_into(model: Stage1, path: Path) -> None:
    """Give a new model the weights of a file; its step stays 0.

    A file without ``backbone_geometry`` starts a model with it: what the file lacks stays as it is, and says nothing.

    Parameters
    ----------
    model : Stage1
    path : Path
        Model file; of an ensemble the first member.

    Raises
    ------
    BindraeError
        When the file holds no model, or one of another architecture; the keys that differ are named.
    """
    found = load_single(path)
    theirs, ours = (m.settings.model_dump(mode="json", exclude=_FREE) for m in (found, model))
    # How often the network is asked is free; whether it can be shown side chains is not.
    for settings in (theirs, ours):
        settings["recycles"] = min(settings["recycles"], 1)
    new: dict[str, Tensor] = {}
    if model.geometry is not None and found.geometry is None:
        new = {f"geometry.{name}": x for name, x in model.geometry.state_dict().items()}
        theirs["backbone_geometry"] = True
    if changed := differing_keys(theirs, ours, "model."):
        raise BindraeError(
            f"training.init: {path} has another architecture: {'; '.join(changed)}",
            "give `model:` the settings of that file, or leave out `init`",
        )
    model.load_state_dict(found.state_dict() | new)
    with torch.no_grad():
        model.step.zero_()
