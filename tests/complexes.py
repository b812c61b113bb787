"""Small complexes made from nothing: ideal peptides, PDB text and posed molecules, for every test that needs a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from rdkit import Chem
from rdkit.Chem import rdDistGeom

import bindrae.chem
from bindrae.chem import residues as aa

PHI, PSI, OMEGA = -120.0, 130.0, 180.0
"""Backbone torsions (degrees) of every `peptide`."""
_PUCKER = {"chi1": 28.0, "chi2": -37.0}  # of proline, whose ring these close
with (Path(bindrae.chem.__file__).parent / "ideal_geometry.csv").open() as _stream:
    IDEAL = {(row["residue"], row["atom"]): row for row in csv.DictReader(_stream)}


@dataclass(frozen=True)
class Atom:
    """One line of a PDB file."""

    name: str
    residue: str
    chain: str
    number: int
    xyz: tuple[float, ...]
    element: str
    insertion: str = ""
    altloc: str = ""
    occupancy: float = 1.0
    bfactor: float = 20.0
    hetero: bool = False


def place(a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: float) -> np.ndarray:
    """The point d at this distance (A) from c, angle b-c-d and torsion a-b-c-d (degrees)."""
    angle, torsion = np.radians(angle), np.radians(torsion)
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, axis)
    return c + length * (-np.cos(angle) * axis + np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal))


def peptide(sequence: str, chain: str = "A", start: int = 1, origin: Sequence[float] = (0.0, 0.0, 0.0)) -> list[Atom]:
    """An extended peptide with all heavy atoms, ideal bonds and one rotamer a type."""
    atoms: list[Atom] = []
    N, CA = (np.add(origin, (along, 0.0, 0.0)) for along in (0.0, 1.458))
    C = place(np.add(CA, (0.0, 1.0, 0.0)), N, CA, 1.525, 111.0, 40.0)
    for i, letter in enumerate(sequence):
        kind = aa.TYPE_OF_LETTER[letter]
        following = place(N, CA, C, 1.329, 116.6, PSI)
        xyz = {"N": N, "CA": CA, "C": C, "O": place(N, CA, C, 1.231, 120.4, PSI + 180.0)}
        for step in aa.BUILD_STEPS[aa.RESIDUE_NAMES[kind]]:
            row = IDEAL[aa.RESIDUE_NAMES[kind], step.atom]
            turn = 0.0
            if step.source.startswith("chi"):
                turn = _PUCKER[step.source] if letter == "P" else -65.0 if step.source == "chi1" else 170.0
            length, angle, torsion = (float(row[key]) for key in ("bond_angstrom", "angle_deg", "torsion_deg"))
            a, b, c = xyz[step.torsion], xyz[step.angle], xyz[step.bonded]
            xyz[step.atom] = place(a, b, c, length, angle, torsion + turn)
        for name, point in xyz.items():
            rounded = tuple(float(v) for v in np.round(point, 3))
            atoms.append(Atom(name, aa.RESIDUE_NAMES[kind], chain, start + i, rounded, name[0]))
        next_CA = place(CA, C, following, 1.458, 121.7, OMEGA)
        N, CA, C = following, next_CA, place(C, following, next_CA, 1.525, 111.0, PHI)
    return atoms


def hetero(residue: str, number: int, points: Mapping[str, ArrayLike], chain: str = "A") -> list[Atom]:
    """One HETATM group; an atom's element is its name without digits, or a whole metal's name."""
    whole = residue in ("ZN", "MG", "CA", "NA", "CL")
    return [
        Atom(
            name,
            residue,
            chain,
            number,
            tuple(np.asarray(xyz, dtype=float).tolist()),
            residue if whole else name[0],
            hetero=True,
        )
        for name, xyz in points.items()
    ]


def rename(atoms: list[Atom], number: int, residue: str, names: dict[str, str] | None = None) -> list[Atom]:
    """The same atoms with residue `number` (and some of its atoms) called otherwise."""
    names = names or {}
    return [
        replace(a, residue=residue, name=names.get(a.name, a.name), element=names.get(a.name, a.element))
        if a.number == number
        else a
        for a in atoms
    ]


def pdb_text(atoms: list[Atom]) -> str:
    """PDB lines of some atoms."""
    lines = []
    for serial, a in enumerate(atoms, start=1):
        name = a.name.ljust(4) if len(a.name) == 4 or len(a.element) == 2 else f" {a.name:<3}"
        x, y, z = a.xyz
        lines.append(
            f"{'HETATM' if a.hetero else 'ATOM':<6}{serial:5d} {name}{a.altloc or ' '}{a.residue:>3} {a.chain or ' '}"
            f"{a.number:4d}{a.insertion or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}{a.occupancy:6.2f}{a.bfactor:6.2f}"
            f"          {a.element:>2}\n"
        )
    return "".join(lines)


def write_pdb(path: Path, *models: list[Atom]) -> Path:
    """Write a PDB file; several models get MODEL records."""
    texts = [pdb_text(atoms) for atoms in models]
    if len(texts) > 1:
        texts = [f"MODEL     {i:4d}\n{text}ENDMDL\n" for i, text in enumerate(texts, start=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(texts) + "END\n")
    return path


def posed(smiles: str, xyz: ArrayLike) -> Chem.Mol:
    """A molecule without hydrogens whose atoms stand at the given points."""
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.asarray(xyz, dtype=float))
    mol.AddConformer(conformer)
    return mol


def embedded(smiles: str, centre: Sequence[float] = (0.0, 0.0, 0.0), hydrogens: bool = False) -> Chem.Mol:
    """A molecule in a conformation of its own, centred where wanted."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if rdDistGeom.EmbedMolecule(mol, randomSeed=7):
        raise ValueError(f"{smiles} does not embed")
    mol = mol if hydrogens else Chem.RemoveHs(mol)
    points = mol.GetConformer().GetPositions()
    mol.GetConformer().SetPositions(points - points.mean(axis=0) + centre)
    return mol


def write_complex(
    folder: Path, identifier: str, sequence: str = "AFKDSWLEGH", smiles: str = "NC(=O)c1ccc(O)cc1"
) -> list[Atom]:
    """``<id>/<id>_protein.pdb`` and ``<id>/<id>_ligand.sdf``: a peptide with a ligand 4 A above its middle."""
    atoms = peptide(sequence)
    points = np.array([a.xyz for a in atoms])
    middle = next(a.xyz for a in atoms if a.number == len(sequence) // 2 and a.name == "CA")
    ligand = embedded(smiles, hydrogens=True)
    shape = ligand.GetConformer().GetPositions()
    for height in np.arange(3.0, 20.0, 0.25):  # as close as the side chains let it
        moved = shape + middle + (0.0, 0.0, height)
        if np.linalg.norm(moved[:, None] - points[None], axis=-1).min() > 3.0:
            break
    ligand.GetConformer().SetPositions(moved)
    write_pdb(folder / identifier / f"{identifier}_protein.pdb", atoms)
    (folder / identifier / f"{identifier}_ligand.sdf").write_text(Chem.MolToMolBlock(ligand) + "$$$$\n")
    return atoms


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation matrix [3, 3]."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q
