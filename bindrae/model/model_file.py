"""Model files: weights of one network or of an ensemble in safetensors, architecture and provenance in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bindrae.config import ModelSettings, parse_settings
from bindrae.errors import BindraeError
from bindrae.model.ensemble import Decoder, Ensemble
from bindrae.model.shapes import build_to_fit, shapes_in
from bindrae.model.stage1 import Stage1

FORMAT = "bindrae-stage1-3"
ENSEMBLE_FORMAT = "bindrae-ensemble-1"
_MEMBER = "members."


def save_model(model: Decoder, path: Path, facts: dict[str, Any]) -> None:
    """Write weights and architecture to one safetensors file (not atomic; see `storage.atomic_path`).

    Parameters
    ----------
    model : Stage1 or Ensemble
    path : Path
    facts : dict
        Provenance to store beside the settings, for JSON.
    """
    settings = model.settings.model_dump(mode="json", exclude={"preset"})
    if isinstance(model, Ensemble):
        about = {"format": ENSEMBLE_FORMAT, "members": len(model.members), "sweeps": model.sweeps}
        named = {_prefix(k) + name: x for k, m in enumerate(model) for name, x in m.state_dict().items()}
    else:
        about, named = {"format": FORMAT}, model.state_dict()
    # One key: the format keeps several in no order, and equal models are to be equal files.
    metadata = {"bindrae": json.dumps(about | {"settings": settings} | facts, sort_keys=True)}
    save_file({name: x.detach().cpu().contiguous() for name, x in named.items()}, path, metadata)


def load_model(path: Path, device: torch.device | str = "cpu") -> Decoder:
    """Build the model that a file holds, in evaluation mode; the file's architecture decides, no config is read.

    Raises
    ------
    BindraeError
        When the file is missing or is no model.
    """
    if not path.is_file():
        raise BindraeError(f"{path} does not exist", "train a model first, or check the path")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("bindrae", "{}"))
    except Exception as error:  # safetensors raises its own type for a damaged header
        raise BindraeError(
            f"{path} is not a safetensors file: {error}", "train again, or fetch the file again"
        ) from None
    if about.get("format") not in (FORMAT, ENSEMBLE_FORMAT):
        raise BindraeError(
            f"{path} is not a BINDRAE Stage-1 model (format {about.get('format')!r})",
            f"this version reads {FORMAT} and {ENSEMBLE_FORMAT}",
        )
    # Files from before there was this setting have no such part.
    settings = parse_settings(ModelSettings, {"backbone_geometry": False} | about["settings"], str(path))
    if about["format"] == FORMAT:
        model: Decoder = _build(path, settings, shapes_in(path))
    else:
        model = _build_ensemble(path, about, settings)
    return model.to(device).eval()


def load_single(path: Path) -> Stage1:
    """A model file as one network: of an ensemble the first member."""
    model = load_model(path)
    return model.first if isinstance(model, Ensemble) else model


def _build(path: Path, settings: ModelSettings, found: dict[str, tuple[int, ...]], prefix: str = "") -> Stage1:
    """The network whose weights are those of a file under names with a prefix; `found` are the shapes in it."""
    shapes = {name.removeprefix(prefix): shape for name, shape in found.items() if name.startswith(prefix)}
    model = None if settings.depth > len(shapes) else build_to_fit(lambda: Stage1(settings), shapes)
    if model is None:
        raise _unfit(path)
    with safe_open(path, "pt") as file:
        model.load_state_dict({name: file.get_tensor(prefix + name) for name in shapes})
    return model


def _build_ensemble(path: Path, about: dict[str, Any], settings: ModelSettings) -> Ensemble:
    found = shapes_in(path)
    prefixes = {name[: name.find(".", len(_MEMBER)) + 1] for name in found}
    if about.get("members") != len(prefixes) or prefixes != {_prefix(k) for k in range(len(prefixes))}:
        raise _unfit(path)
    members = [_build(path, settings, found, _prefix(k)) for k in range(len(prefixes))]
    try:
        return Ensemble(members, int(about["sweeps"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BindraeError(f"{path}: not an ensemble: {error!r}", "join its members again, or fetch it again") from None


def _prefix(member: int) -> str:
    return f"{_MEMBER}{member}."


def _unfit(path: Path) -> BindraeError:
    return BindraeError(f"{path}: its weights are not those of the architecture it names", "fetch the file again")
