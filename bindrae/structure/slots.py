"""From the atoms of a residue to the slots of its type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.structure.atoms import Atoms, text, unique_labels
from bindrae.structure.names import is_d_residue, residue_type, type_from_atoms

_FRAME = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]


@dataclass
class Slots:
    """atom14 arrays of all R groups of a file, residues or not."""

    kind: np.ndarray  # [R] int64, type 0-20; -1 for what is no amino acid
    named: np.ndarray  # [R] bool, the name is that of an amino acid
    guessed: np.ndarray  # [R] bool, an unknown name, but N, CA and C are there
    mirror_named: np.ndarray  # [R] bool, the name is that of a D-amino acid
    xyz: np.ndarray  # [R, 14, 3] float32, angstrom
    mask: np.ndarray  # [R, 14] bool
    bfactor: np.ndarray  # [R, 14] float32
    empty: np.ndarray  # [R, 14] bool, filled by an atom of occupancy 0
    lost: np.ndarray  # [R] int64, heavy atoms that found no slot
    polymer: np.ndarray  # [R] bool, becomes a row of the table
    unusable: np.ndarray  # [R] bool, neither a row nor context

    @property
    def has_frame(self) -> np.ndarray:
        """[R] bool, an amino acid with N, CA and C."""
        return np.asarray((self.kind >= 0) & self.mask[:, _FRAME].all(axis=1))

    def erase(self, rows: np.ndarray, which: np.ndarray) -> None:
        """Take atoms for missing.

        Parameters
        ----------
        rows : numpy.ndarray
            [K] indices of residues.
        which : numpy.ndarray
            [K, 14] or [14] slots.
        """
        gone = np.zeros_like(self.mask)
        gone[rows] = which
        self.mask &= ~gone
        self.empty &= ~gone
        self.xyz[gone], self.bfactor[gone] = 0.0, 0.0


def fill_slots(atoms: Atoms, residue: np.ndarray, first: np.ndarray, settings: CleanSettings) -> Slots:
    """Sort the atoms of every residue into the slots of its type.

    Parameters
    ----------
    atoms : Atoms
        One location and one atom of each name a residue.
    residue : numpy.ndarray
        [A] residue index of each atom, non-decreasing from 0.
    first : numpy.ndarray
        [R] index of each residue's first atom.
    settings : CleanSettings
    """
    n = len(first)
    names, which = unique_labels(atoms.residue_name[first])
    types = [residue_type(text(name), settings, atoms.parents) for name in names]
    kind = np.array([-1 if t is None else t for t in types], dtype=np.int64)[which]
    mirrored = np.array([is_d_residue(text(name)) for name in names], dtype=bool)[which]
    named = kind >= 0
    guessed = _guess_types(atoms, residue, kind)
    if settings.d_residues == "context":
        kind[mirrored] = -1
        named &= ~mirrored

    # One lookup for each residue name, type (a guess may differ from its namesakes) and atom name of the file.
    atom_names, named_atom = unique_labels(atoms.name)
    codes = ((which * (aa.N_TYPES + 1) + kind + 1)[residue]) * len(atom_names) + named_atom
    unique, inverse = np.unique(codes, return_inverse=True)
    groups, atom = np.divmod(unique, len(atom_names))
    group_name, group_kind = np.divmod(groups, aa.N_TYPES + 1)
    labels = zip((group_kind - 1).tolist(), names[group_name].tolist(), atom_names[atom].tolist(), strict=True)
    slot = np.array([_slot(*label) for label in labels], dtype=np.int64)[inverse.ravel()]
    slot[(slot == aa.SLOT_CB) & mirrored[residue]] = -1  # an L type's CB has no place for it
    placed = slot >= 0
    where = residue[placed], slot[placed]
    out = Slots(
        kind=kind,
        named=named,
        guessed=guessed,
        mirror_named=mirrored,
        xyz=np.zeros((n, aa.N_SLOTS, 3), dtype=np.float32),
        mask=np.zeros((n, aa.N_SLOTS), dtype=bool),
        bfactor=np.zeros((n, aa.N_SLOTS), dtype=np.float32),
        empty=np.zeros((n, aa.N_SLOTS), dtype=bool),
        # OXT is the second oxygen of a C terminus: real, but no slot of atom14 holds it.
        lost=np.bincount(residue[~placed & (atoms.name != b"OXT")], minlength=n),
        polymer=np.zeros(n, dtype=bool),
        unusable=np.zeros(n, dtype=bool),
    )
    out.xyz[where] = atoms.xyz[placed]
    out.mask[where] = True
    out.bfactor[where] = atoms.bfactor[placed]
    out.empty[where] = atoms.occupancy[placed] <= 0
    return out


@lru_cache(maxsize=100_000)
def _slot(kind: int, residue_name: bytes, name: bytes) -> int:
    if kind < 0:
        return -1
    atom = aa.ATOM_ALIASES.get(text(residue_name), {}).get(text(name), text(name))
    names = aa.ATOM14_NAMES[kind]
    return names.index(atom) if atom in names else -1


def _guess_types(atoms: Atoms, residue: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Give a type to groups under an unknown name that have N, CA and C; sets `kind`, returns which."""
    guessed = np.zeros(len(kind), dtype=bool)
    foreign = np.flatnonzero((kind < 0)[residue])
    if not len(foreign):
        return guessed
    frame = foreign[np.isin(atoms.name[foreign], (b"N", b"CA", b"C"))]
    for group in np.flatnonzero(np.bincount(residue[frame], minlength=len(kind)) == 3):
        names = frozenset(text(name) for name in atoms.name[foreign[residue[foreign] == group]].tolist()) - {"OXT"}
        found = type_from_atoms(names)
        kind[group] = aa.UNKNOWN if found is None else found
        guessed[group] = True
    return guessed
