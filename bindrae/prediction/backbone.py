"""The residue table from the backbone alone, and what stands beside the protein."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex
from bindrae.prediction.source import Finder, place, runs_of
from bindrae.structure.atoms import Atoms, text, unique_labels
from bindrae.structure.checks import overlapping
from bindrae.structure.context import copies_of_ligand, gather_context
from bindrae.structure.grouping import choose_altlocs, group_residues
from bindrae.structure.names import residue_type
from bindrae.structure.protein import make_table
from bindrae.structure.slots import fill_slots
from bindrae.structure.table import ResidueTable, peptide_bonds

_MIN_SINE = 1e-2  # N, CA and C closer to a line than this give no frame
OTHER_MOLECULES = ("part of the ligand", "a molecule of its own")
"""Why an amino acid is no residue of the protein at all."""
_BACKBONE = [name.encode() for name in aa.BACKBONE]


def backbone_table(
    atoms: Atoms, ligand_xyz: np.ndarray, settings: CleanSettings, where: str
) -> tuple[ResidueTable, list[bytes], list[tuple[str, str]]]:
    """The residue table from N, CA, C and O alone; the type of a residue follows from its name.

    Unlike in cleaning, odd bond lengths are no reason to leave a residue out: a user's backbone may be rough.

    Parameters
    ----------
    atoms : Atoms
        From `read_atoms`; side-chain atoms are not looked at.
    ligand_xyz : numpy.ndarray
        [M, 3] (A), M may be 0.
    settings : CleanSettings
    where : str
        File name for messages.

    Returns
    -------
    table : ResidueTable
    altlocs : list of bytes
        [N] alternate location that was taken of each row, empty where there is none.
    outside : list of (str, str)
        Place of each amino acid that is no row, and why.

    Raises
    ------
    RejectedComplex
        ``protein_empty`` or ``protein_without_backbone``.
    """
    names, which = unique_labels(atoms.residue_name)
    amino = np.array([residue_type(text(name), settings, atoms.parents) is not None for name in names], dtype=bool)
    run = runs_of(atoms)
    in_frame = np.isin(atoms.name, (b"N", b"CA", b"C"))
    framed = np.bincount(run[in_frame], minlength=int(run.max(initial=0)) + 1) >= 3
    bare = atoms.select(np.flatnonzero(np.isin(atoms.name, _BACKBONE) & (amino[which] | framed[run])))
    bare = replace(bare, notes={})
    if not len(bare.name):
        raise RejectedComplex("protein_empty", f"{where} holds no amino-acid residue")
    bare, residue = group_residues(bare)
    chosen = choose_altlocs(bare, residue, settings.altlocs)
    bare, residue = bare.select(chosen), residue[chosen]
    residue = np.cumsum(np.diff(residue, prepend=residue[:1]) != 0)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    slots = fill_slots(bare, residue, first, settings)
    reason = np.full(len(first), "", dtype=object)
    reason[~slots.has_frame] = "N, CA or C is missing"
    reason[slots.has_frame & _is_flat(slots.xyz)] = "N, CA and C stand on a line"
    if len(ligand_xyz):
        reason[copies_of_ligand(bare.xyz, first, ligand_xyz)] = OTHER_MOLECULES[0]
    rows = np.flatnonzero(reason == "")
    linked = peptide_bonds(slots.xyz[rows], bare.chain[first[rows]], settings.max_peptide_bond_angstrom)
    alone = (bare.hetero[first[rows]] | slots.guessed[rows]) & ~linked & ~np.append(False, linked[:-1])
    reason[rows[alone]] = OTHER_MOLECULES[1]
    rows = rows[~alone]
    repeated = overlapping(slots.xyz[rows, aa.SLOT_CA]) if len(rows) else np.zeros(0, dtype=bool)
    reason[rows[repeated]] = "stands on another residue"
    rows = rows[~repeated]
    if not len(rows):
        raise RejectedComplex("protein_without_backbone", f"{where} holds no amino-acid residue with N, CA and C")
    outside = []
    for i in first[reason != ""].tolist():
        name = place(bytes(bare.chain[i]), int(bare.number[i]), bytes(bare.insertion[i]))
        outside.append((name, str(reason[residue[i]])))
    table = make_table(bare, slots, first, rows, settings)
    ca = np.flatnonzero(bare.name == b"CA")
    of_residue = dict(zip(residue[ca].tolist(), bare.altloc[ca].tolist(), strict=True))
    return table, [of_residue[row] for row in rows.tolist()], outside


def _is_flat(xyz: np.ndarray) -> np.ndarray:
    """[R] bool, N, CA and C stand on a line or on one another."""
    a, b = (xyz[:, slot] - xyz[:, aa.SLOT_CA] for slot in (aa.SLOT_N, aa.SLOT_C))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray(np.linalg.norm(np.cross(a, b), axis=-1) <= _MIN_SINE * lengths)


def context_beside(
    atoms: Atoms, table: ResidueTable, altlocs: list[bytes], ligand_xyz: np.ndarray, settings: CleanSettings
) -> dict[str, np.ndarray]:
    """Metals, cofactors and further ligands near the ligand; of amino acids only free ones, written as HETATM.

    Parameters
    ----------
    atoms : Atoms
        From `read_atoms`.
    table : ResidueTable
    altlocs : list of bytes
        From `backbone_table`; its residues are no context.
    ligand_xyz : numpy.ndarray
        [M, 3] (A); copies of the ligand are no context either.
    settings : CleanSettings

    Returns
    -------
    dict of str to numpy.ndarray
        ``context_xyz`` [K, 3] (A), ``context_element`` and ``context_charge`` [K].
    """
    names, which = unique_labels(atoms.residue_name)
    known = [residue_type(text(name), settings, atoms.parents) is not None for name in names]
    amino = np.array(known, dtype=bool)[which]
    run = runs_of(atoms)
    in_table = np.zeros(int(run.max(initial=0)) + 1, dtype=bool)
    in_table[run[Finder(atoms).find(table.xyz[:, aa.SLOT_CA], table.name, altlocs)]] = True
    beside = atoms.select(np.flatnonzero(~in_table[run] & (~amino | atoms.hetero)))
    if not len(beside.name):
        return {
            "context_xyz": beside.xyz,
            "context_element": beside.element,
            "context_charge": beside.charge,
        }
    beside, residue = group_residues(replace(beside, notes={}))
    chosen = choose_altlocs(beside, residue, settings.altlocs)
    beside, residue = beside.select(chosen), residue[chosen]
    residue = np.cumsum(np.diff(residue, prepend=residue[:1]) != 0)
    copy = copies_of_ligand(beside.xyz, np.flatnonzero(np.diff(residue, prepend=-1)), ligand_xyz)
    other = np.flatnonzero(~copy[residue])
    beside, residue = beside.select(other), residue[other]
    # A free amino acid is a molecule like others, however few its atoms.
    fragment = np.zeros(len(residue), dtype=bool)
    found = gather_context(beside, residue, fragment, ligand_xyz, settings.context_within_angstrom, {})
    return {"context_xyz": found.xyz, "context_element": found.element, "context_charge": found.charge}
