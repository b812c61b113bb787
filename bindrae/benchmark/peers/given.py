"""What every program is given of a complex: one PDB file with the backbone, the ligand and other molecules.

No atom of a side chain is in it, not even CB, and no B-factor, occupancy or SSBOND record that would tell of one.
Modified amino acids are named as the parent that they are scored as, those of no known type GLY, which has no side
chain to pack.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from bindrae.chem import residues as aa
from bindrae.chem.hetero import PREFIX, find_group, parse_hetero
from bindrae.config import CleanSettings
from bindrae.data.storage import sha256_file, sha256_text, write_text
from bindrae.errors import BindraeError
from bindrae.evaluation.ligand_atoms import read_ligand_atoms
from bindrae.prediction.backbone import OTHER_MOLECULES, backbone_table
from bindrae.prediction.source import Finder, place, runs_of
from bindrae.structure.atoms import Atoms, read_atoms, text, unique_labels
from bindrae.structure.context import copies_of_ligand
from bindrae.structure.grouping import choose_altlocs, group_residues
from bindrae.structure.names import residue_type
from bindrae.structure.table import ResidueTable

MOLECULES_CHAIN = "_"
"""Chain of the ligand and of all other molecules; ProMod3 takes what stands in it for fixed obstacles."""
UNKNOWN_LIGAND = "UNL"
"""Residue name of a ligand that comes as a file: the only one that no component dictionary gives atoms for."""
_CHAINS = string.ascii_uppercase + string.ascii_lowercase + string.digits
_NUMBERS = range(-999, 10000)  # what four columns hold


@dataclass(frozen=True)
class Entry:
    """One complex of a dataset: true protein and ligand."""

    id: str
    protein: Path
    ligand: list[str]  # files of one ligand, best first, or one residue of the protein file


@dataclass(frozen=True)
class Given:
    """What the programs are given of a complex."""

    id: str
    path: Path  # the PDB file
    ligand: str | list[str]  # with bond orders, for programs that read them: files, or a residue of `path`
    n_residues: int
    digest: str  # of all that is given


def write_given(entry: Entry, path: Path, noise: float = 0.0) -> Given:
    """Strip a complex and write what is left.

    Parameters
    ----------
    entry : Entry
    path : Path
        PDB file to write; left alone when it holds the same.
    noise : float
        Standard deviation (A) of what each coordinate of each backbone atom is moved by; the draws follow from the id.

    Raises
    ------
    RejectedComplex
        When the protein or the atoms of the ligand cannot be read.
    BindraeError
        When the PDB format, which all packers read, cannot hold the structure.
    """
    settings = CleanSettings()
    atoms = read_atoms(entry.protein)
    ligand_xyz, ligand_element = read_ligand_atoms(entry.ligand, atoms, entry.protein, settings)
    table, altlocs, outside = backbone_table(atoms, ligand_xyz, settings, str(entry.protein))
    structure = gemmi.Structure()
    model = gemmi.Model(1)
    for chain in _protein_chains(_disturbed(table, noise, entry.id), entry.protein):
        model.add_chain(chain)
    others = gemmi.Chain(MOLECULES_CHAIN)
    ligand = _ligand(entry, atoms, ligand_xyz, ligand_element)
    others.add_residue(ligand)
    for residue in _molecules(atoms, table, altlocs, outside, ligand_xyz, settings):
        residue.seqid = gemmi.SeqId(len(others) + 1, " ")
        others.add_residue(residue)
    model.add_chain(others)
    structure.add_model(model)
    content = structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, ter_records=False, cryst1_record=False))
    if not path.is_file() or path.read_text() != content:
        write_text(content, path)
    if entry.ligand[0].startswith(PREFIX):
        return Given(entry.id, path, f"{PREFIX}{ligand.name}/{MOLECULES_CHAIN}/1", len(table), sha256_text(content))
    files = [name for name in entry.ligand if Path(name).is_file()]
    digest = sha256_text(" ".join([sha256_text(content), *(sha256_file(Path(name)) for name in files)]))
    return Given(entry.id, path, files, len(table), digest)


def _disturbed(table: ResidueTable, noise: float, identifier: str) -> ResidueTable:
    """The table with its backbone atoms moved, each by itself; all levels move a complex in the same directions."""
    if not noise:
        return table
    rng = np.random.default_rng(int(sha256_text(identifier)[:16], 16))
    moved = table.xyz.copy()
    moved[:, : aa.SLOT_CB] += noise * rng.standard_normal((len(table), aa.SLOT_CB, 3))
    return replace(table, xyz=moved)


def _protein_chains(table: ResidueTable, where: Path) -> list[gemmi.Chain]:
    """The backbone, chain by chain under one letter each: the file's own where that is one letter, else a free one."""
    base = [name if len(name) == 1 else name.partition(".")[0].strip() for name in table.chain]
    taken = {name for name in base if name in _CHAINS}
    free = iter(letter for letter in _CHAINS if letter not in taken)
    letters: dict[str, str] = {}
    chains: dict[str, gemmi.Chain] = {}
    for row, name in enumerate(base):
        letter = letters.get(name)
        if letter is None:
            letter = letters[name] = name if name in taken else next(free, "")
        number = int(table.number[row])
        if not letter or number not in _NUMBERS:
            raise BindraeError(
                f"{where}: the PDB format, which the packers read, has no room for its chains or residue numbers",
                "leave the complex out of the comparison, or renumber it",
            )
        chain = chains.setdefault(letter, gemmi.Chain(letter))
        kind = int(table.aatype[row])
        residue = gemmi.Residue()
        residue.name = aa.RESIDUE_NAMES[kind] if kind != aa.UNKNOWN else "GLY"
        residue.seqid = gemmi.SeqId(number, table.insertion[row].strip() or " ")
        residue.het_flag = "A"
        for slot in np.flatnonzero(table.mask[row, : aa.SLOT_CB]).tolist():
            residue.add_atom(_atom(aa.BACKBONE[slot], aa.BACKBONE[slot][0], table.xyz[row, slot]))
        chain.add_residue(residue)
    return list(chains.values())


def _ligand(entry: Entry, atoms: Atoms, xyz: np.ndarray, element: np.ndarray) -> gemmi.Residue:
    """The ligand's heavy atoms; one that is a residue of the protein file keeps its names."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = UNKNOWN_LIGAND, gemmi.SeqId(1, " "), "H"
    symbols = [gemmi.Element(number).name for number in element.tolist()]
    names = [f"{symbol.upper()}{number}" for number, symbol in enumerate(symbols, start=1)]
    if entry.ligand[0].startswith(PREFIX):
        wanted = parse_hetero(entry.ligand[0])
        residue.name = wanted.name
        names = [text(name) for name in atoms.name[find_group(atoms, wanted, str(entry.protein))].tolist()]
        if len(residue.name) > 3:
            raise BindraeError(
                f"{entry.protein}: the PDB format, which the packers read, has no room for the name {residue.name}",
                "give the ligand as an SDF file, or leave the complex out of the comparison",
            )
    for name, symbol, point in zip(names, symbols, xyz, strict=True):
        residue.add_atom(_atom(name[:4], symbol, point))
    return residue


def _molecules(
    atoms: Atoms, table: ResidueTable, altlocs: list[bytes], outside: list[tuple[str, str]],
    ligand_xyz: np.ndarray, settings: CleanSettings,
) -> list[gemmi.Residue]:  # fmt: skip
    """Metals, cofactors, further ligands and free amino acids; of broken residues of the protein nothing."""
    names, which = unique_labels(atoms.residue_name)
    amino = np.array([residue_type(text(n), settings, atoms.parents) is not None for n in names], dtype=bool)[which]
    run = runs_of(atoms)
    in_table = np.zeros(int(run.max(initial=0)) + 1, dtype=bool)
    in_table[run[Finder(atoms).find(table.xyz[:, aa.SLOT_CA], table.name, altlocs)]] = True
    free = {name for name, why in outside if why == OTHER_MOLECULES[1]}
    labels = zip(atoms.chain.tolist(), atoms.number.tolist(), atoms.insertion.tolist(), strict=True)
    alone = np.array([place(*label) in free for label in labels], dtype=bool)
    beside = atoms.select(np.flatnonzero(~in_table[run] & (~amino | (atoms.hetero & alone))))
    if not len(beside.name):
        return []
    beside, index = group_residues(replace(beside, notes={}))
    chosen = choose_altlocs(beside, index, settings.altlocs)
    beside, index = beside.select(chosen), index[chosen]
    first = np.flatnonzero(np.diff(index, prepend=-1))
    copy = copies_of_ligand(beside.xyz, first, ligand_xyz)
    found = []
    for start, end in zip(first[~copy].tolist(), np.append(first[1:], len(index))[~copy].tolist(), strict=True):
        residue = gemmi.Residue()
        name = text(beside.residue_name[start])
        # Under the name of an amino acid a packer would take it for a residue to pack.
        residue.name = name if len(name) <= 3 and residue_type(name, settings) is None else UNKNOWN_LIGAND
        residue.het_flag = "H"
        for i in range(start, end):
            if np.isfinite(beside.xyz[i]).all():
                symbol = gemmi.Element(int(beside.element[i])).name
                residue.add_atom(_atom(text(beside.name[i])[:4], symbol, beside.xyz[i], int(beside.charge[i])))
        if len(residue):
            found.append(residue)
    return found


def _atom(name: str, symbol: str, xyz: np.ndarray, charge: int = 0) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name, atom.element, atom.charge = name, gemmi.Element(symbol), charge
    atom.pos = gemmi.Position(*xyz.astype(float).tolist())
    atom.occ, atom.b_iso = 1.0, 0.0
    return atom
