"""The residue table: one cleaned, ordered list of residues that every later stage shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex
from bindrae.structure import checks
from bindrae.structure.atoms import Atoms, texts
from bindrae.structure.context import (
    ContextAtoms,
    copies_of_ligand,
    gather_context,
    ligand_contacts,
    nearest_ligand_distance,
)
from bindrae.structure.grouping import choose_altlocs, group_residues
from bindrae.structure.notes import Notes, note
from bindrae.structure.slots import Slots, fill_slots
from bindrae.structure.table import ResidueTable, name_segments, peptide_bonds


def build_residue_table(
    atoms: Atoms,
    ligand_xyz: np.ndarray,
    settings: CleanSettings,
    where: str,
    ligand_element: np.ndarray | None = None,
) -> tuple[ResidueTable, ContextAtoms, Notes]:
    """Clean the atoms of a protein file into the residue table.

    Parameters
    ----------
    atoms : Atoms
        From `read_atoms`.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A); copies of it in the protein file are taken out.
    settings : CleanSettings
    where : str
        File name for messages.
    ligand_element : numpy.ndarray, optional
        [M] atomic numbers; carbon by default. They decide what is a bond with the protein and what a clash.

    Returns
    -------
    table : ResidueTable
    context : ContextAtoms
        What else stands near the ligand.
    notes : dict of str to int
        How many residues, chains or atoms each switch touched (`notes.NOTES`); nothing is dropped without a count.

    Raises
    ------
    RejectedComplex
        ``resolution``, ``protein_empty``, ``protein_without_backbone``, ``protein_distorted``, ``protein_too_large``,
        ``ligand_far`` or ``ligand_clash``.
    """
    notes = dict(atoms.notes)
    atoms = replace(atoms, notes=notes)
    _check_resolution(atoms, settings, where)
    if not len(atoms.name):
        raise RejectedComplex("protein_empty", f"{where} holds no heavy atom with coordinates but waters")
    atoms, residue = group_residues(atoms)
    chosen = choose_altlocs(atoms, residue, settings.altlocs)
    if len(chosen) < len(residue):
        atoms, residue = atoms.select(chosen), residue[chosen]
        residue = np.cumsum(np.diff(residue, prepend=residue[:1]) != 0)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    is_copy = copies_of_ligand(atoms.xyz, first, ligand_xyz)
    note(notes, "ligand_copies_dropped", is_copy.sum())

    slots = fill_slots(atoms, residue, first, settings)
    rows = _choose_rows(atoms, slots, first, is_copy, settings, where)
    table = make_table(atoms, slots, first, rows, settings)
    _note_types(table, slots, rows, settings, notes)

    table = _keep_near_chains(table, ligand_xyz, settings, where, notes)
    if len(table) > settings.max_residues:
        raise RejectedComplex(
            "protein_too_large", f"{where} holds {len(table)} residues, more than {settings.max_residues}"
        )
    beside = np.flatnonzero(~(slots.polymer | is_copy | slots.unusable)[residue])
    context = gather_context(
        atoms.select(beside), residue[beside], (slots.kind >= 0)[residue[beside]], ligand_xyz,
        settings.context_within_angstrom, notes,
    )  # fmt: skip
    if ligand_element is None:
        ligand_element = np.full(len(ligand_xyz), 6)
    context.ligand_link, clash = ligand_contacts(table.xyz, table.mask, table.aatype, ligand_xyz, ligand_element)
    note(notes, "covalent_ligand", len(context.ligand_link))
    if settings.max_clash_fraction is not None:
        note(notes, "clashing_ligand_atoms", round(clash * len(ligand_xyz)))
        if clash > settings.max_clash_fraction:
            raise RejectedComplex(
                "ligand_clash",
                f"{where}: {clash:.0%} of the ligand's atoms clash with the protein, more than "
                f"{settings.max_clash_fraction:.0%}",
            )
    return table, context, notes


def _check_resolution(atoms: Atoms, settings: CleanSettings, where: str) -> None:
    if settings.max_resolution_angstrom is None:
        return
    note(atoms.notes, "resolution_unknown", atoms.resolution is None)
    if atoms.resolution is not None and atoms.resolution > settings.max_resolution_angstrom:
        raise RejectedComplex(
            "resolution",
            f"{where}: {atoms.resolution:g} A, worse than clean.max_resolution_angstrom "
            f"{settings.max_resolution_angstrom:g}",
        )


def _choose_rows(
    atoms: Atoms, slots: Slots, first: np.ndarray, is_copy: np.ndarray, settings: CleanSettings, where: str
) -> np.ndarray:
    """Residues that become rows: a sound frame, part of a chain, not on top of another. Sets ``slots.polymer``."""
    notes = atoms.notes
    index = np.flatnonzero(slots.has_frame & ~is_copy)
    blamed = checks.distorted_atoms(slots.xyz[index], slots.mask[index], slots.kind[index])
    named, frameless = slots.named[index], checks.lacks_frame(blamed)
    distorted = np.count_nonzero(blamed.any(axis=1) & named)
    if distorted > settings.max_distorted_fraction * np.count_nonzero(named):
        raise RejectedComplex(
            "protein_distorted", f"{where}: {distorted} of {len(index)} residues have impossible bond lengths or angles"
        )
    lost = slots.named & ~slots.has_frame & ~is_copy
    size = np.diff(np.append(first, len(atoms.name)))
    note(notes, "residues_without_backbone_dropped", (lost & (~atoms.hetero[first] | (size > 5))).sum())
    note(notes, "distorted_backbones_dropped", (frameless & named).sum())
    slots.unusable[index[frameless & named]] = True

    rows = index[~frameless]
    linked = peptide_bonds(slots.xyz[rows], atoms.chain[first[rows]], settings.max_peptide_bond_angstrom)
    # A single amino acid written as HETATM is a ligand or an additive; a name that nobody knows needs a peptide bond
    # to be a residue.
    alone = (atoms.hetero[first[rows]] | slots.guessed[rows]) & ~linked & ~np.append(False, linked[:-1])
    rows = rows[~alone]
    repeated = checks.overlapping(slots.xyz[rows, aa.SLOT_CA])
    note(notes, "overlapping_residues_dropped", repeated.sum())
    slots.unusable[rows[repeated]] = True
    rows = rows[~repeated]
    slots.polymer[rows] = True

    blamed[~np.isin(index, rows)] = False
    note(notes, "distorted_residues", blamed.any(axis=1).sum() + (frameless & named).sum())
    note(notes, "distorted_atoms_masked", blamed.sum())
    slots.erase(index, blamed)
    if not len(rows):
        code = "protein_without_backbone" if slots.named.any() and not is_copy[slots.named].all() else "protein_empty"
        raise RejectedComplex(code, f"{where} holds no amino-acid residue with N, CA and C")
    mirrored = rows[checks.is_mirrored(slots.xyz[rows], slots.mask[rows])]
    note(notes, "mirrored_residues", len(mirrored))
    slots.erase(mirrored, np.arange(aa.N_SLOTS) >= aa.SLOT_CB)
    return rows


def make_table(
    atoms: Atoms, slots: Slots, first: np.ndarray, rows: np.ndarray, settings: CleanSettings
) -> ResidueTable:
    """The table of some residues, with peptide bonds and segments of chains found.

    Parameters
    ----------
    atoms : Atoms
        Grouped by residue; what is renamed is added to its notes.
    slots : Slots
        Of all residues.
    first : numpy.ndarray
        [R] first atom of each residue.
    rows : numpy.ndarray
        [N] residues that make the table.
    settings : CleanSettings
    """
    at = first[rows]
    linked = peptide_bonds(slots.xyz[rows], atoms.chain[at], settings.max_peptide_bond_angstrom)
    insertion = [code.strip() for code in texts(atoms.insertion[at])]
    chain, chain_index, renamed = name_segments(texts(atoms.chain[at]), atoms.number[at], insertion, linked)
    note(atoms.notes, "chain_segments_renamed", renamed)
    linked[:-1] &= chain_index[1:] == chain_index[:-1]
    return ResidueTable(
        chain=chain,
        number=atoms.number[at],
        insertion=insertion,
        name=texts(atoms.residue_name[at]),
        aatype=slots.kind[rows].astype(np.int8),
        chain_index=chain_index,
        linked=linked,
        xyz=slots.xyz[rows],
        mask=slots.mask[rows],
        bfactor=slots.bfactor[rows],
    )


def _note_types(table: ResidueTable, slots: Slots, rows: np.ndarray, settings: CleanSettings, notes: Notes) -> None:
    of_name = {name: aa.ALIASES.get(name, name) in aa.TYPE_OF_NAME for name in set(table.name)}
    standard = np.array([of_name[name] for name in table.name])
    unknown = table.aatype == aa.UNKNOWN
    guessed = slots.guessed[rows] & ~unknown
    note(notes, "types_from_atoms", guessed.sum())
    note(notes, "modified_residues_mapped", (~standard & ~unknown & ~guessed).sum())
    note(notes, "unknown_residues", unknown.sum())
    note(
        notes,
        "d_residues",
        (slots.mirror_named if settings.d_residues == "context" else slots.mirror_named[rows]).sum(),
    )
    note(notes, "atoms_outside_the_type_dropped", slots.lost[rows].sum())
    note(notes, "missing_heavy_atoms", (aa.ATOM14_MASK[table.aatype] & ~table.mask).sum())
    empty = slots.empty[rows]
    note(notes, "zero_occupancy_atoms", 0 if (empty == table.mask).all() else empty.sum())


def _keep_near_chains(
    table: ResidueTable, ligand_xyz: np.ndarray, settings: CleanSettings, where: str, notes: Notes
) -> ResidueTable:
    reach = max(settings.max_ligand_distance_angstrom, settings.chains_within_angstrom or 0.0)
    distance = nearest_ligand_distance(table.xyz, table.mask, ligand_xyz, reach)
    if distance.min() > settings.max_ligand_distance_angstrom:
        raise RejectedComplex(
            "ligand_far", f"{where}: no protein atom within {settings.max_ligand_distance_angstrom:g} A of the ligand"
        )
    if settings.chains_within_angstrom is None:
        return table
    near = np.full(int(table.chain_index.max()) + 1, np.inf)
    np.minimum.at(near, table.chain_index, distance)
    keep = near <= settings.chains_within_angstrom
    note(notes, "far_chains_dropped", (~keep).sum())
    return table if keep.all() else table.select(keep[table.chain_index])
