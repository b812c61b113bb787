"""Finding what belongs together: predictions in one folder, true complexes in another."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bindrae.data.index import LIGAND_SUFFIXES, PROTEIN_SUFFIXES
from bindrae.data.sheets import read_sheet
from bindrae.errors import BindraeError

PREDICTION_SUFFIXES = tuple(
    part + ending + packed
    for part in ("", "_protein")
    for ending in (".pdb", ".cif", ".mmcif", ".ent")
    for packed in ("", ".gz")
)
"""Endings of a predicted file behind its id, best first."""


@dataclass(frozen=True)
class Pair:
    """One true complex and its predictions."""

    id: str
    protein: Path
    ligand: list[str]  # best first; empty for none
    predictions: list[Path | None] = field(default_factory=list)  # one for each folder; None where it has none


def find_truths(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """Protein and ligand files of the complexes in a folder, by id.

    ``<id>_protein.pdb`` beside ``<id>_ligand.sdf``, in `folder` itself, in a folder ``<id>`` of it, or so in a folder
    ``coreset`` inside it; also mmCIF and MOL2.

    Raises
    ------
    BindraeError
        When there is none.
    """
    if not folder.is_dir():
        raise BindraeError(f"{folder} is not a folder", "with --dir, name the folder of predictions and that of truths")
    root = folder / "coreset" if (folder / "coreset").is_dir() else folder
    names = sorted(os.listdir(root))
    found: dict[str, tuple[Path, list[str]]] = {}
    flat = set(names)
    for name in names:
        suffix = next((s for s in PROTEIN_SUFFIXES if name.endswith(s)), None)
        if suffix:
            identifier = name.removesuffix(suffix)
            found[identifier] = _files(root, identifier, flat)
        elif (root / name).is_dir():
            inside = set(os.listdir(root / name))
            if any(name + s in inside for s in PROTEIN_SUFFIXES):
                found[name] = _files(root / name, name, inside)
    if not found:
        raise BindraeError(
            f"{folder} holds no true complex",
            "expected <id>_protein.pdb with <id>_ligand.sdf, there or in folders <id>",
        )
    return dict(sorted(found.items()))


def _files(folder: Path, identifier: str, present: set[str]) -> tuple[Path, list[str]]:
    protein = next(identifier + s for s in PROTEIN_SUFFIXES if identifier + s in present)
    ligands = [str(folder / (identifier + s)) for s in LIGAND_SUFFIXES if identifier + s in present]
    return folder / protein, ligands


def find_prediction(folder: Path, identifier: str) -> Path | None:
    """``<id>.pdb`` (or ``.cif``, or ``<id>_protein.pdb``) in `folder` or in its folder ``<id>``; None for neither."""
    for suffix in PREDICTION_SUFFIXES:
        for path in (folder / (identifier + suffix), folder / identifier / (identifier + suffix)):
            if path.is_file():
                return path
    return None


def unmatched_predictions(folder: Path, truth: Path) -> list[str]:
    """Structure files of a folder of predictions that belong to no true complex: nobody scores them."""
    ids = set(find_truths(truth))
    found = []
    for name in sorted(os.listdir(folder)):
        endings = [s for s in PREDICTION_SUFFIXES if name.endswith(s)]
        if endings and not any(name.removesuffix(s) in ids for s in endings):
            found.append(name)
    return found


def read_id_list(path: Path) -> list[str]:
    """Ids of a text file, one a line (a # begins a comment), or of the column ``id`` of a table.

    Raises
    ------
    BindraeError
        When the file is missing, is no text or table, or names nothing.
    """
    if not path.is_file():
        raise BindraeError(f"{path} does not exist", "--ids takes a text file with one id a line, or a table")
    if path.suffix in (".csv", ".tsv", ".parquet"):
        table = read_sheet(path)
        ids = table["id"].astype(str).tolist() if "id" in table.columns else []
    else:
        try:
            ids = [word for line in path.read_text().splitlines() for word in line.partition("#")[0].split()[:1]]
        except UnicodeDecodeError:
            raise BindraeError(f"{path} is not a text file", "write one id a line") from None
    if not ids:
        raise BindraeError(f"{path} names no complex", "write one id a line, or a table with a column id")
    return list(dict.fromkeys(ids))


def find_pairs(folders: list[Path], truth: Path, ids: list[str] | None) -> list[Pair]:
    """The true complexes with what each folder predicts for them.

    Parameters
    ----------
    folders : list of Path
        Of predictions.
    truth : Path
        Folder of true complexes, see `find_truths`.
    ids : list of str, optional
        The complexes to score; all of `truth` by default.

    Raises
    ------
    BindraeError
        When a folder is missing or holds no prediction at all, or an id has no true complex.
    """
    truths = find_truths(truth)
    unknown = [i for i in ids or [] if i not in truths]
    if unknown:
        raise BindraeError(
            f"{len(unknown)} of {len(ids or [])} ids have no true complex in {truth}, the first: {unknown[0]}",
            "check the list of ids, or the folder",
        )
    wanted = list(truths) if ids is None else sorted(ids)
    for folder in folders:
        if not folder.is_dir():
            raise BindraeError(f"{folder} is not a folder", "with --dir, name folders of predictions")
    pairs = [Pair(i, *truths[i], [find_prediction(folder, i) for folder in folders]) for i in wanted]
    for k, folder in enumerate(folders):
        if not any(pair.predictions[k] for pair in pairs):
            raise BindraeError(
                f"{folder} holds no prediction for any of the {len(pairs)} complexes",
                f"name the files <id>.pdb or <id>.cif, such as {wanted[0]}.pdb",
            )
    return pairs


def read_clusters(path: Path, ids: list[str]) -> dict[str, str]:
    """Cluster of each complex, from a table with the columns ``id`` and ``cluster``.

    Raises
    ------
    BindraeError
        When the table is missing, lacks a column or a complex.
    """
    if not path.is_file():
        raise BindraeError(f"{path} does not exist", "--clusters takes a table such as split.parquet")
    table = read_sheet(path)
    if not {"id", "cluster"} <= set(table.columns):
        raise BindraeError(f"{path} lacks the columns id and cluster", "name a table such as split.parquet")
    clusters = dict(zip(table["id"].astype(str), table["cluster"].astype(str), strict=True))
    missing = [i for i in ids if i not in clusters]
    if missing:
        raise BindraeError(
            f"{path} has no cluster for {len(missing)} complexes, the first: {missing[0]}",
            "name the table of this dataset, or score the complexes that it holds with --ids",
        )
    return {i: clusters[i] for i in ids}
