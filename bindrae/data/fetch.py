"""Fetching entries by id: the layout ``ids``. The only part of the pipeline that uses a network.

What arrived is kept under ``downloads/`` beside the index, each file with a JSON that holds its address, size and
SHA-256. A file is taken only when it is whole, and fetched again only when it no longer is what that JSON says.
"""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

from bindrae.chem.hetero import choose_ligand
from bindrae.config import IndexSettings
from bindrae.data.sheets import Wanted
from bindrae.data.storage import atomic_path, read_json, sha256_file, write_json
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.files import GZIP, read_limited
from bindrae.progress import track
from bindrae.structure.atoms import MAX_BYTES

_ENDINGS = (".cif.gz", ".cif", ".pdb.gz", ".pdb", ".ent.gz", ".ent")
_PARTIAL = ".partial"
_PIECE = 2**16
_PAUSE_SECONDS = 1.0

Found = dict[str, Any]


def address_of(template: str, identifier: str) -> str:
    """The address of an entry: ``<id>`` in small, ``<ID>`` in capital letters, ``<middle>`` its folder at the PDB."""
    small = identifier.lower()
    return template.replace("<id>", small).replace("<ID>", small.upper()).replace("<middle>", small[-3:-1])


def place_of(folder: Path, template: str, identifier: str) -> Path:
    """Where the file of an entry is kept: at most 1,296 subfolders, a few hundred files each for the whole PDB."""
    path = PurePosixPath(urlsplit(template).path).name.lower()
    ending = next((e for e in _ENDINGS if path.endswith(e)), ".cif")
    small = identifier.lower()
    return folder / small[-3:-1] / (small + ending)


def record_of(path: Path) -> Path:
    """The JSON beside a fetched file."""
    return path.with_name(path.name + ".json")


def is_sound(path: Path, address: str, sha256: str | None) -> bool:
    """Whether a file is there, came from this address and is what its JSON (and the user's checksum) says."""
    if not path.is_file() or not record_of(path).is_file():
        return False
    try:
        record = read_json(record_of(path))
    except BindraeError:
        return False
    if record.get("url") != address or record.get("bytes") != path.stat().st_size:
        return False
    if sha256 and record.get("sha256") != sha256:
        return False
    return bool(record.get("sha256") == sha256_file(path))


def fetch_structure(path: Path, address: str, sha256: str | None, settings: IndexSettings) -> None:
    """Fetch one file unless it is there.

    Parameters
    ----------
    path : Path
        Where it is kept.
    address : str
    sha256 : str or None
        Checksum that it must have.
    settings : IndexSettings
        ``download_attempts`` and ``download_timeout_seconds``.

    Raises
    ------
    RejectedComplex
        ``download_failed``: not there, cut short, not what was asked for, or of another checksum.
    """
    if is_sound(path, address, sha256):
        return
    import requests

    partial = path.parent.parent / _PARTIAL / f"{path.parent.name}-{path.name}"
    fault = ""
    for attempt in range(settings.download_attempts):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            _download(address, partial, settings.download_timeout_seconds)
            found = sha256_file(partial)
            if sha256 and found != sha256:
                raise ValueError(f"what arrived has the SHA-256 {found}, not {sha256}")
            _check_content(partial, path.name)
            record = {"url": address, "bytes": partial.stat().st_size, "sha256": found}
            with atomic_path(path) as temporary:
                shutil.move(partial, temporary)
            write_json(record, record_of(path))
            return
        except requests.HTTPError as error:
            fault = str(error)
            status = error.response.status_code if error.response is not None else 0
            if 400 <= status < 500 and status not in (408, 429):
                break  # asking again gives the same answer
        except (requests.RequestException, ValueError, OSError) as error:
            fault = str(error)
    partial.unlink(missing_ok=True)
    raise RejectedComplex("download_failed", f"{address}: {' '.join(fault.split())[:300]}")


def _download(address: str, output: Path, timeout: float) -> None:
    """Write what a server answers; urllib3 counts the bytes against Content-Length.

    Raises
    ------
    requests.RequestException
        When the server does not answer, answers with an error, or stops too early.
    ValueError
        When it sends on to where nothing is fetched from, or sends more than a structure can be.
    """
    import requests

    hooks = {"response": _check_redirect}
    with requests.get(address, stream=True, timeout=timeout, hooks=hooks) as answer, output.open("wb") as stream:
        answer.raise_for_status()
        received = 0
        for piece in answer.iter_content(_PIECE):
            received += len(piece)
            if received > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes arrived")
            stream.write(piece)


def _check_redirect(answer: Any, **_: Any) -> None:
    """Follow a server elsewhere, but only over https; unencrypted only where it was asked, on this machine."""
    if answer.is_redirect:
        here, there = urlsplit(answer.url), urlsplit(urljoin(answer.url, answer.headers["location"]))
        if there.scheme != here.scheme or (there.scheme != "https" and there.hostname != here.hostname):
            raise ValueError(f"the server sends on to {there.scheme}://{there.netloc}, which is not followed")


def _check_content(path: Path, name: str) -> None:
    """A whole gzip stream where the name says so, and the words that every structure file has."""
    try:
        data = read_limited(path, MAX_BYTES)
        with path.open("rb") as stream:
            if name.endswith(".gz") and stream.read(len(GZIP)) != GZIP:
                raise OSError("it does not begin like one")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"what arrived is no whole gzip file: {error}") from None
    kind, words = ("mmCIF", (b"data_", b"_atom_site.")) if ".cif" in name else ("PDB", (b"ATOM  ",))
    if not all(word in data for word in words):
        raise ValueError(f"what arrived is no {kind} file; it begins with {data[:40]!r}")


def find_ids(
    wanted: list[Wanted], folder: Path, source: str, settings: IndexSettings
) -> Iterator[Found | RejectedComplex]:
    """Fetch entries and name their ligands.

    Parameters
    ----------
    wanted : list of Wanted
    folder : Path
        Where downloads are kept.
    source : str
        Name of the list.
    settings : IndexSettings

    Yields
    ------
    dict or RejectedComplex
        One for each entry, in order: ``id``, ``protein``, ``ligand``, ``source``.
    """
    shutil.rmtree(folder / _PARTIAL, ignore_errors=True)  # what an interrupted run left
    (folder / _PARTIAL).mkdir(parents=True, exist_ok=True)

    def one(entry: Wanted) -> Found | RejectedComplex:
        address = address_of(settings.structure_url, entry.id)
        path = place_of(folder, settings.structure_url, entry.id)
        try:
            fetch_structure(path, address, entry.sha256, settings)
            ligand = entry.ligand or str(choose_ligand(path))
        except RejectedComplex as rejection:
            return rejection
        return {"id": entry.id, "protein": path, "ligand": [ligand], "source": source}

    try:
        with ThreadPoolExecutor(settings.download_threads) as pool:
            yield from track(pool.map(one, wanted), len(wanted), "fetch")
    finally:
        shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
