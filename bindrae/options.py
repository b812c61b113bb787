"""Command-line options made from a settings model, so that every key can be given by name and is defined once."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from bindrae.config import Settings


def with_options(model: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option a key of a settings model.

    The command takes them as one keyword argument ``given``: a dict with the keys that the user named.

    Parameters
    ----------
    model : type of Settings
        A flat section of the configuration.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        extra = [_option(model, name) for name in model.model_fields]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            named = {name: values.pop(name) for name in model.model_fields}
            command(**values, given={name: value for name, value in named.items() if value is not None})

        parameters = [*own, *extra]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        del wrapped.__wrapped__  # typer would look through it
        return wrapped

    return decorate


def _option(model: type[Settings], name: str) -> inspect.Parameter:
    field = model.model_fields[name]
    plain, choices = _plain_type(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    default = "" if field.default is None else f"[{field.default}]"
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if plain is bool else flag,
        help=" ".join(filter(None, [field.description, f"({', '.join(choices)})" if choices else "", default])),
        rich_help_panel="Recipe (each overrides --settings)",
        show_default=False,
    )
    annotation = Annotated[plain | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain_type(annotation: Any) -> tuple[type, list[str]]:
    """bool, int, float or str, and the choices of a Literal."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _plain_type(typing.get_args(annotation)[0])
    if origin is Literal:
        return str, list(typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return _plain_type(inner[0])
    return annotation, []
