"""What stands beside the residues: the ligand's copies and bonds, metals, cofactors, nucleotides, far chains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import gemmi
import numpy as np

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_TOLERANCE
from bindrae.structure.atoms import Atoms, text, texts
from bindrae.structure.names import ION_CHARGES, ion_element, ion_name, is_nucleotide
from bindrae.structure.notes import Notes, note
from bindrae.structure.vectors import inside, squared_distances

_BLOCK = 2_000_000  # distances held at once
_ON_LIGAND = 0.5  # an atom this close to one of the ligand's is the same atom (A)
# Covalent radii of Cordero et al. (Dalton Trans. 2008, 2832); metals bind by coordination and are left out.
_COVALENT_RADII = {5: 0.84, 6: 0.76, 7: 0.71, 8: 0.66, 14: 1.11, 15: 1.07, 16: 1.05, 33: 1.19, 34: 1.20}
_BOND_SLACK = 0.25
_SLOT_ELEMENTS = {"": 0, "C": 6, "N": 7, "O": 8, "S": 16}
_SLOT_ATOMIC_NUMBER = np.vectorize(_SLOT_ELEMENTS.__getitem__)(aa.ATOM14_ELEMENT)
_MIN_FRAGMENT = 4  # fewer atoms of an amino acid than this are no molecule of their own


@dataclass
class ContextAtoms:
    """Atoms near the pocket that are neither residues nor the ligand: metals, cofactors, further ligands."""

    element: np.ndarray  # [K] int16
    charge: np.ndarray  # [K] int8
    xyz: np.ndarray  # [K, 3] float32
    residue_name: list[str]
    ligand_link: np.ndarray  # [L, 3] int32, bonds of the ligand with the protein: row, slot, ligand atom


def nearest_ligand_distance(xyz: np.ndarray, mask: np.ndarray, ligand_xyz: np.ndarray, beyond: float) -> np.ndarray:
    """Smallest distance from each residue's atoms to the ligand.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, S, 3] atoms (A).
    mask : numpy.ndarray
        [N, S] which of them exist.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A).
    beyond : float
        Residues farther from the ligand's bounding box than this need no exact value (A).

    Returns
    -------
    numpy.ndarray
        [N] float32; infinity for residues beyond.
    """
    return np.asarray(atom_ligand_distance(xyz, mask, ligand_xyz, beyond).min(axis=1))


def atom_ligand_distance(xyz: np.ndarray, mask: np.ndarray, ligand_xyz: np.ndarray, beyond: float) -> np.ndarray:
    """Distance of each atom to the nearest of the ligand's; arguments as `nearest_ligand_distance`.

    Returns
    -------
    numpy.ndarray
        [N, S] float32; infinity for atoms that do not exist or lie beyond.
    """
    nearest = np.full(xyz.shape[:2], np.inf, dtype=np.float32)
    there = _in_box(xyz, mask, ligand_xyz, beyond)
    nearest[there] = nearest_distance(xyz[there], ligand_xyz)
    return nearest


def _in_box(xyz: np.ndarray, mask: np.ndarray, ligand_xyz: np.ndarray, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = ligand_xyz.min(axis=0) - beyond, ligand_xyz.max(axis=0) + beyond
    rows, slots = np.nonzero(mask & inside(xyz, low, high))
    return rows, slots


def nearest_distance(points: np.ndarray, ligand_xyz: np.ndarray) -> np.ndarray:
    """[P] float32 distance (A) of each point to the nearest of the ligand's atoms; memory is bounded."""
    step = max(_BLOCK // max(len(ligand_xyz), 1), 1)
    blocks = [squared_distances(ligand_xyz, points[i : i + step]).min(axis=0) for i in range(0, len(points), step)]
    return np.sqrt(np.concatenate(blocks), dtype=np.float32) if blocks else np.zeros(0, dtype=np.float32)


def copies_of_ligand(xyz: np.ndarray, first: np.ndarray, ligand_xyz: np.ndarray) -> np.ndarray:
    """Residues at least half of whose atoms lie on atoms of the ligand (within 0.5 A).

    Parameters
    ----------
    xyz : numpy.ndarray
        [A, 3] atoms (A).
    first : numpy.ndarray
        [R] index of each residue's first atom.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A).

    Returns
    -------
    numpy.ndarray
        [R] bool.
    """
    if not len(first):
        return np.zeros(0, dtype=bool)
    low, high = ligand_xyz.min(axis=0) - _ON_LIGAND, ligand_xyz.max(axis=0) + _ON_LIGAND
    near = np.flatnonzero(inside(xyz, low, high))
    on = np.zeros(len(xyz))
    on[near] = nearest_distance(xyz[near], ligand_xyz) < _ON_LIGAND
    return np.asarray(np.add.reduceat(on, first) / np.diff(np.append(first, len(xyz))) >= 0.5)


def ligand_contacts(
    xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, ligand_xyz: np.ndarray, ligand_element: np.ndarray
) -> tuple[np.ndarray, float]:
    """Bonds of the ligand with the protein, and the share of its atoms that clash.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] and [N, 14] heavy atoms (A).
    aatype : numpy.ndarray
        [N] types 0-20.
    ligand_xyz, ligand_element : numpy.ndarray
        [M, 3] positions (A) and [M] atomic numbers.

    Returns
    -------
    link : numpy.ndarray
        [L, 3] int32: row, slot and ligand atom closer than the sum of their covalent radii + 0.25 A.
    clash : float
        Share of the ligand's heavy atoms closer to a protein atom than the sum of the Bondi radii - 0.6 A; a bonded
        atom and its pairs do not count.
    """
    rows, slots = _in_box(xyz, mask, ligand_xyz, 4.0)
    if not len(rows):
        return np.zeros((0, 3), dtype=np.int32), 0.0
    links, clashing = [], np.zeros(len(ligand_xyz), dtype=bool)
    step = max(_BLOCK // len(ligand_xyz), 1)
    for start in range(0, len(rows), step):
        r, s = rows[start : start + step], slots[start : start + step]
        distance = np.sqrt(squared_distances(xyz[r, s], ligand_xyz))
        element = _SLOT_ATOMIC_NUMBER[aatype[r], s]
        bonded = distance < _covalent(element)[:, None] + _covalent(ligand_element)[None] + _BOND_SLACK
        atom, partner = np.nonzero(bonded)
        links.append(np.stack([r[atom], s[atom], partner], axis=1))
        reach = aa.ATOM14_RADIUS[aatype[r], s][:, None] + _bondi(ligand_element)[None] - CLASH_TOLERANCE
        clashing |= ((distance < reach) & ~bonded.any(axis=1)[:, None] & ~bonded.any(axis=0)[None]).any(axis=0)
    return np.concatenate(links).astype(np.int32), float(clashing.mean())


@cache
def _radii() -> tuple[np.ndarray, np.ndarray]:
    covalent, bondi = np.full(120, -9.0), np.full(120, 1.7)
    for number, radius in _COVALENT_RADII.items():
        covalent[number] = radius
    for symbol, radius in aa.BONDI_RADII.items():
        bondi[gemmi.Element(symbol.capitalize()).atomic_number] = radius
    return covalent, bondi


def _covalent(element: np.ndarray) -> np.ndarray:
    return _radii()[0][np.clip(element, 0, 119)]


def _bondi(element: np.ndarray) -> np.ndarray:
    return _radii()[1][np.clip(element, 0, 119)]


def gather_context(
    atoms: Atoms, residue: np.ndarray, amino: np.ndarray, ligand_xyz: np.ndarray, within: float, notes: Notes
) -> ContextAtoms:
    """Atoms of whole molecules near the ligand, with element and charge.

    Parameters
    ----------
    atoms : Atoms
        Those that are neither in the residue table nor the ligand.
    residue : numpy.ndarray
        [A] residue index of each atom.
    amino : numpy.ndarray
        [A] the residue bears the name of an amino acid.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A).
    within : float
        A molecule with an atom this close to the ligand is kept whole (A).
    notes : dict
        Is added to.
    """
    near = nearest_distance(atoms.xyz, ligand_xyz) <= within
    kept = np.unique(residue[near])
    size = np.bincount(residue, minlength=int(residue.max(initial=0)) + 1)
    index = np.flatnonzero(np.isin(residue, kept) & ~(amino & (size[residue] < _MIN_FRAGMENT)))
    atoms, residue = atoms.select(index), residue[index]
    element, charge = atoms.element.copy(), atoms.charge.copy()
    names = texts(atoms.residue_name)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    note(notes, "nucleotides_kept", sum(is_nucleotide(names[i]) for i in first))
    alone = first[size[residue[first]] == 1]
    for i in alone.tolist():
        ion = ion_name(names[i], text(atoms.name[i]))
        if not ion:
            continue
        number = ion_element(ion)
        note(notes, "elements_corrected", int(element[i] != number))
        note(notes, "ion_charges_assumed", int(charge[i] == 0))
        element[i], charge[i] = number, charge[i] or ION_CHARGES[ion]
    note(notes, "context_atoms_kept", len(element))
    return ContextAtoms(element, charge, atoms.xyz, names, np.zeros((0, 3), dtype=np.int32))
