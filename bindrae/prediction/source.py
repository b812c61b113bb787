"""All atoms of a protein file as they stand, so that what is not predicted can be written back unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from bindrae.structure.atoms import HYDROGENS, Atoms, read_columns, text

AtomKey = tuple[bytes, int, bytes]


@dataclass
class Source:
    """Flat arrays of the first model, in the order of the file, hydrogens and waters among them."""

    structure: gemmi.Structure  # for the header: cell, symmetry, links
    name: np.ndarray  # [A] S8
    residue_name: np.ndarray  # [A] S8
    chain: np.ndarray  # [A] S8
    number: np.ndarray  # [A] int32
    insertion: np.ndarray  # [A] S1
    altloc: np.ndarray  # [A] S1, b'' without a label
    occupancy: np.ndarray  # [A] float
    bfactor: np.ndarray  # [A] float
    element: np.ndarray  # [A] int, atomic number as gemmi counts
    charge: np.ndarray  # [A] int
    hetero: np.ndarray  # [A] bool
    xyz: np.ndarray  # [A, 3] float64, angstrom
    is_heavy: np.ndarray  # [A] bool, no hydrogen or deuterium
    run: np.ndarray  # [A] runs of one chain, number, insertion code and name, from 0

    def __post_init__(self) -> None:
        self.first = np.flatnonzero(np.diff(self.run, prepend=-1))  # [R] index of each run's first atom
        self._ends = np.append(self.first[1:], len(self.run))

    def atoms_of(self, run: int) -> np.ndarray:
        """Indices of a run's atoms."""
        return np.arange(self.first[run], self._ends[run])

    def key(self, atom: int) -> AtomKey:
        """Chain, number and insertion code of an atom."""
        return bytes(self.chain[atom]), int(self.number[atom]), bytes(self.insertion[atom])


def read_source(path: Path) -> Source:
    """Read every atom of the first model of a PDB or mmCIF file.

    Raises
    ------
    RejectedComplex
        ``protein_missing``, ``protein_unreadable`` or ``protein_empty``.
    """
    structure, columns, _ = read_columns(path)
    run = runs(columns["chain"], columns["number"], columns["insertion"], columns["residue_name"])
    is_heavy = ~np.isin(columns["element"], HYDROGENS)
    return Source(structure=structure, is_heavy=is_heavy, run=run, **columns)


def runs(*columns: np.ndarray) -> np.ndarray:
    """[A] number of the run that each atom belongs to; a run ends where any of the columns changes."""
    changed = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.cumsum(changed)


def runs_of(atoms: Atoms) -> np.ndarray:
    """`runs` of cleaned atoms, by the same labels."""
    return runs(atoms.chain, atoms.number, atoms.insertion, atoms.residue_name)


class Finder:
    """Finds atoms again in another array of the same file, by position (float32), residue name and location.

    Two locations may have the same place; names may have been mended since, so position alone is the second try.

    Parameters
    ----------
    atoms : Source or Atoms
        Where to find them.
    """

    def __init__(self, atoms: Source | Atoms) -> None:
        self._at: dict[bytes | tuple[bytes, bytes, bytes], int] = {}
        labels = zip(atoms.residue_name.tolist(), atoms.altloc.tolist(), strict=True)
        for i, (point, label) in enumerate(zip(np.ascontiguousarray(atoms.xyz, np.float32), labels, strict=True)):
            self._at.setdefault((point.tobytes(), *label), i)
            self._at.setdefault(point.tobytes(), i)

    def find(self, xyz: np.ndarray, names: list[str], altlocs: list[bytes]) -> np.ndarray:
        """Index of each of N atoms: [N, 3] positions, residue names and alternate locations."""
        found = []
        for point, name, altloc in zip(np.ascontiguousarray(xyz, np.float32), names, altlocs, strict=True):
            key = point.tobytes()
            found.append(self._at.get((key, name.encode("latin-1"), altloc), self._at[key]))
        return np.array(found, dtype=np.int64)


def one_location(source: Source, index: np.ndarray, prefer: bytes = b"") -> np.ndarray:
    """Atoms of one position in the file, in one alternate location.

    Parameters
    ----------
    source : Source
    index : numpy.ndarray
        Atoms under one chain, number and insertion code.
    prefer : bytes
        The location to take; empty for that of the highest mean occupancy, of equal ones the first label.

    Returns
    -------
    numpy.ndarray
        Those without a label and those of the location.
    """
    labels = source.altloc[index]
    present = sorted(set(labels[labels != b""].tolist()))
    if not present:
        return index
    if prefer not in present:
        mean = [round(float(source.occupancy[index[labels == label]].mean()), 3) for label in present]
        prefer = present[int(np.argmax(mean))]
    return index[(labels == b"") | (labels == prefer)]


def place(chain: bytes, number: int, insertion: bytes) -> str:
    """``A:123B`` of a residue, as the option ``--fix`` takes it."""
    return f"{text(chain).strip()}:{number}{text(insertion).strip()}"
