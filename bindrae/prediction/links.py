"""Covalent bonds between the protein and other molecules that the input file states (LINK records, struct_conn)."""

from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.data.batch import atom_radii
from bindrae.prediction.beside import OtherMolecules
from bindrae.prediction.inputs import Complex
from bindrae.prediction.obstacles import Bond
from bindrae.prediction.source import AtomKey, place
from bindrae.structure.context import nearest_distance
from bindrae.structure.names import WATER_NAMES
from bindrae.structure.pocket import virtual_cb

_ON_LIGAND_ANGSTROM = 0.5  # an atom of the file this close to one of the ligand's is the same atom
# Measured on 3,044 complexes: of 15 cysteines so near 11 are bonded, and no bonded one is farther; no serine or
# threonine is as near, where a bond would bring it.
_LOOKS_BONDED_ANGSTROM = {"CYS": 3.2, "SER": 2.7, "THR": 2.7}
_BINDING_ELEMENTS = (5, 6, 14, 15, 16, 33, 34)  # what a ligand binds to a side chain with
_OFF_ANGSTROM = 0.4  # a bond that is off by more was not made


@dataclass(frozen=True)
class StatedBond:
    """A bond of a side chain that is to be built, with its name for messages."""

    bond: Bond
    name: str


def stated_bonds(complex_: Complex, others: OtherMolecules) -> list[StatedBond]:
    """Bonds between residues that are built and atoms of the ligand or of other molecules.

    Links to metals, waters and copies by symmetry push nothing and are passed over, and so are links between residues.

    Parameters
    ----------
    complex_ : Complex
        After what is kept has been marked; is given a note on each link one of whose atoms is not there, and on
        cysteines, serines and threonines that look bonded although no link says so.
    others : OtherMolecules

    Returns
    -------
    list of StatedBond
        Obstacles are numbered as in `Scene`: the ligand's atoms, then the others.
    """
    source = complex_.source
    row_at = {source.key(int(ca)): row for row, ca in enumerate(complex_.ca.tolist())}
    found = []
    for link in source.structure.connections:
        if link.type in (gemmi.ConnectionType.Disulf, gemmi.ConnectionType.Hydrog, gemmi.ConnectionType.MetalC):
            continue
        if link.asu == gemmi.Asu.Different:
            continue
        ends = (link.partner1, link.partner2)
        rows = [row_at.get(_key(end)) for end in ends]
        if (rows[0] is None) == (rows[1] is None):
            continue
        own, other = ends if rows[0] is not None else ends[::-1]
        row = rows[0] if rows[0] is not None else rows[1]
        if row is None or row in complex_.kept:
            continue
        bond = _bond(complex_, others, row, own, other)
        if isinstance(bond, Bond):
            found.append(StatedBond(bond, f"{_label(own)} - {_label(other)}"))
        elif bond:
            complex_.notes.append(bond)
    _note_unstated(complex_, {stated.bond.row for stated in found})
    return found


def _bond(
    complex_: Complex, others: OtherMolecules, row: int, own: gemmi.AtomAddress, other: gemmi.AtomAddress
) -> Bond | str | None:
    """The bond of a link; a note where an atom is not there; None where the partner pushes nothing."""
    kind = int(complex_.table.aatype[row])
    names = aa.ATOM14_NAMES[kind]
    name = aa.ATOM_ALIASES.get(complex_.table.name[row], {}).get(own.atom_name, own.atom_name)
    candidates = _atoms_of(complex_, other)
    absent = own if not name or name not in names else other if not len(candidates) else None
    if absent is not None:
        return (
            f"the link {_label(own)} - {_label(other)} names an atom that is not there ({_label(absent)}): the residue "
            f"is built as if it were free; mend the link, or keep the side chain with --fix {complex_.place(row)}"
        )
    partner = _obstacle(complex_, others, candidates)
    if partner is None:
        source = complex_.source
        pushes = atom_radii(torch.as_tensor(source.element[candidates])).numpy() > 0
        pushes &= ~np.isin(source.residue_name[candidates], list(WATER_NAMES))
        return (
            f"the link {_label(own)} - {_label(other)} joins atoms far apart: it is passed over"
            if any(pushes)
            else None
        )
    atom, element = partner
    length = gemmi.Element(name[0]).covalent_r + gemmi.Element(element).covalent_r
    return Bond(row, names.index(name), atom, float(length))


def _obstacle(complex_: Complex, others: OtherMolecules, candidates: np.ndarray) -> tuple[int, int] | None:
    """Number of an obstacle with a radius, and its element, among atoms of the source that stand for one another."""
    ligand = complex_.ligand
    n_ligand = 0 if ligand is None else len(ligand.xyz)
    for i in candidates.tolist():
        if ligand is not None:
            distance = np.linalg.norm(ligand.xyz - complex_.source.xyz[i], axis=1)
            nearest = int(distance.argmin())
            if distance[nearest] < _ON_LIGAND_ANGSTROM:
                return nearest, int(ligand.element[nearest])
        place_there = np.flatnonzero((others.index == i) & (others.radius > 0))
        if len(place_there):
            return n_ligand + int(place_there[0]), int(others.element[place_there[0]])
    return None


def _note_unstated(complex_: Complex, stated: set[int]) -> None:
    if complex_.ligand is None:
        return
    table, ligand = complex_.table, complex_.ligand
    binding = ligand.xyz[np.isin(ligand.element, _BINDING_ELEMENTS)]
    if not len(binding):
        return
    distance = nearest_distance(virtual_cb(table.xyz), binding)
    for name, within in _LOOKS_BONDED_ANGSTROM.items():
        near = (table.aatype == aa.TYPE_OF_NAME[name]) & (distance < within)
        for row in np.flatnonzero(near).tolist():
            if row not in stated and row not in complex_.kept:
                complex_.notes.append(
                    f"the ligand comes within {distance[row]:.1f} A of CB of {name} {complex_.place(row)}, as it does "
                    "where the two are bonded: if they are, say so by a LINK record (struct_conn in mmCIF) between "
                    f"atoms of the protein file, or keep the side chain with --fix {complex_.place(row)}"
                )


def note_unmade(complex_: Complex, bonds: list[StatedBond], others: OtherMolecules, xyz: np.ndarray) -> None:
    """Add a note for each stated bond that the built side chains [N, 14, 3] (A) do not make."""
    ligand_xyz = np.zeros((0, 3), np.float32) if complex_.ligand is None else complex_.ligand.xyz
    obstacles = np.concatenate([ligand_xyz, others.xyz])
    for stated in bonds:
        bond = stated.bond
        distance = float(np.linalg.norm(xyz[bond.row, bond.slot] - obstacles[bond.atom]))
        if abs(distance - bond.length) > _OFF_ANGSTROM:
            complex_.notes.append(
                f"the link {stated.name} was not made: the atoms stand {distance:.1f} A apart; check the link, or keep "
                f"the side chain with --fix {complex_.place(bond.row)}"
            )


def _atoms_of(complex_: Complex, end: gemmi.AtomAddress) -> np.ndarray:
    """Atoms of the source, in all locations, that a link names."""
    source = complex_.source
    chain, number, insertion = _key(end)
    here = (source.chain == chain) & (source.number == number) & (source.insertion == insertion)
    here &= (source.residue_name == end.res_id.name.encode()) & (source.name == end.atom_name.encode())
    return np.flatnonzero(here)


def _key(end: gemmi.AtomAddress) -> AtomKey:
    """As `Source.key` gives it."""
    seqid = end.res_id.seqid
    return end.chain_name.encode(), int(seqid.num or 0), seqid.icode.encode()


def _label(end: gemmi.AtomAddress) -> str:
    """``SG CYS A:25``."""
    return f"{end.atom_name} {end.res_id.name} {place(*_key(end))}"
