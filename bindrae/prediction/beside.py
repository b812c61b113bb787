"""The molecules beside protein and ligand that side chains must keep clear of: all that is copied but water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.data.batch import atom_radii
from bindrae.prediction.inputs import Complex
from bindrae.prediction.plan import output_plan
from bindrae.prediction.source import Source, place
from bindrae.structure.atoms import text
from bindrae.structure.context import copies_of_ligand, nearest_distance
from bindrae.structure.names import WATER_NAMES, ion_element, ion_name

REACH_ANGSTROM = 13.0
"""From CA to the tip of an arginine and on to what it might touch."""
_SAME_PLACE_ANGSTROM = 1.1  # closer than any bond: two molecules that do not stand there at the same time


@dataclass
class OtherMolecules:
    """Heavy atoms that stay where the input has them: cofactors, ions, sugars, nucleic acids, further ligands."""

    xyz: np.ndarray  # [K, 3] float32 (A)
    radius: np.ndarray  # [K] float32 (A), 0 for metals
    element: np.ndarray  # [K] atomic numbers
    index: np.ndarray  # [K] atoms of the source; -1 for those of a residue that stays as it is


def other_molecules(complex_: Complex) -> OtherMolecules:
    """What stands within reach of the side chains, as the output will hold it.

    Residues of the table, waters and copies of the ligand are left out; of amino acids that are no rows only the atoms
    that are written count. Atoms of residues that stay as they are and that no slot holds (a phosphate of TPO) count.

    Parameters
    ----------
    complex_ : Complex
        Is given a note on molecules that stand where the ligand stands.
    """
    source = complex_.source
    rows = set(complex_.run.tolist())
    groups = [atoms for row, atoms in output_plan(complex_) if row < 0]
    groups = [
        atoms[source.is_heavy[atoms]]
        for atoms in groups
        if int(source.run[atoms[0]]) not in rows and bytes(source.residue_name[atoms[0]]) not in WATER_NAMES
    ]
    groups = [atoms for atoms in groups if len(atoms) and not _is_copy(complex_, int(source.run[atoms[0]]))]
    _note_same_place(complex_, groups)
    index = np.concatenate([np.zeros(0, np.int64), *groups])
    element = source.element[index].astype(np.int64)
    for atoms in groups:
        ion = ion_name(text(source.residue_name[atoms[0]]), text(source.name[atoms[0]])) if len(atoms) == 1 else ""
        if ion:  # the element column has calcium as carbon
            element[index == atoms[0]] = ion_element(ion)
    beyond = complex_.kept_beyond
    xyz = np.concatenate([source.xyz[index], np.array([at for _, at in beyond]).reshape(-1, 3)]).astype(np.float32)
    element = np.concatenate([element, np.array([number for number, _ in beyond], np.int64)])
    index = np.concatenate([index, np.full(len(beyond), -1)])
    near = np.isfinite(
        cKDTree(complex_.table.xyz[:, aa.SLOT_CA]).query(xyz, distance_upper_bound=REACH_ANGSTROM)[0]
        if len(xyz)
        else np.zeros(0)
    )
    xyz, element, index = xyz[near], element[near], index[near]
    return OtherMolecules(xyz, atom_radii(torch.as_tensor(element)).numpy(), element, index)


def _is_copy(complex_: Complex, run: int) -> bool:
    """Whether a residue of the file is the ligand, in whichever of its locations."""
    if complex_.ligand is None:
        return False
    source = complex_.source
    atoms = source.atoms_of(run)
    atoms = atoms[source.is_heavy[atoms]]
    labels = source.altloc[atoms]
    parts = [atoms[(labels == b"") | (labels == label)] for label in sorted({b"", *labels.tolist()})]
    return any(
        bool(copies_of_ligand(source.xyz[part].astype(np.float32), np.zeros(1, np.int64), complex_.ligand.xyz)[0])
        for part in parts
        if len(part)
    )


def _note_same_place(complex_: Complex, groups: list[np.ndarray]) -> None:
    if complex_.ligand is None:
        return
    source = complex_.source
    for atoms in groups:
        close = int((nearest_distance(source.xyz[atoms], complex_.ligand.xyz) < _SAME_PLACE_ANGSTROM).sum())
        if close:
            complex_.notes.append(
                f"{residue_label(source, int(atoms[0]))} stands where the ligand stands ({close} of {len(atoms)} atoms "
                f"within {_SAME_PLACE_ANGSTROM} A of it): side chains keep clear of both; take it out of the file "
                "where it is another pose, or not there together with the ligand"
            )


def residue_label(source: Source, atom: int) -> str:
    """``HEM A:501``, the residue of an atom for messages."""
    return f"{text(source.residue_name[atom])} {place(*source.key(atom))}"
