"""The residue table: one cleaned, ordered list of residues that every later stage shares."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import gemmi
import numpy as np

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex

WATER_NAMES = np.array([b"HOH", b"WAT", b"DOD", b"H2O", b"TIP", b"TIP3", b"SOL"], dtype="S8")
_HYDROGENS = (1, 119)  # gemmi's flat arrays number deuterium 119
_BACKBONE_SLOTS = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]


@dataclass
class Atoms:
    """Flat atom arrays of one model, heavy atoms only, waters gone; the raw material of the table."""

    name: np.ndarray  # [A] S8
    residue_name: np.ndarray  # [A] S8
    chain: np.ndarray  # [A] S8
    number: np.ndarray  # [A] int32
    insertion: np.ndarray  # [A] S1
    altloc: np.ndarray  # [A] S1
    occupancy: np.ndarray  # [A] float32
    bfactor: np.ndarray  # [A] float32
    element: np.ndarray  # [A] int16, atomic number
    charge: np.ndarray  # [A] int8
    hetero: np.ndarray  # [A] bool
    xyz: np.ndarray  # [A, 3] float32

    def select(self, index: np.ndarray) -> Atoms:
        """The same arrays for some atoms."""
        return Atoms(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass
class ContextAtoms:
    """Atoms near the pocket that are neither residues nor the ligand: metals, cofactors, further ligands."""

    element: np.ndarray  # [K] int16
    charge: np.ndarray  # [K] int8
    xyz: np.ndarray  # [K, 3] float32
    residue_name: list[str]


@dataclass
class ResidueTable:
    """N residues in file order, chain by chain.

    ``xyz`` is zero where ``mask`` is False; missing atoms are never invented.
    """

    chain: list[str]
    number: np.ndarray  # [N] int32, author numbering
    insertion: list[str]
    name: list[str]  # as in the file, before mapping to the parent
    aatype: np.ndarray  # [N] int8, 0-20
    chain_index: np.ndarray  # [N] int16
    linked: np.ndarray  # [N] bool, peptide bond to the next row
    xyz: np.ndarray  # [N, 14, 3] float32, angstrom
    mask: np.ndarray  # [N, 14] bool
    bfactor: np.ndarray  # [N, 14] float32

    def __len__(self) -> int:
        return len(self.aatype)

    def select(self, index: np.ndarray) -> ResidueTable:
        """The same table for some rows, in their order; links to rows left out are cut."""
        rows = np.arange(len(self))[index]
        following = np.append(rows[1:], -1)
        return ResidueTable(
            chain=[self.chain[i] for i in rows],
            number=self.number[rows],
            insertion=[self.insertion[i] for i in rows],
            name=[self.name[i] for i in rows],
            aatype=self.aatype[rows],
            chain_index=np.unique(self.chain_index[rows], return_inverse=True)[1].astype(np.int16),
            linked=self.linked[rows] & (following == rows + 1),
            xyz=self.xyz[rows],
            mask=self.mask[rows],
            bfactor=self.bfactor[rows],
        )

    def sequences(self) -> list[str]:
        """One-letter sequence of each chain, in order of ``chain_index``."""
        letters = np.array(list(aa.ONE_LETTER))[self.aatype]
        return ["".join(letters[self.chain_index == k]) for k in range(int(self.chain_index.max(initial=-1)) + 1)]


def read_atoms(path: Path) -> Atoms:
    """Read the first model of a PDB or mmCIF file (also gzipped) as flat arrays.

    Hydrogens and waters are left out.

    Raises
    ------
    RejectedComplex
        ``protein_missing``, ``protein_unreadable`` or ``protein_empty``.
    """
    if not path.is_file():
        raise RejectedComplex("protein_missing", f"{path} does not exist")
    try:
        structure = gemmi.read_structure(str(path))
        flat = gemmi.FlatStructure(structure)
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise RejectedComplex("protein_unreadable", f"{path}: {error}") from None
    if not len(flat.pos):
        raise RejectedComplex("protein_empty", f"{path} holds no atoms")
    residue_name = np.asarray(flat.residue_names).view("S8").ravel()
    keep = (
        (flat.model_num == flat.model_num[0])
        & ~np.isin(flat.elements, _HYDROGENS)
        & ~np.isin(residue_name, WATER_NAMES)
        & np.isfinite(flat.pos).all(axis=1)
    )
    atoms = Atoms(
        name=np.asarray(flat.atom_names).view("S8").ravel(),
        residue_name=residue_name,
        chain=np.asarray(flat.chain_ids).view("S8").ravel(),
        number=flat.resnums.astype(np.int32),
        insertion=flat.icodes.view("S1"),
        altloc=flat.altlocs.view("S1"),
        occupancy=flat.occ.astype(np.float32),
        bfactor=flat.b_iso.astype(np.float32),
        element=flat.elements.astype(np.int16),
        charge=flat.charge.astype(np.int8),
        hetero=flat.het_flags == ord("H"),
        xyz=flat.pos.astype(np.float32),
    )
    return atoms.select(np.flatnonzero(keep))


def group_residues(atoms: Atoms) -> np.ndarray:
    """Residue index of each atom: a new residue wherever chain, number, insertion code or name changes.

    Returns
    -------
    numpy.ndarray
        [A] int64, non-decreasing from 0.
    """
    if not len(atoms.name):
        return np.zeros(0, dtype=np.int64)
    changed = np.zeros(len(atoms.name), dtype=bool)
    # At one position two names are microheterogeneity, an alternate location of the whole residue: one residue.
    for column in (atoms.chain, atoms.number, atoms.insertion):
        changed[1:] |= column[1:] != column[:-1]
    changed[1:] |= (atoms.residue_name[1:] != atoms.residue_name[:-1]) & (atoms.altloc[1:] == b"")
    return np.cumsum(changed)


def choose_altlocs(atoms: Atoms, residue: np.ndarray, rule: str) -> np.ndarray:
    """Indices of the atoms that stay when each residue keeps one alternate location.

    Parameters
    ----------
    atoms : Atoms
    residue : numpy.ndarray
        [A] residue index of each atom.
    rule : {"highest_occupancy", "first"}
        Which location wins; equal occupancies fall to the first label.

    Returns
    -------
    numpy.ndarray
        Atom indices in file order. Atoms without a label always stay.
    """
    labelled = np.flatnonzero(atoms.altloc != b"")
    keep = np.ones(len(atoms.name), dtype=bool)
    if len(labelled):
        keep[labelled] = False
        starts = np.flatnonzero(np.diff(residue[labelled], prepend=-1))
        for group in np.split(labelled, starts[1:]):
            labels, which = np.unique(atoms.altloc[group], return_inverse=True)
            if rule == "highest_occupancy":
                mean = np.bincount(which, weights=atoms.occupancy[group]) / np.bincount(which)
                winner = labels[int(np.argmax(np.round(mean, 3)))]
            else:
                winner = atoms.altloc[group[0]]
            keep[group[atoms.altloc[group] == winner]] = True
    # The same atom name twice in a residue (a fault of some writers): the first stays.
    index = np.flatnonzero(keep)
    key = np.rec.fromarrays([residue[index], atoms.name[index]])
    _, first = np.unique(key, return_index=True)
    return index[np.sort(first)]


def residue_type(name: str, settings: CleanSettings) -> int | None:
    """Type index of a residue name, or None when it is no amino acid.

    Parameters
    ----------
    name : str
        Three-letter (or force-field) name.
    settings : CleanSettings
        ``modified_residues`` decides between the parent and the unknown type.
    """
    name = aa.ALIASES.get(name, name)
    if name in aa.TYPE_OF_NAME:
        return aa.TYPE_OF_NAME[name]
    info = gemmi.find_tabulated_residue(name)
    if info is None or not info.is_amino_acid():
        return aa.UNKNOWN if name == "UNK" else None
    if settings.modified_residues == "to_parent":
        return aa.TYPE_OF_LETTER.get(info.one_letter_code.upper(), aa.UNKNOWN)
    return aa.UNKNOWN


def build_residue_table(
    atoms: Atoms, ligand_xyz: np.ndarray, settings: CleanSettings, where: str
) -> tuple[ResidueTable, ContextAtoms, dict[str, int]]:
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

    Returns
    -------
    table : ResidueTable
    context : ContextAtoms
        What else stands near the ligand.
    notes : dict of str to int
        How many residues, chains or atoms each switch touched; nothing is dropped without a count here.

    Raises
    ------
    RejectedComplex
        ``protein_empty``, ``protein_too_large`` or ``ligand_far``.
    """
    notes: dict[str, int] = {}
    residue = group_residues(atoms)
    chosen = choose_altlocs(atoms, residue, settings.altlocs)
    _note(notes, "altloc_atoms_dropped", len(atoms.name) - len(chosen))
    atoms = atoms.select(chosen)
    residue = group_residues(atoms)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    count = np.diff(np.append(first, len(residue)))

    names, which = np.unique(atoms.residue_name[first], return_inverse=True)
    type_of_name = [residue_type(name.decode(), settings) for name in names]
    kind = np.array([-1 if t is None else t for t in type_of_name], dtype=np.int64)[which]

    is_copy = _copies_of_ligand(atoms.xyz, first, ligand_xyz)
    _note(notes, "ligand_copies_dropped", int(is_copy.sum()))

    xyz, mask, bfactor, lost = _fill_slots(atoms, residue, kind)
    polymer = (kind >= 0) & mask[:, _BACKBONE_SLOTS].all(axis=1) & ~is_copy
    linked = _peptide_bonds(xyz, polymer, atoms.chain[first], settings.max_peptide_bond_angstrom)
    # A single amino acid written as HETATM is a ligand or an additive, not part of a chain.
    alone = atoms.hetero[first] & ~linked & ~np.append(False, linked[:-1])
    polymer &= ~alone
    incomplete = (kind >= 0) & ~polymer & ~is_copy & ~alone & (~atoms.hetero[first] | (count > 5))
    _note(notes, "residues_without_backbone_dropped", int(incomplete.sum()))
    _note(notes, "atoms_outside_the_type_dropped", int(lost[polymer].sum()))
    rows = np.flatnonzero(polymer)
    if not len(rows):
        raise RejectedComplex("protein_empty", f"{where} holds no amino-acid residue with N, CA and C")

    chain = atoms.chain[first[rows]]
    new_chain = np.append(True, chain[1:] != chain[:-1])
    table = ResidueTable(
        chain=[c.decode() for c in chain],
        number=atoms.number[first[rows]],
        insertion=[i.decode().strip() for i in atoms.insertion[first[rows]]],
        name=[n.decode() for n in atoms.residue_name[first[rows]]],
        aatype=kind[rows].astype(np.int8),
        chain_index=(np.cumsum(new_chain) - 1).astype(np.int16),
        linked=linked[rows],
        xyz=xyz[rows],
        mask=mask[rows],
        bfactor=bfactor[rows],
    )
    standard = np.array([aa.ALIASES.get(n, n) in aa.TYPE_OF_NAME for n in table.name])
    _note(notes, "modified_residues_mapped", int((~standard & (table.aatype != aa.UNKNOWN)).sum()))
    _note(notes, "unknown_residues", int((table.aatype == aa.UNKNOWN).sum()))
    _note(notes, "missing_heavy_atoms", int((aa.ATOM14_MASK[table.aatype] & ~table.mask).sum()))

    table = _keep_near_chains(table, ligand_xyz, settings, where, notes)
    if len(table) > settings.max_residues:
        raise RejectedComplex(
            "protein_too_large", f"{where} holds {len(table)} residues, more than {settings.max_residues}"
        )
    context = _context(atoms, residue, ~polymer & ~is_copy, ligand_xyz, settings.context_within_angstrom)
    _note(notes, "context_atoms_kept", len(context.element))
    return table, context, notes


def _note(notes: dict[str, int], key: str, count: int) -> None:
    if count:
        notes[key] = notes.get(key, 0) + count


def _fill_slots(
    atoms: Atoms, residue: np.ndarray, kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """atom14 arrays of all residues, and how many heavy atoms of each found no slot."""
    n = len(kind)
    xyz = np.zeros((n, aa.N_SLOTS, 3), dtype=np.float32)
    mask = np.zeros((n, aa.N_SLOTS), dtype=bool)
    bfactor = np.zeros((n, aa.N_SLOTS), dtype=np.float32)
    pairs = np.rec.fromarrays([kind[residue], atoms.residue_name, atoms.name])
    unique, inverse = np.unique(pairs, return_inverse=True)
    slot_of = np.full(len(unique), -1)
    for i, (t, residue_name, name) in enumerate(unique.tolist()):
        if t >= 0:
            aliased = aa.ATOM_ALIASES.get(residue_name.decode(), {}).get(name.decode(), name.decode())
            if aliased in aa.ATOM14_NAMES[t]:
                slot_of[i] = aa.ATOM14_NAMES[t].index(aliased)
    slot = slot_of[inverse.ravel()]
    placed = slot >= 0
    xyz[residue[placed], slot[placed]] = atoms.xyz[placed]
    mask[residue[placed], slot[placed]] = True
    bfactor[residue[placed], slot[placed]] = atoms.bfactor[placed]
    # OXT is the second oxygen of a C terminus: real, but no slot of atom14 holds it.
    lost = np.bincount(residue[~placed & (atoms.name != b"OXT")], minlength=n)
    return xyz, mask, bfactor, lost


def _peptide_bonds(xyz: np.ndarray, polymer: np.ndarray, chain: np.ndarray, longest: float) -> np.ndarray:
    linked = np.zeros(len(polymer), dtype=bool)
    distance = np.linalg.norm(xyz[:-1, aa.SLOT_C] - xyz[1:, aa.SLOT_N], axis=-1)
    linked[:-1] = polymer[:-1] & polymer[1:] & (chain[:-1] == chain[1:]) & (distance < longest)
    return linked


def _copies_of_ligand(xyz: np.ndarray, first: np.ndarray, ligand_xyz: np.ndarray) -> np.ndarray:
    """Residues at least half of whose atoms lie on atoms of the ligand (within 0.5 A)."""
    low, high = ligand_xyz.min(axis=0) - 0.5, ligand_xyz.max(axis=0) + 0.5
    near = np.flatnonzero(((xyz >= low) & (xyz <= high)).all(axis=1))
    on = np.zeros(len(xyz))
    if len(near):
        distance = np.linalg.norm(xyz[near, None] - ligand_xyz[None], axis=-1).min(axis=1)
        on[near] = distance < 0.5
    count = np.diff(np.append(first, len(xyz)))
    return np.add.reduceat(on, first) / count >= 0.5 if len(first) else np.zeros(0, dtype=bool)


def nearest_ligand_distance(xyz: np.ndarray, mask: np.ndarray, ligand_xyz: np.ndarray, beyond: float) -> np.ndarray:
    """Smallest distance from each residue's atoms to the ligand.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, S, 3] atoms (A).
    mask : numpy.ndarray
        [N, S] which of them exist.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A).
    beyond : float
        Residues farther from the ligand's bounding box than this need no exact value (A).

    Returns
    -------
    numpy.ndarray
        [N] float32; infinity for residues beyond.
    """
    low, high = ligand_xyz.min(axis=0) - beyond, ligand_xyz.max(axis=0) + beyond
    rows, slots = np.nonzero(mask & ((xyz >= low) & (xyz <= high)).all(axis=-1))
    nearest = np.full(len(xyz), np.inf, dtype=np.float32)
    if len(rows):
        atoms = xyz[rows, slots]
        squared = ((atoms[:, None] - ligand_xyz[None]) ** 2).sum(axis=-1).min(axis=1)
        np.minimum.at(nearest, rows, np.sqrt(squared, dtype=np.float32))
    return nearest


def _keep_near_chains(
    table: ResidueTable, ligand_xyz: np.ndarray, settings: CleanSettings, where: str, notes: dict[str, int]
) -> ResidueTable:
    reach = max(settings.max_ligand_distance_angstrom, settings.chains_within_angstrom or 0.0)
    distance = nearest_ligand_distance(table.xyz, table.mask, ligand_xyz, reach)
    if distance.min() > settings.max_ligand_distance_angstrom:
        raise RejectedComplex(
            "ligand_far", f"{where}: no protein atom within {settings.max_ligand_distance_angstrom:g} A of the ligand"
        )
    if settings.chains_within_angstrom is None:
        return table
    n_chains = int(table.chain_index.max()) + 1
    near = np.full(n_chains, np.inf)
    np.minimum.at(near, table.chain_index, distance)
    keep = near <= settings.chains_within_angstrom
    _note(notes, "far_chains_dropped", int((~keep).sum()))
    return table if keep.all() else table.select(keep[table.chain_index])


def _context(
    atoms: Atoms, residue: np.ndarray, is_context: np.ndarray, ligand_xyz: np.ndarray, within: float
) -> ContextAtoms:
    index = np.flatnonzero(is_context[residue])
    if len(index):
        distance = np.linalg.norm(atoms.xyz[index, None] - ligand_xyz[None], axis=-1).min(axis=1)
        near = np.unique(residue[index[distance <= within]])  # whole molecules, not fragments of them
        index = index[np.isin(residue[index], near)]
    return ContextAtoms(
        element=atoms.element[index],
        charge=atoms.charge[index],
        xyz=atoms.xyz[index],
        residue_name=[n.decode() for n in atoms.residue_name[index]],
    )
