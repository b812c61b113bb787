"""The index: which complexes there are and which batch each belongs to. Reads names and sizes, never contents."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from bindrae.config import IndexSettings
from bindrae.data.layout import DataLayout
from bindrae.data.schema import ENTRIES
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import (
    REJECTED_SCHEMA,
    rejected_path,
    sha256_text,
    write_json,
    write_sidecar,
    write_table,
)
from bindrae.errors import REJECTION_CODES, BindraeError

PROTEIN_SUFFIXES = (
    "_protein.pdb",
    "_protein.pdb.gz",
    "_protein.cif",
    "_protein.cif.gz",
    "_protein.ent",
    "_protein.ent.gz",
)
LIGAND_SUFFIXES = ("_ligand.sdf", "_ligand.sdf.gz", "_ligand.mol", "_ligand.mol2", "_ligand.mol2.gz")
_NOT_COMPLEXES = {"index", "readme"}  # folders that PDBbind puts beside its complexes
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

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
        paths = [Path(str(distribution.locate_file(name))) for name in (protein, ligand)]
        found.append(
            {"id": identifier, "protein": paths[0], "ligand": [paths[1]], "source": f"{package} {distribution.version}"}
        )
    return found


def find_folders(root: Path | None) -> list[Found]:
    """``<id>/<id>_protein.*`` with ``<id>/<id>_ligand.*``, in `root` or in a folder ``coreset`` inside it."""
    root = _existing(root, Path.is_dir, "folder")
    if (root / "coreset").is_dir():
        root = root / "coreset"
    found = []
    with os.scandir(root) as folders:
        names = sorted(
            e.name for e in folders if e.is_dir() and not e.name.startswith(".") and e.name not in _NOT_COMPLEXES
        )
    for name in names:
        with os.scandir(root / name) as files:
            present = {entry.name for entry in files}
        found.append(_assemble(name, root / name, present, root.name))
    return found


def find_pairs(root: Path | None) -> list[Found]:
    """``<id>_protein.*`` and ``<id>_ligand.*`` in one flat folder."""
    root = _existing(root, Path.is_dir, "folder")
    by_id: dict[str, set[str]] = defaultdict(set)
    with os.scandir(root) as files:
        for entry in files:
            for suffix in (*PROTEIN_SUFFIXES, *LIGAND_SUFFIXES):
                if entry.name.endswith(suffix):
                    by_id[entry.name.removesuffix(suffix)].add(entry.name)
    return [_assemble(name, root, by_id[name], root.name) for name in sorted(by_id)]


def find_sheet(root: Path | None) -> list[Found]:
    """A table with columns ``id``, ``protein``, ``ligand``; relative paths are taken from the table's folder."""
    root = _existing(root, Path.is_file, "file")
    readers: dict[str, Callable[..., pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".tsv": pd.read_table,
        ".parquet": pd.read_parquet,
    }
    if root.suffix not in readers:
        raise BindraeError(f"{root}: a sheet ends in .csv, .tsv or .parquet", "rename or convert the sheet")
    kwargs = {} if root.suffix == ".parquet" else {"dtype": str, "keep_default_na": False}
    try:
        sheet = readers[root.suffix](root, **kwargs)
    except ValueError as error:  # what pandas and pyarrow raise for an empty, torn or wrongly encoded table
        raise BindraeError(
            f"{root} cannot be read as a table: {error}", "write the sheet anew; the first line names the columns"
        ) from None
    missing = {"id", "protein", "ligand"} - set(sheet.columns)
    if missing:
        raise BindraeError(
            f"{root} lacks the column(s) {', '.join(sorted(missing))}", "name the columns id, protein, ligand"
        )
    return [
        {
            "id": str(row.id),
            "protein": root.parent / str(row.protein),
            "ligand": [root.parent / str(row.ligand)],
            "source": root.name,
        }
        for row in sheet.itertuples()
    ]


LAYOUTS: dict[str, Callable[[Path | None], list[Found]]] = {
    "demo": find_demo,
    "casf2016": find_folders,
    "pdbbind": find_folders,
    "pairs": find_pairs,
    "sheet": find_sheet,
}
"""How each layout of ``index.layout`` is read."""


def _existing(root: Path | None, test: Callable[[Path], bool], what: str) -> Path:
    if root is None or not test(root):
        raise BindraeError(f"root: {root} is not a {what}", "set `root:` in the config file to where the complexes are")
    return root


def _assemble(name: str, folder: Path, present: set[str], source: str) -> Found:
    def first(suffixes: tuple[str, ...]) -> list[Path]:
        return [folder / (name + suffix) for suffix in suffixes if name + suffix in present]

    return {
        "id": name,
        "protein": (first(PROTEIN_SUFFIXES) or [folder / f"{name}_protein.pdb"])[0],
        "ligand": first(LIGAND_SUFFIXES) or [folder / f"{name}_ligand.sdf"],
        "source": source,
    }


def run_index(layout: DataLayout, root: Path | None, settings: IndexSettings) -> None:
    """Find the complexes, assign batches and write the index.

    Parameters
    ----------
    layout : DataLayout
    root : Path or None
        The dataset's folder or sheet; None for the demo.
    settings : IndexSettings

    Raises
    ------
    BindraeError
        When the folder is missing or holds no complex, or when ids repeat or cannot be file names.
    """
    start = time.monotonic()
    found = LAYOUTS[settings.layout](root)
    if not found:
        raise BindraeError(
            f"{root} holds no complexes in layout '{settings.layout}'",
            "expected <id>/<id>_protein.pdb with <id>/<id>_ligand.sdf; if yours differs, set index.layout",
        )
    _check_ids([entry["id"] for entry in found])
    rows, rejected = [], []
    for entry in found:
        fault = _missing(entry)
        if fault:
            rejected.append(fault)
            continue
        stats = [path.stat() for path in (entry["protein"], *entry["ligand"])]
        rows.append(
            {
                "id": entry["id"],
                "protein": str(entry["protein"]),
                "ligand": [str(path) for path in entry["ligand"]],
                "batch": batch_of(entry["id"], settings.n_batches),
                "source": entry["source"],
                "size": sum(s.st_size for s in stats),
                "mtime": max(s.st_mtime_ns for s in stats),
            }
        )
    if not rows:
        raise BindraeError(
            f"{root}: all {len(rejected)} complexes lack a file, the first: {rejected[0]['message']}",
            rejected[0]["hint"],
        )
    by_batch: dict[int, list[str]] = {number: [] for number in range(settings.n_batches)}
    for row in rows:
        by_batch[row["batch"]].append(f"{row['id']}\t{row['protein']}\t{row['ligand']}\t{row['size']}\t{row['mtime']}")
    write_table(pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    write_json({f"{number}": sha256_text("\n".join(lines)) for number, lines in by_batch.items()}, layout.batches)
    counts = {"in": len(found), "out": len(rows), "rejected": len(rejected)}
    used = {"root": None if root is None else str(root), **settings.model_dump(mode="json")}
    write_sidecar(layout.entries, "index", VERSIONS["index"], used, {}, counts, time.monotonic() - start)
    write_table(pa.Table.from_pylist(rows, schema=ENTRIES), layout.entries)
    print(f"index: {len(rows)} complexes in {settings.n_batches} batches, {len(rejected)} rejected")


def _check_ids(ids: list[str]) -> None:
    unsafe = [i for i in ids if not _SAFE_ID.fullmatch(i)]
    if unsafe:
        raise BindraeError(
            f"{len(unsafe)} id(s) cannot be file names, the first: {unsafe[0]!r}",
            "use letters, digits and . _ + - only",
        )
    repeated = sorted(i for i, count in Counter(ids).items() if count > 1)
    if repeated:
        raise BindraeError(f"id(s) occur more than once: {', '.join(repeated[:5])}", "give each complex its own id")


def _missing(entry: Found) -> dict[str, str] | None:
    for what, paths in (("protein", [entry["protein"]]), ("ligand", entry["ligand"])):
        if not any(path.is_file() for path in paths):
            code = f"{what}_missing"
            return {
                "id": entry["id"],
                "stage": "index",
                "code": code,
                "message": f"{paths[0]} does not exist",
                "hint": REJECTION_CODES[code],
            }
    return None
