"""Reading a ligand with its crystal pose into a sanitised molecule: SDF, then MOL2, then the component dictionary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem

from bindrae.chem.components import match_by_graph, match_by_names, posed_component
from bindrae.chem.dictionary import Component, component
from bindrae.chem.guard import is_hard, settle_within
from bindrae.chem.hetero import find_group, parse_hetero
from bindrae.chem.ligand_files import Parsed, parse_ligand_file, route_of
from bindrae.chem.walk import atoms_of, bonds_of
from bindrae.errors import RejectedComplex

if TYPE_CHECKING:
    from bindrae.structure.atoms import Atoms

MAX_SECONDS = 60.0
_LONGEST_BOND = 3.5
"""Longest bond between heavy atoms (A); metals reach 3.0, and no ligand of 3,329 real ones has one of more than 2.3."""
_SHORTEST_BOND = 0.1
"""Shortest (A); one of those has a bond of 0.17, the next 0.95."""


@dataclass
class Ligand:
    """Heavy atoms of a ligand, their bonds and where they came from."""

    mol: Chem.Mol  # sanitised, without hydrogens, one conformer: the crystal pose
    route: str  # which reading succeeded: sdf, mol2, or ccd (bond orders from the component dictionary)
    path: Path  # the file it was read from
    xyz: np.ndarray  # [M, 3] float32, angstrom
    element: np.ndarray  # [M] int16, atomic number
    charge: np.ndarray  # [M] int8, formal charge
    bonds: np.ndarray  # [E, 2] int16, atom indices
    smiles: str
    inchikey: str
    notes: dict[str, int] = field(default_factory=dict)  # what reading passed over, with its count

    def molblock(self) -> str:
        """The molecule with its pose as an MDL V3000 block, for storage; a group of a protein file is the title."""
        return Chem.MolToV3KMolBlock(self.mol)


def mol_from_block(block: str) -> Chem.Mol:
    """The molecule stored by `Ligand.molblock`."""
    mol = Chem.MolFromMolBlock(block, sanitize=True, removeHs=False)
    if mol is None:
        raise ValueError("a stored ligand block does not parse; the clean table is damaged")
    return mol


def read_ligand(paths: Sequence[Path], max_atoms: int, max_seconds: float = MAX_SECONDS) -> Ligand:
    """Read a ligand from the best of several files of it.

    The first file that gives a sound molecule with a pose is taken. Where an SDF and a MOL2 are both sound but give
    different bonds, `_better` decides. Where none is sound, bond orders come from the component dictionary, provided a
    file names its residue and has the same atoms and bonds.

    Parameters
    ----------
    paths : sequence of Path
        Candidate files of the same ligand, best first (SDF before MOL2).
    max_atoms : int
        Largest number of heavy atoms.
    max_seconds : float
        Time limit of a molecule on which RDKit may take very long, see `guard.is_hard`.

    Raises
    ------
    RejectedComplex
        ``ligand_missing``, ``ligand_unreadable``, ``ligand_empty``, ``ligand_not_3d``, ``ligand_too_large``,
        ``ligand_dummy_atoms``, ``ligand_distorted`` or ``ligand_timeout``; the message tells of each file.
    """
    present = [path for path in paths if os.path.isfile(path)]  # also False for what can be no name
    if not present:
        raise RejectedComplex("ligand_missing", "none of these files exists: " + ", ".join(map(str, paths)))
    sound: list[tuple[Ligand, Parsed]] = []
    unsound: list[tuple[Parsed, Path]] = []
    faults: list[RejectedComplex] = []
    for path in present:
        parsed = None
        try:
            parsed = parse_ligand_file(path, max_atoms, max_seconds)
            if all(parsed.route != other.route for other, _ in sound):
                if sound and _confirms(parsed.mol, sound[0][0].mol):
                    continue
                ligand = _finish(parsed.mol, parsed.route, path, max_atoms, max_seconds)
                sound.append((ligand, parsed))
                ligand.notes.update(parsed.notes)
        except RejectedComplex as fault:
            faults.append(fault)
        except (ValueError, RuntimeError) as error:
            text = f"{path} ({route_of(path)}): {' '.join(str(error).split())[:200]}"
            faults.append(RejectedComplex("ligand_unreadable", text))
            if parsed:
                unsound.append((parsed, path))
    if len(sound) > 1 and not _same_bonds(sound[0][0].mol, sound[1][0].mol):
        return _better(sound[0], sound[1])
    if sound:
        return sound[0][0]
    for parsed, path in unsound:
        for code in parsed.names:
            try:
                return _from_template(code, parsed, path, max_atoms, max_seconds)
            except (ValueError, RuntimeError) as error:
                faults.append(
                    RejectedComplex("ligand_unreadable", f"{path} (ccd): {' '.join(str(error).split())[:200]}")
                )
    telling = next((fault.code for fault in faults if fault.code != "ligand_unreadable"), "ligand_unreadable")
    raise RejectedComplex(telling, "; ".join(fault.message for fault in faults))


def read_hetero_ligand(
    atoms: Atoms, reference: str, path: Path, max_atoms: int, max_seconds: float = MAX_SECONDS
) -> Ligand:
    """Read a ligand that is a residue of the protein file, with bonds and charges of the component dictionary.

    Atoms are matched by name; the file may lack some of them, the dictionary none.

    Parameters
    ----------
    atoms : Atoms
        The protein file.
    reference : str
        ``hetatm:NAME[/CHAIN[/NUMBER]]``, see `hetero.find_group`.
    path : Path
        The protein file's path.
    max_atoms, max_seconds
        As for `read_ligand`.

    Raises
    ------
    RejectedComplex
        ``ligand_not_in_file``, ``ligand_no_template``, or as `read_ligand`.
    """
    try:
        wanted = parse_hetero(reference)
    except ValueError as error:
        raise RejectedComplex("ligand_not_in_file", str(error)) from None
    group = find_group(atoms, wanted, str(path))
    where = f"{path} ({wanted})"
    template = component(wanted.name)
    if template is None:
        raise RejectedComplex("ligand_no_template", f"{where}: the component dictionary has no entry {wanted.name}")
    if len(group) > max_atoms:
        raise RejectedComplex("ligand_too_large", f"{where} holds {len(group)} heavy atoms, more than {max_atoms}")
    table = Chem.GetPeriodicTable()
    names = [name.decode().strip() for name in atoms.name[group].tolist()]
    elements = [table.GetElementSymbol(int(number)) for number in atoms.element[group]]
    try:
        mol = posed_component(template, match_by_names(template, names, elements), atoms.xyz[group])
        ligand = _finish(mol, "ccd", path, max_atoms, max_seconds)
    except (ValueError, RuntimeError) as error:
        raise RejectedComplex("ligand_no_template", f"{where}: {' '.join(str(error).split())[:200]}") from None
    i = group[0]
    place = f"{atoms.chain[i].decode().strip()}/{atoms.number[i]}{atoms.insertion[i].decode().strip()}"
    ligand.mol.SetProp("_Name", f"{wanted.name}/{place}")
    missing = len(template.names) - len(group)
    if missing:
        ligand.notes["ligand_atoms_missing"] = missing
    return ligand


def _from_template(code: str, parsed: Parsed, path: Path, max_atoms: int, max_seconds: float) -> Ligand:
    template = component(code)
    if template is None:
        raise ValueError(f"the component dictionary has no entry {code}")
    if is_hard(parsed.mol):
        raise ValueError("too large to be laid on the component dictionary")
    mol = _without_hydrogens(parsed.mol)
    posed = posed_component(template, match_by_graph(template, mol), mol.GetConformer().GetPositions())
    ligand = _finish(posed, "ccd", path, max_atoms, max_seconds)
    ligand.notes.update(parsed.notes)
    return ligand


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """The heavy atoms of a molecule that need not be sound."""
    heavy = Chem.RWMol(mol)
    for i in reversed([atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1]):
        heavy.RemoveAtom(i)
    return heavy.GetMol()


def _confirms(mol: Chem.Mol, settled: Chem.Mol) -> bool:
    """Whether a molecule as parsed certainly has the bonds of a settled one, found without settling it too."""
    if is_hard(mol):
        return False
    mol = Chem.Mol(mol)
    try:
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):
        return False
    heavy = np.array([atom.GetAtomicNum() != 1 for atom in atoms_of(mol)], dtype=bool)
    if np.count_nonzero(heavy) != settled.GetNumAtoms():
        return False
    bonds = _bonds(mol)
    bonds = bonds[heavy[bonds[:, :2]].all(axis=1)]
    bonds[:, :2] = (np.cumsum(heavy) - 1)[bonds[:, :2]]
    return _in_order(bonds) == _in_order(_bonds(settled))


def _same_bonds(one: Chem.Mol, other: Chem.Mol) -> bool:
    if one.GetNumAtoms() != other.GetNumAtoms() or one.GetNumBonds() != other.GetNumBonds():
        return False
    # Files of one source list the atoms in one order; else the graphs are compared.
    return _in_order(_bonds(one)) == _in_order(_bonds(other)) or (
        Chem.MolToSmiles(one, False) == Chem.MolToSmiles(other, False)
    )


def _bonds(mol: Chem.Mol) -> np.ndarray:
    """[E, 3] indices of bonded atoms, and the type of their bond."""
    ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondType())) for b in bonds_of(mol)]
    return np.array(ends, dtype=np.int64).reshape(-1, 3)


def _in_order(bonds: np.ndarray) -> list[list[int]]:
    """Bonds sorted by their atoms, the smaller index first."""
    return sorted([min(i, j), max(i, j), kind] for i, j, kind in bonds.tolist())


def _better(first: tuple[Ligand, Parsed], second: tuple[Ligand, Parsed]) -> Ligand:
    """Of two sound readings with different bonds, the one to believe.

    The component dictionary is the judge where a file names its residue: the reading with fewer bonds of another
    order. Else the reading that leaves fewer radicals and needs fewer hydrogens beyond those in its file. Else the
    MOL2, whose atom types say a second time what the bonds are. (Of 285 ligands of CASF-2016, 7 have an SDF and a MOL2
    that differ; the dictionary prefers the MOL2 of all seven.)
    """
    for code in dict.fromkeys((*first[1].names, *second[1].names)):
        template = component(code)
        if template is None:
            continue
        try:
            wrong = [_bonds_unlike(template, ligand.mol) for ligand, _ in (first, second)]
        except (ValueError, RuntimeError):
            continue
        if wrong[0] != wrong[1]:
            return _noted((first, second)[wrong[1] < wrong[0]][0])
    odd = [_oddities(parsed.mol) for _, parsed in (first, second)]
    if odd[0] != odd[1]:
        return _noted((first, second)[odd[1] < odd[0]][0])
    return _noted(next(ligand for ligand, parsed in (second, first) if parsed.route == "mol2"))


def _noted(ligand: Ligand) -> Ligand:
    ligand.notes["ligand_files_differ"] = 1
    return ligand


def _bonds_unlike(template: Component, mol: Chem.Mol) -> int:
    """Bonds whose order differs from the template's."""
    if is_hard(mol):
        raise ValueError("too large to be laid on the component dictionary")
    match = match_by_graph(template, mol)
    right = posed_component(template, match, mol.GetConformer().GetPositions())
    Chem.SanitizeMol(right)
    place = {t: i for i, t in enumerate(sorted(match))}  # row of a template atom in the posed molecule
    count = 0
    for bond in mol.GetBonds():
        other = right.GetBondBetweenAtoms(place[match[bond.GetBeginAtomIdx()]], place[match[bond.GetEndAtomIdx()]])
        count += other is None or other.GetBondType() != bond.GetBondType()
    return count


def _oddities(mol: Chem.Mol) -> int:
    """Radicals, and hydrogens that a molecule written with its hydrogens lacks; the molecule has been settled."""
    if is_hard(mol):
        return 0  # settled in another process
    if not any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
        return sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return sum(atom.GetNumRadicalElectrons() + atom.GetNumImplicitHs() for atom in mol.GetAtoms())


def _check_bonds(mol: Chem.Mol, number: np.ndarray, xyz: np.ndarray, path: Path) -> None:
    """No bond between heavy atoms is so long or so short; one digit damaged in a coordinate shows here."""
    ends = _bonds(mol)[:, :2]
    ends = ends[(number[ends] > 1).all(axis=1)]
    if not len(ends):
        return
    length = np.linalg.norm(xyz[ends[:, 0]] - xyz[ends[:, 1]], axis=1)
    worst = int(np.argmax(np.abs(length - 1.5)))
    if length.max() > _LONGEST_BOND or length.min() < _SHORTEST_BOND:
        a, b = ends[worst] + 1
        raise RejectedComplex("ligand_distorted", f"{path}: atoms {a} and {b} are bound over {length[worst]:.2f} A")


def _finish(mol: Chem.Mol, route: str, path: Path, max_atoms: int, max_seconds: float) -> Ligand:
    """Checks that cost nothing, then RDKit's perception."""
    number = np.array([atom.GetAtomicNum() for atom in atoms_of(mol)], dtype=np.int64)
    heavy = np.flatnonzero(number != 1)
    if not len(heavy):
        raise RejectedComplex("ligand_empty", f"{path} holds no heavy atom")
    if len(heavy) > max_atoms:
        raise RejectedComplex("ligand_too_large", f"{path} holds {len(heavy)} heavy atoms, more than {max_atoms}")
    if mol.GetNumConformers() == 0:
        raise RejectedComplex("ligand_not_3d", f"{path} has no coordinates")
    xyz = mol.GetConformer().GetPositions()
    points = xyz[heavy]
    if not np.isfinite(points).all() or np.abs(points).max() > 1e5:
        raise RejectedComplex("ligand_unreadable", f"{path} holds coordinates that are not numbers")
    if len(points) > 1 and (np.ptp(points, axis=0).max() < 0.5 or (len(points) > 3 and not points.any(axis=0).all())):
        raise RejectedComplex("ligand_not_3d", f"{path} holds a flat drawing or atoms in one place, not a bound pose")
    _check_bonds(mol, number, xyz, path)
    mol, smiles, inchikey = settle_within(mol, max_seconds, str(path))
    for key in list(mol.GetPropsAsDict(includePrivate=True)):
        mol.ClearProp(key)
    atoms = atoms_of(mol)
    return Ligand(
        mol=mol,
        route=route,
        path=path,
        xyz=mol.GetConformer().GetPositions().astype(np.float32),
        element=np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.int16),
        charge=np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int8),
        bonds=_bonds(mol)[:, :2].astype(np.int16),
        smiles=smiles,
        inchikey=inchikey,
    )
