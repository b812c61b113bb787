"""Running one data stage over the complexes of a batch: order kept, rejections collected, bugs propagated."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from bindrae.config import Settings
from bindrae.data.schema import rows_to_table
from bindrae.data.storage import REJECTED_SCHEMA, rejected_path, sidecar_path, write_sidecar, write_table
from bindrae.errors import RejectedComplex
from bindrae.progress import track

Row = dict[str, Any]


def _attempt(work: Callable[[Row], Row], item: Row) -> Row | RejectedComplex:
    try:
        return work(item)
    except RejectedComplex as rejection:
        return rejection
    except Exception as error:
        error.add_note(f"while working on complex {item['id']!r}")
        raise


def _end_with_parent() -> None:
    """Make a worker process end when its parent is gone, however that ended; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()


def _leave_after(process: multiprocessing.process.BaseProcess) -> None:
    process.join()
    os._exit(1)


def map_complexes(
    work: Callable[[Row], Row], items: list[Row], processes: int, label: str
) -> Iterator[Row | RejectedComplex]:
    """Apply `work` to every item, in order, in one or several processes.

    Parameters
    ----------
    work : callable
        Takes a row with ``id``; returns a row or raises `RejectedComplex`. A module-level function (or a `partial`).
    items : list of dict
    processes : int
        1 runs in this process; the results do not depend on it.
    label : str
        For the progress line.

    Yields
    ------
    dict or RejectedComplex
        One for each item.

    Raises
    ------
    Exception
        Whatever else `work` raises, with the complex's id as a note: a bug, not bad data.
    """
    if processes <= 1 or len(items) < 2:
        yield from track((_attempt(work, item) for item in items), len(items), label)
        return
    context = multiprocessing.get_context("spawn")  # the same on Linux and macOS, safe beside threads
    with ProcessPoolExecutor(min(processes, len(items)), context, initializer=_end_with_parent) as pool:
        yield from track(pool.map(partial(_attempt, work), items, chunksize=4), len(items), label)


def run_stage(
    stage: str,
    version: int,
    work: Callable[[Row], Row],
    items: list[Row],
    schema: pa.Schema,
    output: Path,
    settings: Settings,
    inputs: dict[str, Path],
    processes: int = 1,
) -> None:
    """Run a stage and write its table, its rejected table and its sidecar.

    Parameters
    ----------
    stage, version : str, int
        Name of the stage and version of its code, for the sidecar.
    work : callable
        See `map_complexes`.
    items : list of dict
        Rows of the batch.
    schema : pyarrow.Schema
        Columns of the output.
    output : Path
        ``<batch>.parquet``; ``<batch>.rejected.parquet`` and ``<batch>.json`` go beside it.
    settings : Settings
        What the stage used.
    inputs : dict of str to Path
        Tables it read.
    processes : int
    """
    start = time.monotonic()
    for path in (output, rejected_path(output), sidecar_path(output)):
        for stale in path.parent.glob(f".{path.name}.*.tmp"):
            stale.unlink(missing_ok=True)  # a killed run left it; nothing ever reads one
    rows: list[Row] = []
    rejected: list[Row] = []
    for item, result in zip(items, map_complexes(work, items, processes, stage), strict=True):
        if isinstance(result, RejectedComplex):
            rejected.append(
                {"id": item["id"], "stage": stage, "code": result.code, "message": result.message, "hint": result.hint}
            )
        else:
            rows.append(result)
    counts: dict[str, Any] = {"in": len(items), "out": len(rows), "rejected": len(rejected)}
    if "notes" in schema.names:
        touched: Counter[str] = Counter()
        for row in rows:
            touched.update(dict(row["notes"]))
        counts["notes"] = dict(sorted(touched.items()))
    # The table goes first and comes last: where there is one, what stands beside it is of the same run.
    output.unlink(missing_ok=True)
    write_table(pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA), rejected_path(output))
    write_sidecar(output, stage, version, settings.model_dump(mode="json"), inputs, counts, time.monotonic() - start)
    write_table(rows_to_table(rows, schema), output)
