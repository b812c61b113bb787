"""Ids of complexes become names of files: what they may be made of, in one place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bindrae.errors import BindraeError

MAX_ID_LENGTH = 100
"""Longest id; file systems take names of 255 bytes, and temporary files and endings need some of them."""
_SAFE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{MAX_ID_LENGTH - 1}}}")
# Windows takes these for devices, whatever ending follows, and drops a dot at the end.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", re.IGNORECASE)


def is_safe_id(identifier: str) -> bool:
    """Whether an id can be the name of a file in any folder, on any system."""
    return _SAFE.fullmatch(identifier) is not None and _RESERVED.fullmatch(identifier) is None


def check_ids(ids: Sequence[str], where: str) -> None:
    """Check that all ids can be file names, and that no two of them would be the same file.

    Parameters
    ----------
    ids : sequence of str
    where : str
        The folder or the sheet, for messages.

    Raises
    ------
    BindraeError
        When one cannot be, or two are equal but for small and capital letters, which macOS and Windows take for one.
    """
    unsafe = [i for i in ids if not is_safe_id(i)]
    if unsafe:
        raise BindraeError(
            f"{where}: {len(unsafe)} id(s) cannot be file names, the first: {unsafe[0][: 2 * MAX_ID_LENGTH]!r}",
            f"use letters, digits and . _ + - only, {MAX_ID_LENGTH} at most, a letter or digit first; no name that "
            "Windows keeps for a device, such as con or nul, and no dot at the end",
        )
    counts = Counter(i.lower() for i in ids)
    repeated = sorted(i for i, count in counts.items() if count > 1)
    if repeated:
        raise BindraeError(
            f"{where}: id(s) occur more than once: {', '.join(repeated[:5])}",
            "give each complex its own id; small and capital letters are the same",
        )
