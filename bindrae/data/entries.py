"""The rows of an index while they are found: in columns, so that memory hardly grows with the dataset."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from bindrae.data.schema import ENTRIES

_CHUNK = 1_000  # rows that are held as Python objects


class Entries:
    """Accepted complexes in the order in which they are found.

    Parameters
    ----------
    n_batches : int
        Of the index; rows name one of them.
    """

    def __init__(self, n_batches: int) -> None:
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._hashes = [hashlib.sha256() for _ in range(n_batches)]
        self._sizes = [0] * n_batches

    def __len__(self) -> int:
        return sum(self._sizes)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of ``schema.ENTRIES``."""
        batch = row["batch"]
        line = f"{row['id']}\t{row['protein']}\t{row['ligand']}\t{row['size']}\t{row['mtime']}"
        self._hashes[batch].update(("\n" * bool(self._sizes[batch]) + line).encode())
        self._sizes[batch] += 1
        self._rows.append(row)
        if len(self._rows) >= _CHUNK:
            self._pack()

    def _pack(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, schema=ENTRIES))
        self._rows.clear()

    def fingerprints(self) -> dict[str, str]:
        """A hash of each batch's entries: names, sizes and times of files."""
        return {f"{number}": found.hexdigest() for number, found in enumerate(self._hashes)}

    def table(self) -> pa.Table:
        """All rows as one table."""
        self._pack()
        return pa.concat_tables(self._tables)
