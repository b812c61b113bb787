"""Reading files of users, plain or gzipped, no more of them than a limit: a small gzip can hold gigabytes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

GZIP = b"\x1f\x8b"
_PIECE = 2**20


class TooLargeError(ValueError):
    """A file that holds more than the limit, once unpacked."""


def read_limited(path: Path, max_bytes: int) -> bytes:
    """The contents of a file, unpacked when it is a gzip whatever its name says.

    Parameters
    ----------
    path : Path
    max_bytes : int
        Of the unpacked contents; reading stops there.

    Raises
    ------
    TooLargeError
        When there is more.
    OSError, EOFError, zlib.error
        When the file cannot be read, or is no whole gzip.
    """
    with path.open("rb") as stream:
        packed = stream.read(len(GZIP)) == GZIP
        stream.seek(0)
        source = gzip.GzipFile(fileobj=stream) if packed else stream
        at_once = max(_PIECE, min(os.fstat(stream.fileno()).st_size, max_bytes) + 1)  # a plain file is read whole
        pieces, size = [], 0
        while piece := source.read(at_once):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                unpacked = " once unpacked" if packed else ""
                raise TooLargeError(f"{path} holds more than {max_bytes:,} bytes{unpacked}")
    return b"".join(pieces)
