"""What `score` compares: a true complex through the project's cleaning, and any program's file as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings, PocketSettings
from bindrae.data.batch import atom_radii
from bindrae.errors import RejectedComplex
from bindrae.evaluation.ligand_atoms import read_ligand_atoms
from bindrae.evaluation.match import FileResidues, match_residues
from bindrae.evaluation.metrics import kabsch_align
from bindrae.structure.atoms import MAX_COORDINATE, Atoms, read_atoms, text
from bindrae.structure.grouping import choose_altlocs, group_residues
from bindrae.structure.pocket import pocket_of
from bindrae.structure.protein import build_residue_table
from bindrae.structure.slots import fill_slots
from bindrae.structure.table import ResidueTable
from bindrae.structure.torsions import residue_torsions

_MOVED_ANGSTROM = 2.0
"""CA atoms that lie this far off the truth, and much closer once superposed, stand in another coordinate frame."""


@dataclass(frozen=True)
class Truth:
    """One true complex in the form that `score_complex` takes."""

    path: Path
    table: ResidueTable
    file: FileResidues  # all residues of the protein file, cleaned or not
    sample: dict[str, np.ndarray]
    ligand_radius: np.ndarray  # [L] (A), 0 for metals
    has_ligand: bool


def read_truth(protein: Path, ligand: list[str], settings: CleanSettings) -> Truth:
    """Read and clean a true complex.

    Parameters
    ----------
    protein : Path
        PDB or mmCIF.
    ligand : list of str
        Files of one ligand (SDF, MOL2), best first, or ``hetatm:NAME/CHAIN/NUMBER`` for a residue of the protein file.
        Empty for none: then there is no pocket.
    settings : CleanSettings

    Raises
    ------
    RejectedComplex
        As `clean` rejects complexes, but for ligands whose atoms can be read and whose bonds cannot.
    """
    atoms = read_atoms(protein)
    if not ligand:
        # Cleaning wants a ligand: a point beyond all that a file can hold touches nothing.
        nowhere = np.full((1, 3), 10 * MAX_COORDINATE, dtype=np.float32)
        free = settings.model_copy(update={"max_ligand_distance_angstrom": 100 * MAX_COORDINATE})
        table, _, _ = build_residue_table(atoms, nowhere, free, str(protein))
        xyz, element = np.zeros((0, 3), np.float32), np.zeros(0, np.int16)
        pocket = {"w_res": np.zeros(len(table), np.float32), "contact": np.zeros(len(table), dtype=bool)}
    else:
        xyz, element = read_ligand_atoms(ligand, atoms, protein, settings)
        table, _, _ = build_residue_table(atoms, xyz, settings, str(protein), element)
        pocket = pocket_of(table.xyz, table.mask, table.linked, xyz, PocketSettings())
    angles, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    sample = {
        "aatype": table.aatype,
        "atom14": table.xyz,
        "atom14_mask": table.mask,
        "linked": table.linked,
        "bfactor": table.bfactor,
        "torsion_angles": angles,
        "torsion_mask": defined,
        "w_res": pocket["w_res"],
        "contact": pocket["contact"],
        "ligand_xyz": xyz,
        "ligand_element": element,
    }
    radius = atom_radii(torch.as_tensor(element)).numpy()
    return Truth(protein, table, _file_residues(atoms, settings), sample, radius, bool(ligand))


def _file_residues(atoms: Atoms, settings: CleanSettings) -> FileResidues:
    """Every amino acid of a file, whatever `clean` would say of it; one location of each."""
    atoms, residue = group_residues(atoms)
    chosen = choose_altlocs(atoms, residue, settings.altlocs)
    atoms, residue = atoms.select(chosen), residue[chosen]
    residue = np.cumsum(np.diff(residue, prepend=residue[:1]) != 0)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    slots = fill_slots(atoms, residue, first, settings)
    rows = np.flatnonzero(slots.kind >= 0)
    at = first[rows]
    return FileResidues(
        chain=[text(c).strip() for c in atoms.chain[at].tolist()],
        number=atoms.number[at],
        insertion=[text(i).strip() for i in atoms.insertion[at].tolist()],
        kind=slots.kind[rows],
        xyz=slots.xyz[rows],
        mask=slots.mask[rows],
    )


def read_prediction(path: Path, truth: Truth, settings: CleanSettings) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Atoms of a predicted structure, in the rows of the true residue table.

    No residue is lost to cleaning: what the file holds is taken as it stands. Of a residue whose type differs from
    the true one, the backbone and CB are taken.

    Parameters
    ----------
    path : Path
        PDB or mmCIF, by any program; hydrogens are passed over.
    truth : Truth
    settings : CleanSettings
        Only the choice between alternate locations is used.

    Returns
    -------
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    notes : list of str
        What a reader of the figures should know.

    Raises
    ------
    RejectedComplex
        When the file cannot be read.
    BindraeError
        When its residues cannot be told, see `match_residues`.
    """
    atoms = read_atoms(path)
    residues = _file_residues(atoms, settings)
    if not len(residues):
        raise RejectedComplex("protein_empty", f"{path} holds no amino-acid residue")
    rows, notes = match_residues(truth.table, truth.file, residues, str(path), str(truth.path))
    if "models_dropped" in atoms.notes:
        notes.append(f"{atoms.notes['models_dropped']} further models were not read")
    if "coordinates_unreadable" in atoms.notes:
        notes.append(f"{atoms.notes['coordinates_unreadable']} atoms have coordinates that are no numbers: missing")
    xyz, mask = take_rows(truth.table.aatype.astype(np.int64), residues, rows)
    moved = _frame_note(xyz, mask, truth)
    return xyz, mask, notes + ([moved] if moved else [])


def crystal_of(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The true file read as a prediction is: [N, 14, 3] and [N, 14]; the floor of every metric."""
    rows, _ = match_residues(truth.table, truth.file, truth.file, str(truth.path), str(truth.path))
    return take_rows(truth.table.aatype.astype(np.int64), truth.file, rows)


def take_rows(aatype: np.ndarray, residues: FileResidues, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of a file in the rows of a residue table.

    Parameters
    ----------
    aatype : numpy.ndarray
        [N] types of the table.
    residues : FileResidues
        R residues.
    rows : numpy.ndarray
        [N] index of each row's residue, -1 for none.

    Returns
    -------
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    """
    there = rows >= 0
    at = np.where(there, rows, 0)
    shared = (residues.kind[at] == aatype)[:, None] | (np.arange(aa.N_SLOTS) <= aa.SLOT_CB)
    mask = residues.mask[at] & there[:, None] & shared & aa.ATOM14_MASK[aatype]
    return np.where(mask[..., None], residues.xyz[at], np.float32(0.0)), mask


def _frame_note(xyz: np.ndarray, mask: np.ndarray, truth: Truth) -> str | None:
    both = mask[:, aa.SLOT_CA] & truth.table.mask[:, aa.SLOT_CA]
    if both.sum() < 3:
        return None
    p, t = (x[both, aa.SLOT_CA].astype(np.float64) for x in (xyz, truth.table.xyz))
    rotation, translation = kabsch_align(p, t)
    as_is, fitted = (float(np.sqrt(((x - t) ** 2).sum(-1).mean())) for x in (p, p @ rotation.T + translation))
    if as_is < _MOVED_ANGSTROM or fitted > 0.5 * as_is:
        return None
    return (
        f"CA atoms lie {as_is:.1f} A from the truth, {fitted:.1f} A after superposition: the prediction stands in "
        "another coordinate frame, which side-chain RMSD and ligand clashes do not forgive; superpose it first"
    )
