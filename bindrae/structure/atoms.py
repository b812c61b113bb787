"""Reading a protein file into flat atom arrays, and putting its atoms together into residues."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import gemmi
import numpy as np

from bindrae.chem import residues as aa
from bindrae.errors import RejectedComplex
from bindrae.files import TooLargeError, read_limited
from bindrae.structure.names import FOUR_LETTERS, WATER_NAMES
from bindrae.structure.notes import Notes, note
from bindrae.structure.pdb_lines import PdbLines

HYDROGENS = (1, 119)
"""Atomic numbers of hydrogen and deuterium; gemmi's flat arrays give the latter a number of its own."""
_ELEMENTS = {"C": 6, "N": 7, "O": 8, "S": 16}
_PDB_ENDINGS = (".pdb", ".ent", ".pdb1", ".pdbqt", ".brk")
_CIF_ENDINGS = (".cif", ".mmcif", ".pdbx")
MAX_COORDINATE = 1e5
"""Coordinates beyond this (A) are no numbers of a crystal: neither format writes them, float32 cannot resolve them."""
MAX_BYTES = 2**29
"""Files with more text, unpacked, are not parsed: over six million lines of a PDB file."""
MAX_ATOMS = 3_000_000
"""Models with more atoms are not looked at: ten times what 20,000 residues have."""
_SMALLER = "leave out the waters and chains that are not needed"
_COLUMNS = (
    "name", "residue_name", "chain", "number", "insertion", "altloc", "occupancy", "bfactor", "element", "charge",
    "hetero", "xyz",
)  # fmt: skip


@dataclass
class Atoms:
    """Flat atom arrays of one model, heavy atoms only, waters gone; the raw material of the table."""

    name: np.ndarray  # [A] S8
    residue_name: np.ndarray  # [A] S8
    chain: np.ndarray  # [A] S8
    number: np.ndarray  # [A] int32
    insertion: np.ndarray  # [A] S1
    altloc: np.ndarray  # [A] S1
    occupancy: np.ndarray  # [A] float32
    bfactor: np.ndarray  # [A] float32
    element: np.ndarray  # [A] int16, atomic number
    charge: np.ndarray  # [A] int8
    hetero: np.ndarray  # [A] bool
    xyz: np.ndarray  # [A, 3] float32
    resolution: float | None = None  # angstrom, from the header
    parents: dict[str, str] = field(default_factory=dict)  # parent of modified residues, from the header
    notes: Notes = field(default_factory=dict)  # what reading had to mend

    def select(self, index: np.ndarray) -> Atoms:
        """The same arrays for some atoms."""
        return replace(self, **{name: getattr(self, name)[index] for name in _COLUMNS})


def read_atoms(path: Path) -> Atoms:
    """Read the first model of a PDB or mmCIF file (also gzipped) as flat arrays.

    The content decides the format, whatever the name ends with. Hydrogens and waters are left out.

    Raises
    ------
    RejectedComplex
        ``protein_missing``, ``protein_unreadable`` or ``protein_empty``.
    """
    structure, columns, models = read_columns(path, heavy=True)
    notes: Notes = {}
    note(notes, "models_dropped", models - 1)
    resolution = float(structure.resolution)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and a missing atom
        columns |= {name: columns[name].astype(np.float32) for name in ("occupancy", "bfactor", "xyz")}
    atoms = Atoms(
        **columns,
        resolution=resolution if 0 < resolution < 100 else None,
        parents=_parents(structure),
        notes=notes,
    )
    return _mend(atoms)


def read_columns(path: Path, heavy: bool = False) -> tuple[gemmi.Structure, dict[str, np.ndarray], int]:
    """Read the first model of a PDB or mmCIF file.

    Parameters
    ----------
    path : Path
    heavy : bool
        Hydrogens may be missing, which is faster.

    Returns
    -------
    structure : gemmi.Structure
        With this model alone.
    columns : dict of str to numpy.ndarray
        [A] what the file says of each atom, in its order, named as in `Atoms`; numbers as gemmi has them.
    models : int
        How many the file has.

    Raises
    ------
    RejectedComplex
        ``protein_missing``, ``protein_unreadable`` or ``protein_empty``.
    """
    if not os.path.isfile(path):  # also False for what can be no name of a file
        raise RejectedComplex("protein_missing", f"{path} does not exist")
    structure, shuffled = parse_structure(path, heavy)
    models = len(structure)
    while len(structure) > 1:
        del structure[-1]
    try:
        flat = gemmi.FlatStructure(structure)
    except RuntimeError as error:
        raise RejectedComplex("protein_unreadable", f"{path}: {error}") from None
    if not len(flat):
        raise RejectedComplex("protein_empty", f"{path} holds no atoms")
    flat.strings_as_numbers = False
    columns = {
        "name": np.asarray(flat.atom_names),
        "residue_name": np.asarray(flat.residue_names),
        "chain": np.asarray(flat.chain_ids),
        "number": flat.resnums.astype(np.int32),
        "insertion": flat.icodes.view("S1"),
        "altloc": flat.altlocs.view("S1"),
        "occupancy": np.asarray(flat.occ),
        "bfactor": np.asarray(flat.b_iso),
        "element": flat.elements.astype(np.int16),
        "charge": flat.charge.astype(np.int8),
        "hetero": flat.het_flags == ord("H"),
        "xyz": np.asarray(flat.pos, dtype=np.float64),
    }
    if shuffled:
        order = np.argsort(flat.serials, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
    return structure, columns, models


def _parents(structure: gemmi.Structure) -> dict[str, str]:
    stated = ((m.res_id.name, m.parent_comp_id) for m in structure.mod_residues)
    return {name: parent for name, parent in stated if parent in aa.TYPE_OF_NAME}


def parse_structure(path: Path, heavy: bool = False) -> tuple[gemmi.Structure, bool]:
    """gemmi's structure, and whether only the serial numbers tell the order of the file's atoms.

    Every fault of the file is a rejection. With `heavy`, hydrogens may be missing.
    """
    try:
        data = read_limited(path, MAX_BYTES)
    except TooLargeError as error:
        raise RejectedComplex("protein_too_large", str(error), _SMALLER) from None
    except (OSError, EOFError, zlib.error) as error:
        raise RejectedComplex("protein_unreadable", f"{path}: {error}") from None
    if b"\0" in data:
        raise RejectedComplex("protein_unreadable", f"{path} is a binary file")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # line ends of old Macintosh programs
    name = path.name.lower().removesuffix(".gz")
    beginning = io.BytesIO(data[:100_000])
    start = next((line.lower() for line in beginning if line.strip() and line[:1] != b"#"), b"")
    if start.lstrip().startswith(b"data_"):
        form = gemmi.CoorFormat.Mmcif
    elif name.endswith(_PDB_ENDINGS) or b"\nATOM  " in data or data.startswith(b"ATOM  "):
        form = gemmi.CoorFormat.Pdb
    elif name.endswith(_CIF_ENDINGS):
        form = gemmi.CoorFormat.Mmcif
    else:
        raise RejectedComplex("protein_unreadable", f"{path}: neither name nor content is that of PDB or mmCIF")
    lines = PdbLines(data) if form == gemmi.CoorFormat.Pdb else None
    numbered = lines.numbered() if lines else None
    fewer = lines.without_hydrogens() if lines and heavy and not numbered else None
    try:
        structure = gemmi.read_structure_string(fewer or numbered or data, merge_chain_parts=False, format=form)
    except (RuntimeError, ValueError, MemoryError, IndexError, OverflowError) as error:
        message = " ".join(str(error).split())[:300]  # gemmi quotes the line, whatever bytes it holds
        raise RejectedComplex("protein_unreadable", f"{path}: {message}") from None
    if len(structure) and (count := structure[0].count_atom_sites()) > MAX_ATOMS:
        raise RejectedComplex("protein_too_large", f"{path} holds {count:,} atoms, more than {MAX_ATOMS:,}", _SMALLER)
    return structure, numbered is not None or form == gemmi.CoorFormat.Mmcif


def _mend(atoms: Atoms) -> Atoms:
    """Numbers that are none, fourth letters of residue names, elements; then hydrogens and waters go."""
    notes = atoms.notes
    near = np.abs(atoms.xyz) < MAX_COORDINATE  # False for what is no number
    finite = near[:, 0] & near[:, 1] & near[:, 2]
    note(notes, "coordinates_unreadable", np.count_nonzero(~finite))
    broken = ~(np.isfinite(atoms.occupancy) & np.isfinite(atoms.bfactor))
    note(notes, "occupancies_or_bfactors_unreadable", np.count_nonzero(broken))
    if broken.any():
        atoms.occupancy = np.nan_to_num(atoms.occupancy, posinf=0.0, neginf=0.0)
        atoms.bfactor = np.nan_to_num(atoms.bfactor, posinf=0.0, neginf=0.0)
    _join_fourth_letters(atoms)

    names, which = unique_labels(atoms.residue_name)
    standard = np.array([aa.ALIASES.get(text(name), text(name)) in aa.TYPE_OF_NAME or name == b"MSE" for name in names])
    water = np.array([name in WATER_NAMES for name in names])
    # In an amino acid the name of an atom says its element; the column may be blank, shifted or wrong (CA, HG).
    atom_names, named = unique_labels(atoms.name)
    by_name = np.array([_element_of_name(name) for name in atom_names.tolist()], dtype=np.int16)[named]
    known = standard[which] & (by_name > 0)
    wrong = known & (by_name != atoms.element) & ~((by_name == 1) & _is_hydrogen(atoms.element))
    note(notes, "elements_corrected", np.count_nonzero(wrong))
    element = np.where(wrong, by_name, atoms.element).astype(np.int16)
    atoms = replace(atoms, element=element)
    return atoms.select(np.flatnonzero(finite & ~_is_hydrogen(element) & ~water[which]))


def _is_hydrogen(element: np.ndarray) -> np.ndarray:
    return np.asarray((element == HYDROGENS[0]) | (element == HYDROGENS[1]))


@lru_cache(maxsize=10_000)
def _element_of_name(label: bytes) -> int:
    """Atomic number that an atom name means within one of the 20 amino acids (or MSE); 0 when it means none."""
    name = text(label)
    if name == "SE":
        return 34
    if name in _SLOT_NAMES or name == "OXT":
        return _ELEMENTS[name[0]]
    return 1 if name.lstrip("0123456789")[:1] in ("H", "D") else 0


_SLOT_NAMES = frozenset(name for names in aa.ATOM14_NAMES for name in names if name)


def _join_fourth_letters(atoms: Atoms) -> None:
    """``ASPP`` in chain A reads as ASP in chain PA, as does the water TIP3: give the letter back to the name."""
    first = np.append(0, np.flatnonzero(changes(atoms.chain) | changes(atoms.residue_name)) + 1)
    pairs = set(zip(atoms.chain[first].tolist(), atoms.residue_name[first].tolist(), strict=True))
    chains = {chain for chain, _ in pairs}
    fourth = {pair for pair in pairs if text(pair[1]) + text(pair[0][:1]) in FOUR_LETTERS}
    for chain, name in sorted(fourth):
        # Where the file has chain "A", "PA" is a letter and a chain; where it has blank ones, so is "P" that holds
        # nothing but such names.
        if chain[1:] in chains and all(pair in fourth for pair in pairs if pair[0] == chain):
            here = np.flatnonzero((atoms.chain == chain) & (atoms.residue_name == name))
            note(atoms.notes, "four_letter_names_joined", len(here))
            atoms.residue_name[here] = name + chain[:1]
            atoms.chain[here] = chain[1:]


def text(value: bytes) -> str:
    """A label as text; bytes that are no ASCII stand for themselves, so that any file can be named."""
    return value.decode("latin-1")


def texts(labels: np.ndarray) -> list[str]:
    """Each of some S1 or S8 labels as text, see `text`."""
    names, which = unique_labels(labels)
    found: list[str] = np.array([text(name) for name in names], dtype=object)[which].tolist()
    return found


def changes(labels: np.ndarray) -> np.ndarray:
    """[A - 1] whether each of A labels, S1 or S8, is another than the one before."""
    codes = label_codes(labels)
    return np.asarray(codes[1:] != codes[:-1])


def label_codes(labels: np.ndarray) -> np.ndarray:
    """S1 or S8 labels as integers, which sort and compare several times faster."""
    return np.ascontiguousarray(labels).view(np.uint8 if labels.itemsize == 1 else np.int64)


def unique_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`numpy.unique` with the inverse for S1 or S8 labels, in the order of `label_codes`."""
    codes = label_codes(labels)
    starts = np.append(True, codes[1:] != codes[:-1])[: len(codes)]
    found, which = np.unique(codes[starts], return_inverse=True)  # names of residues come in runs
    return found.view(labels.dtype), which.ravel()[np.cumsum(starts) - 1]
