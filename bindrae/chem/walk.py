"""Atoms and bonds of a molecule as lists: RDKit's own sequences take twice as long, which shows in bare loops."""

from __future__ import annotations

from rdkit import Chem


def atoms_of(mol: Chem.Mol) -> list[Chem.Atom]:
    """All atoms, by index."""
    return list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))


def bonds_of(mol: Chem.Mol) -> list[Chem.Bond]:
    """All bonds, by index."""
    return list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))
