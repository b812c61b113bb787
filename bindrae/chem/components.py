"""Bond orders and charges for atoms that come without them, from the chemical component dictionary."""

from __future__ import annotations

import numpy as np
from rdkit import Chem

from bindrae.chem.dictionary import Component

_ORDERS = {
    "SING": Chem.BondType.SINGLE,
    "DOUB": Chem.BondType.DOUBLE,
    "TRIP": Chem.BondType.TRIPLE,
    "QUAD": Chem.BondType.QUADRUPLE,
    "AROM": Chem.BondType.AROMATIC,
}
# What a bond is shorter than a single one (A; Pyykkö and Atsumi, Chem. Eur. J. 15, 186 and 12770, 2009).
_SHORTER = {"DOUB": 0.18, "TRIP": 0.30, "AROM": 0.10}
_NON_METALS = {
    "H", "D", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar", "As", "Se", "Br", "Kr", "Te", "I", "Xe",
    "At", "Rn",
}  # fmt: skip
_MAX_MATCHES = 512


def _is_metal(symbol: str) -> bool:
    return symbol not in _NON_METALS


def match_by_names(template: Component, names: list[str], elements: list[str]) -> list[int]:
    """Template atom of each atom of a residue, by atom name.

    Parameters
    ----------
    template : Component
    names, elements : list of str
        Of the residue's heavy atoms; the residue may lack atoms of the template.

    Returns
    -------
    list of int
        Indices into the template, one for each name.

    Raises
    ------
    ValueError
        When a name is unknown to the template or belongs to another element there, or occurs twice.
    """
    strange: list[str] = []
    for known in (template.names, template.alternative_names):
        place = {name: i for i, name in enumerate(known)}
        found = [place.get(name, -1) for name in names]
        strange = [
            name
            for name, i, symbol in zip(names, found, elements, strict=True)
            if i < 0 or template.elements[i] != symbol.capitalize()
        ]
        if not strange and len(set(found)) == len(found):
            return found
    raise ValueError(
        f"atoms {', '.join(strange[:5]) or 'of one name'} do not fit the component {template.code} of the dictionary"
    )


def match_by_graph(template: Component, mol: Chem.Mol) -> list[int]:
    """Template atom of each heavy atom of a molecule, by elements and bonds alone, whatever the bond orders.

    Of several ways to lay the molecule on the template, the one whose bond lengths fit the template's orders best is
    taken. Bonds of metals are left out of account.

    Parameters
    ----------
    template : Component
    mol : rdkit.Chem.Mol
        Without hydrogens, with coordinates; need not be sanitised.

    Raises
    ------
    ValueError
        When the two do not have the same atoms and bonds.
    """
    elements = [atom.GetSymbol() for atom in mol.GetAtoms()]
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    ours = _skeleton(elements, bonds)
    theirs = _skeleton(list(template.elements), [bond[:2] for bond in template.bonds])
    if sorted(elements) != sorted(template.elements) or ours.GetNumBonds() != theirs.GetNumBonds():
        raise ValueError(f"its atoms or bonds are not those of the component {template.code} of the dictionary")
    matches = theirs.GetSubstructMatches(ours, uniquify=False, maxMatches=_MAX_MATCHES)
    if not matches:
        raise ValueError(f"its bonds are not those of the component {template.code} of the dictionary")
    xyz = mol.GetConformer().GetPositions()
    pairs = np.array([bond[:2] for bond in template.bonds], dtype=int).reshape(-1, 2)
    table = Chem.GetPeriodicTable()
    radius = np.array([table.GetRcovalent(symbol) for symbol in template.elements])
    shorter = np.array([_SHORTER.get(order, 0.0) for *_, order in template.bonds])
    wanted = radius[pairs].sum(axis=1) - shorter

    def misfit(match: list[int]) -> float:
        placed = xyz[np.argsort(match)]
        length = np.linalg.norm(placed[pairs[:, 0]] - placed[pairs[:, 1]], axis=1)
        return float(((length - wanted) ** 2).sum())

    return min(map(list, matches), key=misfit)


def _skeleton(elements: list[str], bonds: list[tuple[int, int]]) -> Chem.Mol:
    """Elements and bonds, all single, without those of metals."""
    mol = Chem.RWMol()
    for symbol in elements:
        mol.AddAtom(Chem.Atom(symbol))
    for a, b in bonds:
        if not _is_metal(elements[a]) and not _is_metal(elements[b]):
            mol.AddBond(a, b, Chem.BondType.SINGLE)
    return mol.GetMol()


def posed_component(template: Component, match: list[int], xyz: np.ndarray) -> Chem.Mol:
    """The template's molecule at given coordinates, without the atoms that have none.

    Parameters
    ----------
    template : Component
    match : list of int
        Template atom of each point.
    xyz : numpy.ndarray
        [M, 3] points (A).

    Returns
    -------
    rdkit.Chem.Mol
        Not sanitised, atoms in the order of the template, bonds to atoms without coordinates open.

    Raises
    ------
    ValueError
        When the dictionary gives a bond order or an element that RDKit has no match for.
    """
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(match))
    place: dict[int, int] = {}
    for row, i in sorted(enumerate(match), key=lambda pair: pair[1]):
        try:
            atom = Chem.Atom(template.elements[i])
        except RuntimeError:
            raise ValueError(f"the component {template.code} has an atom of unknown element") from None
        atom.SetFormalCharge(template.charges[i])
        place[i] = mol.AddAtom(atom)
        conformer.SetAtomPosition(place[i], [float(v) for v in xyz[row]])
    for a, b, order in template.bonds:
        if a in place and b in place:
            if order not in _ORDERS:
                raise ValueError(f"the component {template.code} has a bond of order {order}")
            mol.AddBond(place[a], place[b], _ORDERS[order])
            if order == "AROM":
                for i in (a, b):
                    mol.GetAtomWithIdx(place[i]).SetIsAromatic(True)
    # RDKit would fill up an atom beside a metal with hydrogens that are not there.
    for a, b, _ in template.bonds:
        for one, other in ((a, b), (b, a)):
            if one in place and other in place and _is_metal(template.elements[other]):
                atom = mol.GetAtomWithIdx(place[one])
                atom.SetNoImplicit(True)
                atom.SetNumExplicitHs(template.hydrogens[one])
    conformer.Set3D(True)
    mol.AddConformer(conformer)
    return mol.GetMol()
