"""Atomic writing, hashing and the sidecar that each stage leaves beside its output."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bindrae.errors import BindraeError

REJECTED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "stage", "code", "message", "hint")],
    metadata={"title": "complexes that cannot be used, and why"},
)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PROBE_BYTES = 1_000_000


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the final name only when the block ends well.

    Parameters
    ----------
    path : Path
        The final path; its folder is made when missing.

    Raises
    ------
    BindraeError
        When the disk or the quota is full, or a folder has the name. The file that was there before stays.
    """
    if os.path.isdir(path):
        raise BindraeError(f"{path} is a folder where a file is to be written", "move it away, or name another output")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's private mode would lock out the rest of a lab
        temporary.replace(path)
    except Exception as error:
        if isinstance(error, BindraeError) or not _is_full(path.parent, error):
            raise
        raise BindraeError(
            f"no space left on the disk (or in the quota) while writing {path}",
            "make room, then give the same command again: what is whole is kept",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _is_full(folder: Path, error: Exception) -> bool:
    """Whether a write failed for want of space. torch and safetensors do not say so: then a small write shows it."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if isinstance(error, OSError):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as refused:
        return refused.errno in _FULL
    return False


def write_table(table: pa.Table, path: Path) -> None:
    """Write a parquet file atomically; equal tables give equal bytes.

    Lists of floats are most of the bytes. They are split by byte: to look each up in a dictionary takes longer, and
    coordinates hardly ever come twice.
    """
    floats = [f.name for f in table.schema if pa.types.is_list(f.type) and pa.types.is_floating(f.type.value_type)]
    others = [leaf for f in table.schema if f.name not in floats for leaf in _leaves(f)]
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", use_dictionary=others,
            use_byte_stream_split=[f"{name}.list.element" for name in floats],
        )  # fmt: skip


def _leaves(field: pa.Field) -> list[str]:
    """Names of the parquet columns of a table's column."""
    if pa.types.is_map(field.type):
        return [f"{field.name}.key_value.{part}" for part in ("key", "value")]
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name]


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file.

    Raises
    ------
    BindraeError
        When the file is missing or damaged.
    """
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", "run the stage that makes it, or check the path") from None
    except pa.ArrowInvalid as error:
        raise BindraeError(f"{path} is not a sound parquet file: {error}", "delete it and rerun its stage") from None


def write_text(text: str, path: Path) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(data: Any, path: Path) -> None:
    """Write a JSON file atomically, keys in the order given."""
    write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    BindraeError
        When the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", "run the stage that makes it, or check the path") from None
    except (ValueError, RecursionError) as error:  # not JSON, not text, or nested without end
        raise BindraeError(f"{path} is not valid JSON: {error}", "delete it and rerun its stage") from None


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Hex digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def sidecar_path(output: Path) -> Path:
    """Where the settings, hashes, counts and seconds of a stage's output stand."""
    return output.with_suffix(".json")


def rejected_path(output: Path) -> Path:
    """Where the rejected complexes of a stage's output stand."""
    return output.with_suffix(".rejected.parquet")


def write_sidecar(
    output: Path,
    stage: str,
    version: int,
    settings: dict[str, Any],
    inputs: dict[str, Path],
    counts: dict[str, Any],
    seconds: float,
    hash_file: Callable[[Path], str] = sha256_file,
) -> None:
    """Write the record of how an output came about.

    Parameters
    ----------
    output : Path
        The stage's output.
    stage, version : str, int
        The stage and the version of its code.
    settings : dict
        The settings it used.
    inputs : dict of str to Path
        Tables it read; their hashes are stored.
    counts : dict
        What went in, came out and was touched.
    seconds : float
        Wall time.
    """
    write_json(
        {
            "stage": stage,
            "version": version,
            "settings": settings,
            "inputs": {name: hash_file(path) for name, path in inputs.items()},
            "counts": counts,
            "seconds": round(seconds, 3),
        },
        sidecar_path(output),
    )
