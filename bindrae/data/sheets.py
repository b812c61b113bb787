"""Lists of complexes that a user writes: sheets of paths, and lists of PDB ids."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bindrae.chem.hetero import PREFIX, parse_hetero
from bindrae.errors import BindraeError

if TYPE_CHECKING:
    import pandas as pd

_PDB_ID = re.compile(r"[0-9][A-Za-z0-9]{3}|(pdb_)[0-9A-Za-z]{8}", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def existing(root: Path | None, test: Callable[[Path], bool], what: str) -> Path:
    """The dataset's folder or file.

    Raises
    ------
    BindraeError
        When it is not there, or of the wrong kind.
    """
    if root is None or not test(root):
        raise BindraeError(f"root: {root} is not a {what}", "set `root:` in the config file to where the complexes are")
    return root


def read_sheet(path: Path) -> pd.DataFrame:
    """A CSV, TSV or parquet table, all columns of text files as text.

    Raises
    ------
    BindraeError
        When the file is none of these, or is torn.
    """
    import pandas as pd  # a fifth of a second that the prediction of a single complex does without

    readers: dict[str, Callable[..., pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".tsv": pd.read_table,
        ".parquet": pd.read_parquet,
    }
    if path.suffix not in readers:
        raise BindraeError(f"{path}: a sheet ends in .csv, .tsv or .parquet", "rename or convert the sheet")
    kwargs = {} if path.suffix == ".parquet" else {"dtype": str, "keep_default_na": False}
    try:
        return readers[path.suffix](path, **kwargs)
    except ValueError as error:  # what pandas and pyarrow raise for an empty, torn or wrongly encoded table
        raise BindraeError(
            f"{path} cannot be read as a table: {error}", "write the sheet anew; the first line names the columns"
        ) from None


@dataclass(frozen=True)
class Wanted:
    """One entry to fetch."""

    id: str
    ligand: str | None = None  # hetatm:NAME[/CHAIN[/NUMBER]]; None leaves the choice to `choose_ligand`
    sha256: str | None = None


def _read_list(path: Path) -> list[Wanted]:
    """Entries named in a text file.

    Parameters
    ----------
    path : Path
        One a line: ``id [ligand_code [chain [number]]]``; a # begins a comment.

    Raises
    ------
    BindraeError
        When an id or a ligand has another form.
    """
    wanted = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise BindraeError(
            f"{path} is not a text file", "list one PDB id a line, or name a .csv, .tsv or .parquet"
        ) from None
    for number, line in enumerate(lines, start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) > 4:
            raise BindraeError(f"{path}, line {number}: more than four words", "write: id ligand_code chain number")
        wanted.append(_wanted(fields[0], "/".join(fields[1:]), "", f"{path}, line {number}"))
    return wanted


def _read_id_sheet(sheet: pd.DataFrame, path: Path) -> list[Wanted]:
    """Entries named in a table with the column ``id`` and, optionally, ``ligand`` and ``sha256``."""
    if "id" not in sheet.columns:
        raise BindraeError(f"{path} lacks the column id", "name the columns id and, optionally, ligand and sha256")
    columns = [
        sheet[name].fillna("").astype(str) if name in sheet.columns else [""] * len(sheet)
        for name in ("id", "ligand", "sha256")
    ]
    return [
        _wanted(identifier, ligand, sha256, f"{path}, row {number}")
        for number, (identifier, ligand, sha256) in enumerate(zip(*columns, strict=True), start=1)
    ]


def _wanted(identifier: str, ligand: str, sha256: str, where: str) -> Wanted:
    identifier, ligand, sha256 = identifier.strip(), ligand.strip(), sha256.strip().lower()
    if not _PDB_ID.fullmatch(identifier):
        raise BindraeError(
            f"{where}: {identifier!r} is not a PDB id", "layout `ids` takes ids such as 1iep or pdb_00001iep"
        )
    if sha256 and not _SHA256.fullmatch(sha256):
        raise BindraeError(f"{where}: {sha256!r} is not a SHA-256", "give 64 hexadecimal digits, or leave it out")
    if ligand:
        try:
            ligand = str(parse_hetero(ligand if ligand.startswith(PREFIX) else PREFIX + ligand))
        except ValueError as error:
            raise BindraeError(
                f"{where}: {error}", "name the residue of the ligand, such as STI or STI/A/201"
            ) from None
    return Wanted(identifier, ligand or None, sha256 or None)


def read_ids(root: Path | None) -> list[Wanted]:
    """The entries that layout ``ids`` asks for: a text file with one a line, or a table with a column ``id``."""
    root = existing(root, Path.is_file, "file")
    if root.suffix in (".csv", ".tsv", ".parquet"):
        return _read_id_sheet(read_sheet(root), root)
    return _read_list(root)
