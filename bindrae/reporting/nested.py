"""Nested mappings of numbers as tables, for reports that must show what they do not know in advance."""

from __future__ import annotations

from typing import Any

from bindrae.reporting.html import DASH, number, text, words

MAX_ROWS = 50
Table = tuple[str, list[tuple[str, bool]], list[list[str]]]


def nested_tables(data: Any, caption: str) -> list[Table]:
    """Tables that show everything in a nested mapping.

    A mapping of mappings and a list of mappings become one table each, with the inner keys as columns; plain values
    that stand beside each other become one table of keys and values; what lies deeper gets tables of its own.

    Parameters
    ----------
    data : dict, list or plain value
        As read from JSON.
    caption : str
        Caption of the first table; deeper ones add their keys.

    Returns
    -------
    list of (caption, heads, rows)
        Heads are (name, holds numbers); cells are text.
    """
    if isinstance(data, list):
        if data and all(_is_flat(entry) for entry in data):
            return [_grid(caption, [({}, entry) for entry in data])]
        data = {str(i): entry for i, entry in enumerate(data)} if any(map(_is_deep, data)) else {"values": data}
    if not isinstance(data, dict):
        data = {"value": data}
    if data and all(_is_flat(entry) for entry in data.values()):
        return [_grid(caption, [({"": words(str(key))}, entry) for key, entry in data.items()])]
    plain = {key: value for key, value in data.items() if not _is_deep(value)}
    tables: list[Table] = []
    if plain:
        rows = [[words(str(key)), _cell(value)] for key, value in plain.items()]
        tables.append((caption, [("What", False), ("Value", all(map(_is_number, plain.values())))], rows))
    for key, value in data.items():
        if key not in plain:
            tables += nested_tables(value, f"{caption}: {words(str(key))}")
    return tables


def _grid(caption: str, rows: list[tuple[dict[str, str], dict[str, Any]]]) -> Table:
    columns = list(dict.fromkeys(key for _, entry in rows for key in entry))
    heads = [("What", False) for _ in rows[0][0]]
    heads += [(words(str(key)), all(_is_number(entry.get(key)) for _, entry in rows)) for key in columns]
    cells = [[*name.values(), *(_cell(entry.get(key)) for key in columns)] for name, entry in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        caption = f"{caption} (the first {MAX_ROWS} of {len(rows):,})"
    return caption, heads, cells


def _is_deep(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value))


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not any(map(_is_deep, value.values()))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return DASH
    return number(value) if _is_number(value) else text(value)
