"""Rendering of self-contained pages: jinja2 with autoescape, and the filters that write numbers."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bindrae.progress import format_seconds

DASH = "–"


def number(value: Any, digits: int | None = None) -> str:
    """A number for reading: thousands marked, a dash for what is undefined.

    Parameters
    ----------
    value : float, int or None
    digits : int, optional
        Decimals; by default none for whole numbers and three significant digits otherwise.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if digits is not None:
        return f"{value:,.{digits}f}"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 complex``, ``3 complexes``."""
    return f"{number(n)} {one if n == 1 else many or one + 's'}"


def percent(part: float | None, whole: float | None, digits: int = 1) -> str:
    """The share of `part` in `whole`, in percent; a dash when there is no whole."""
    return DASH if part is None or not whole else f"{100 * part / whole:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """Seconds as ``4.3 s``, ``3m05s`` or ``2h07m``; a dash for none."""
    if seconds is None:
        return DASH
    return f"{seconds:.1f} s" if seconds < 59.95 else format_seconds(seconds)


def size(n_bytes: float | None) -> str:
    """Bytes in the unit that suits them."""
    if n_bytes is None:
        return DASH
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def words(key: str) -> str:
    """A key as words: ``missing_heavy_atoms`` to ``missing heavy atoms``."""
    return key.replace("_", " ")


def text(value: Any) -> str:
    """A setting as text; floats as short as they read back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; other values stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def render(template: str, **context: Any) -> str:
    """Fill one of this package's templates.

    Parameters
    ----------
    template : str
        Name of the file in ``templates``.
    **context
        What the template shows; every string is escaped unless it is already markup.

    Returns
    -------
    str
        ASCII only (the rest as character references), so that no locale and no server can garble the page.
    """
    environment = Environment(
        loader=PackageLoader("bindrae.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, counted, percent, duration, size, words, text)
    environment.filters.update({function.__name__: function for function in filters})
    page = environment.get_template(template).render(**context)
    return page.encode("ascii", "xmlcharrefreplace").decode()
