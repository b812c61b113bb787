"""The index: which complexes there are and which batch each belongs to.

Reads names and sizes, never contents, but for the layout ``ids``, which fetches its files first.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from bindrae.chem.hetero import PREFIX, parse_hetero
from bindrae.config import IndexSettings
from bindrae.data.entries import Entries
from bindrae.data.fetch import find_ids
from bindrae.data.ids import check_ids, is_safe_id
from bindrae.data.layout import DataLayout
from bindrae.data.sheets import existing, read_ids, read_sheet
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import (
    REJECTED_SCHEMA,
    read_json,
    rejected_path,
    write_json,
    write_sidecar,
    write_table,
)
from bindrae.errors import BindraeError, RejectedComplex

PROTEIN_SUFFIXES = (
    "_protein.pdb",
    "_protein.pdb.gz",
    "_protein.cif",
    "_protein.cif.gz",
    "_protein.ent",
    "_protein.ent.gz",
)
LIGAND_SUFFIXES = (
    "_ligand.sdf",
    "_ligand.sdf.gz",
    "_ligand.mol",
    "_ligand.mol.gz",
    "_ligand.mol2",
    "_ligand.mol2.gz",
)
_NOT_COMPLEXES = {"index", "readme"}  # folders that PDBbind puts beside its complexes

# Complexes that ship inside packages: distribution, id, protein, ligand.
_POSEBUSTERS = "posebusters/datasets/pdb"
DEMO_COMPLEXES = (
    *(
        ("posebusters", i, f"{_POSEBUSTERS}/{i}/{i}_protein_one_lig_removed.pdb", f"{_POSEBUSTERS}/{i}/{i}_ligand.sdf")
        for i in ("1ia1", "1of6", "1s3v", "1uou")
    ),
    ("prolif", "1s2g", "prolif/data/implicitHbond/receptor.pdb", "prolif/data/implicitHbond/1.D.sdf"),
)

Found = dict[str, Any]


def batch_of(identifier: str, n_batches: int) -> int:
    """Batch of a complex: a stable hash of its id alone, so that other complexes never move it."""
    return int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:8], "big") % n_batches


def find_demo(root: Path | None) -> list[Found]:
    """The complexes inside the packages of the `demo` extra."""
    found = []
    for package, identifier, protein, ligand in DEMO_COMPLEXES:
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            raise BindraeError(
                f"the demo complexes need the package '{package}', which is not installed",
                "pip install 'bindrae[demo]', or run `make demo`",
            ) from None
        paths = [str(distribution.locate_file(name)) for name in (protein, ligand)]
        found.append(
            {"id": identifier, "protein": paths[0], "ligand": [paths[1]], "source": f"{package} {distribution.version}"}
        )
    return found


def find_folders(root: Path | None) -> Iterator[Found]:
    """``<id>/<id>_protein.*`` with ``<id>/<id>_ligand.*``, in `root` or in a folder ``coreset`` inside it."""
    root = existing(root, Path.is_dir, "folder")
    if (root / "coreset").is_dir():
        root = root / "coreset"
    with os.scandir(root) as folders:
        names = sorted(
            e.name for e in folders if e.is_dir() and not e.name.startswith(".") and e.name not in _NOT_COMPLEXES
        )
    return (_assemble(name, f"{root}/{name}", set(os.listdir(f"{root}/{name}")), root.name) for name in names)


def find_pairs(root: Path | None) -> Iterator[Found]:
    """``<id>_protein.*`` and ``<id>_ligand.*`` in one flat folder."""
    root = existing(root, Path.is_dir, "folder")
    by_id: dict[str, set[str]] = defaultdict(set)
    for name in os.listdir(root):
        for suffix in (*PROTEIN_SUFFIXES, *LIGAND_SUFFIXES):
            if name.endswith(suffix):
                by_id[name.removesuffix(suffix)].add(name)
    return (_assemble(name, str(root), by_id[name], root.name) for name in sorted(by_id))


def find_sheet(root: Path | None) -> Iterator[Found]:
    """A table with columns ``id``, ``protein``, ``ligand``; relative paths are taken from the table's folder.

    A ligand such as ``hetatm:STI/A/201`` is a residue of the protein file.
    """
    root = existing(root, Path.is_file, "file")
    sheet = read_sheet(root)
    missing = {"id", "protein", "ligand"} - set(sheet.columns)
    if missing:
        raise BindraeError(
            f"{root} lacks the column(s) {', '.join(sorted(missing))}", "name the columns id, protein, ligand"
        )
    folder = str(root.parent)
    columns = (sheet[name].astype(str).tolist() for name in ("id", "protein", "ligand"))
    return (
        {
            "id": identifier,
            "protein": os.path.join(folder, protein),
            "ligand": [ligand if ligand.startswith(PREFIX) else os.path.join(folder, ligand)],
            "source": root.name,
        }
        for identifier, protein, ligand in zip(*columns, strict=True)
    )


LAYOUTS: dict[str, Callable[[Path | None], Iterable[Found]]] = {
    "demo": find_demo,
    "casf2016": find_folders,
    "pdbbind": find_folders,
    "pairs": find_pairs,
    "sheet": find_sheet,
}
"""How each layout of ``index.layout`` is read: an error of the whole comes at once, folders are listed one by one."""


def _assemble(name: str, folder: str, present: set[str], source: str) -> Found:
    def first(suffixes: tuple[str, ...]) -> list[str]:
        return [f"{folder}/{name}{suffix}" for suffix in suffixes if name + suffix in present]

    return {
        "id": name,
        "protein": (first(PROTEIN_SUFFIXES) or [f"{folder}/{name}_protein.pdb"])[0],
        "ligand": first(LIGAND_SUFFIXES) or [f"{folder}/{name}_ligand.sdf"],
        "source": source,
    }


def run_index(layout: DataLayout, root: Path | None, settings: IndexSettings) -> None:
    """Find the complexes, assign batches and write the index.

    Parameters
    ----------
    layout : DataLayout
    root : Path or None
        The dataset's folder, sheet or list; None for the demo.
    settings : IndexSettings

    Raises
    ------
    BindraeError
        When the folder is missing or holds no complex, or when ids repeat or cannot be file names.
    """
    start = time.monotonic()
    ids: list[str] = []
    rows, rejected = Entries(settings.n_batches), []
    for identifier, entry in _find(layout, root, settings):
        ids.append(identifier)
        if not is_safe_id(identifier):
            continue  # is named below
        row = entry if isinstance(entry, RejectedComplex) else _row(entry, settings.n_batches)
        if isinstance(row, RejectedComplex):
            fault = {"code": row.code, "message": row.message, "hint": row.hint}
            rejected.append({"id": identifier, "stage": "index", **fault})
        else:
            rows.add(row)
    if not ids:
        raise BindraeError(
            f"{root} holds no complexes in layout '{settings.layout}'",
            "expected <id>/<id>_protein.pdb with <id>/<id>_ligand.sdf; if yours differs, set index.layout",
        )
    check_ids(ids, str(root))
    if not rows:
        raise BindraeError(
            f"{root}: all {len(rejected)} complexes lack a file, the first: {rejected[0]['message']}",
            rejected[0]["hint"],
        )
    write_table(pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    write_json(rows.fingerprints(), layout.batches)
    counts = {"in": len(ids), "out": len(rows), "rejected": len(rejected)}
    used = {"root": None if root is None else str(root), **settings.model_dump(mode="json")}
    write_sidecar(layout.entries, "index", VERSIONS["index"], used, {}, counts, time.monotonic() - start)
    write_table(rows.table(), layout.entries)
    print(f"index: {len(rows)} complexes in {settings.n_batches} batches, {len(rejected)} rejected")


def _find(
    layout: DataLayout, root: Path | None, settings: IndexSettings
) -> Iterator[tuple[str, Found | RejectedComplex]]:
    """Ids with what stands under them, one after the other."""
    if settings.layout != "ids":
        yield from ((entry["id"], entry) for entry in LAYOUTS[settings.layout](root))
        return
    wanted = read_ids(root)
    ids = [entry.id for entry in wanted]
    check_ids(ids, str(root))  # before anything is fetched
    found = find_ids(wanted, layout.root / "downloads", Path(str(root)).name, settings)
    yield from zip(ids, found, strict=True)


def files_changed(layout: DataLayout, root: Path | None, settings: IndexSettings) -> list[int]:
    """Batches for which the index would now say something else: files came, went or were replaced since it was made.

    Lists folders and asks for the size and time of each file, three calls a complex; reads no contents and no network.

    Parameters
    ----------
    layout : DataLayout
        Its index was made with the same `root` and `settings`.
    root : Path or None
    settings : IndexSettings

    Returns
    -------
    list of int
        In order; always empty for the layouts ``demo``, whose files never change, and ``ids``, which keeps its own.

    Raises
    ------
    BindraeError
        When the dataset or its index cannot be read.
    """
    if settings.layout in ("demo", "ids"):
        return []
    now = Entries(settings.n_batches)
    for entry in LAYOUTS[settings.layout](root):
        row = _row(entry, settings.n_batches)
        if not isinstance(row, RejectedComplex):
            now.add(row)
    then = read_json(layout.batches)
    return [int(number) for number, fingerprint in now.fingerprints().items() if then.get(number) != fingerprint]


def _row(entry: Found, n_batches: int) -> dict[str, Any] | RejectedComplex:
    """The entry with batch, size and time of its files; or what it lacks."""
    size = mtime = 0
    ligands: list[str] = entry["ligand"]
    for what, paths in (("protein", [entry["protein"]]), ("ligand", ligands)):
        there = False
        for path in paths:
            if what == "ligand" and path.startswith(PREFIX):
                try:
                    parse_hetero(path)
                except ValueError as error:
                    return RejectedComplex("ligand_missing", str(error))
                there = True
                continue
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode):
                there = True
                size += status.st_size
                mtime = max(mtime, status.st_mtime_ns)
        if not there:
            return RejectedComplex(f"{what}_missing", f"{paths[0]} does not exist")
    return {
        "id": entry["id"],
        "protein": str(entry["protein"]),
        "ligand": ligands,
        "batch": batch_of(entry["id"], n_batches),
        "source": entry["source"],
        "size": size,
        "mtime": mtime,
    }
