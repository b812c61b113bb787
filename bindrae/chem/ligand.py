"""Reading a ligand with its crystal pose into a sanitised molecule."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger

from bindrae.errors import RejectedComplex

RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # every failure is raised with its own message below


@dataclass
class Ligand:
    """Heavy atoms of a ligand, their bonds and where they came from."""

    mol: Chem.Mol  # sanitised, without hydrogens, one conformer: the crystal pose
    route: str  # which reading succeeded: sdf or mol2
    path: Path  # the file it was read from
    xyz: np.ndarray  # [M, 3] float32, angstrom
    element: np.ndarray  # [M] int16, atomic number
    charge: np.ndarray  # [M] int8, formal charge
    bonds: np.ndarray  # [E, 2] int16, atom indices
    smiles: str
    inchikey: str

    def molblock(self) -> str:
        """The molecule with its pose as an MDL V3000 block, for storage."""
        return Chem.MolToV3KMolBlock(self.mol)


def mol_from_block(block: str) -> Chem.Mol:
    """The molecule stored by `Ligand.molblock`."""
    mol = Chem.MolFromMolBlock(block, sanitize=True, removeHs=False)
    if mol is None:
        raise ValueError("a stored ligand block does not parse; the clean table is damaged")
    return mol


def read_ligand(paths: list[Path], max_atoms: int) -> Ligand:
    """Read a ligand from the first of several files that gives a sound molecule.

    Parameters
    ----------
    paths : list of Path
        Candidate files of the same ligand, best first (SDF before MOL2).
    max_atoms : int
        Largest number of heavy atoms.

    Raises
    ------
    RejectedComplex
        ``ligand_missing``, ``ligand_unreadable``, ``ligand_empty``, ``ligand_not_3d`` or ``ligand_too_large``; the
        message holds what went wrong with each file.
    """
    present = [path for path in paths if path.is_file()]
    if not present:
        raise RejectedComplex("ligand_missing", "none of these files exists: " + ", ".join(map(str, paths)))
    faults: list[str] = []
    for path in present:
        for route, parse in _routes(path):
            try:
                mol = parse(_read_text(path))
                if mol is None:
                    raise ValueError("no molecule in the file")
                return _finish(mol, route, path, max_atoms)
            except (ValueError, RuntimeError, UnicodeDecodeError, OSError, EOFError) as error:
                faults.append(f"{path} ({route}): {' '.join(str(error).split())[:200]}")
    raise RejectedComplex("ligand_unreadable", "; ".join(faults))


def _read_text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", errors="replace")


def _routes(path: Path) -> list[tuple[str, Callable[[str], Chem.Mol | None]]]:
    name = path.name.removesuffix(".gz").lower()
    if name.endswith((".sdf", ".mol", ".sd")):
        return [("sdf", _from_sdf)]
    if name.endswith(".mol2"):
        return [("mol2", _from_mol2)]
    raise RejectedComplex(
        "ligand_unreadable", f"{path}: the format is not known by its ending; use .sdf, .mol or .mol2"
    )


def _from_sdf(text: str) -> Chem.Mol | None:
    block = clear_query_columns(text.replace("\r\n", "\n").split("\n$$$$")[0])
    mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False, strictParsing=False)
    return _sanitise(mol)


def _from_mol2(text: str) -> Chem.Mol | None:
    return _sanitise(Chem.MolFromMol2Block(text.replace("\r\n", "\n"), sanitize=False, removeHs=False))


def clear_query_columns(block: str) -> str:
    """Blank the columns of a V2000 block that make a molecule a query.

    Files of PDBbind and CASF fill in the hydrogen count and the valence of each atom and the topology of each bond
    (ring or chain); RDKit then takes atoms and bonds for queries and perceives no aromaticity. The hydrogens themselves
    are in these files as atoms, so nothing is lost.
    """
    lines = block.split("\n")
    if len(lines) < 4 or "V2000" not in lines[3]:
        return block
    try:
        n_atoms, n_bonds = int(lines[3][:3]), int(lines[3][3:6])
    except ValueError:
        return block
    first_bond = min(4 + n_atoms, len(lines))
    for i in range(4, first_bond):
        if len(lines[i]) > 42:
            padded = lines[i].ljust(69)
            lines[i] = (padded[:42] + "  0" + padded[45:48] + "  0" + padded[51:]).rstrip()
    for i in range(first_bond, min(first_bond + n_bonds, len(lines))):
        lines[i] = lines[i][:12]  # atoms, order and stereo stay
    return "\n".join(lines)


def _sanitise(mol: Chem.Mol | None) -> Chem.Mol | None:
    if mol is None:
        return None
    Chem.SanitizeMol(mol)
    return mol


def _finish(mol: Chem.Mol, route: str, path: Path, max_atoms: int) -> Ligand:
    if mol.GetNumConformers() == 0:
        raise RejectedComplex("ligand_not_3d", f"{path} has no coordinates")
    Chem.AssignStereochemistryFrom3D(mol)
    mol = Chem.RemoveAllHs(mol)
    if mol.GetNumAtoms() == 0:
        raise RejectedComplex("ligand_empty", f"{path} holds no heavy atom")
    if mol.GetNumAtoms() > max_atoms:
        raise RejectedComplex(
            "ligand_too_large", f"{path} holds {mol.GetNumAtoms()} heavy atoms, more than {max_atoms}"
        )
    xyz = mol.GetConformer().GetPositions().astype(np.float32)
    if not np.isfinite(xyz).all():
        raise RejectedComplex("ligand_unreadable", f"{path} holds coordinates that are not numbers")
    if len(xyz) > 1 and (np.ptp(xyz, axis=0).max() < 0.5 or (len(xyz) > 3 and not xyz.any(axis=0).all())):
        raise RejectedComplex("ligand_not_3d", f"{path} holds a flat drawing or atoms in one place, not a bound pose")
    for key in list(mol.GetPropsAsDict(includePrivate=True)):
        mol.ClearProp(key)
    return Ligand(
        mol=mol,
        route=route,
        path=path,
        xyz=xyz,
        element=np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int16),
        charge=np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int8),
        bonds=np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=np.int16).reshape(
            -1, 2
        ),
        smiles=Chem.MolToSmiles(mol),
        inchikey=Chem.MolToInchiKey(mol),
    )
