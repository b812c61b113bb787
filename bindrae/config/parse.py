"""Reading settings from YAML, JSON and the command line, with every fault named."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bindrae.config.base import Settings
from bindrae.errors import BindraeError

T = TypeVar("T", bound=Settings)


def parse_settings(model: type[T], data: dict[str, Any], where: str) -> T:
    """Validate one mapping against a model and name every fault.

    Parameters
    ----------
    model : type of Settings
    data : dict
        Parsed YAML or JSON.
    where : str
        What the data came from, for the message.

    Returns
    -------
    Settings
        An instance of `model`.

    Raises
    ------
    BindraeError
        With each unknown key (and the nearest known one), wrong type or value out of range by its dotted name.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_describe(model, fault) for fault in error.errors()]
        raise BindraeError(
            f"{where}: " + "; ".join(lines), "config/REFERENCE.md lists every key with its default"
        ) from None


def override(settings: T, given: dict[str, Any]) -> T:
    """Settings with some keys replaced, checked again.

    Raises
    ------
    BindraeError
        When a value is out of range.
    """
    if not given:
        return settings
    return parse_settings(type(settings), settings.model_dump() | given, "command line")


def _describe(model: type[Settings], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    dotted = ".".join(path)
    if fault["type"] != "extra_forbidden":
        return f"{dotted}: {fault['msg']}" if dotted else str(fault["msg"]).removeprefix("Value error, ")
    known = _known_keys(model, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1)
    return f"unknown key '{dotted}'" + (f" (did you mean '{near[0]}'?)" if near else f" (known: {', '.join(known)})")


def _known_keys(model: type[Settings], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        model = annotation
    return list(model.model_fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; an empty file is an empty mapping.

    Raises
    ------
    BindraeError
        When the file is missing, is not YAML, or is not a mapping.
    """
    if path.is_dir():
        raise BindraeError(f"{path} is a folder", "name the YAML file in it")
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", "check the path; it is taken from the working folder") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BindraeError(f"{path} is not valid YAML: {error}", "mend the line it names") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BindraeError(f"{path} holds {type(data).__name__}, not a mapping", "write `key: value` lines")
    return data


def load_settings(model: type[T], source: str | None) -> T:
    """Read the settings of one stage from inline JSON or a YAML file.

    Parameters
    ----------
    model : type of Settings
    source : str or None
        A JSON object, the path of a YAML file, or None for the defaults.
    """
    if source is None:
        return model()
    if source.lstrip().startswith("{"):
        try:
            data = json.loads(source)
        except json.JSONDecodeError as error:
            raise BindraeError(f"--settings is not valid JSON: {error}", "pass a JSON object or a YAML file") from None
        return parse_settings(model, data, "--settings")
    return parse_settings(model, read_yaml(Path(source)), source)


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
