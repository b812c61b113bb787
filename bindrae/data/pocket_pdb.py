"""Pockets as PDB files, for people who look: residues, ligand, what stands beside it, and the direction probes.

The file keeps chain, number and insertion code of each residue. A chain id of several characters does not fit the
format: it becomes a free single character, and a REMARK line says which. Ligand, context and probes get chains of their
own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from bindrae.chem import residues as aa
from bindrae.chem.probes import TYPE_NAMES
from bindrae.data.layout import DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table, sha256_text, write_text

LIGAND_NAME, PROBE_NAME = "LIG", "PRB"
_CHAIN_IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME = 100
_LARGEST_COORDINATE = 9999.0
_CLEAN_COLUMNS = [
    "id", "chain", "number", "insertion", "name", "aatype", "atom14", "atom14_mask", "ligand_xyz", "ligand_element",
    "ligand_charge", "ligand_bonds", "context_xyz", "context_element", "context_charge", "context_name",
]  # fmt: skip


def pockets_folder(layout: DataLayout) -> Path:
    """Where the pockets of a dataset stand; ``index.tsv`` in it names the file of each complex."""
    return layout.root / "pockets"


def pocket_file(identifier: str) -> Path:
    """File of a complex inside the pockets' folder: ``<first two digits of the id's SHA-256>/<id>.pdb``.

    256 folders hold 500,000 complexes with 2,000 files each. Characters that a file name should not have become ``_``,
    and such a name gets eight digits of the hash, so that no two ids meet in one file and none leaves the folder.
    """
    digest = sha256_text(identifier)
    name = _UNSAFE.sub("_", identifier)[:_MAX_NAME]
    if name != identifier or not name.strip(".") or name.startswith("."):
        name = f"{name.lstrip('.')}-{digest[:8]}"
    return Path(digest[:2], f"{name}.pdb")


def chain_letters(chains: list[str]) -> tuple[dict[str, str], Iterator[str]]:
    """A single character for each chain id, and the characters left over.

    Ids of one character stay; the others, in order of appearance, take the first that is free. When all 62 are taken,
    the rest share ``?``.
    """
    used = {chain for chain in chains if len(chain) == 1}

    def free_letters() -> Iterator[str]:
        for letter in _CHAIN_IDS:
            if letter not in used:
                yield letter
        while True:
            yield "?"

    free = free_letters()
    return {c: c if len(c) == 1 else next(free) for c in dict.fromkeys(chains)}, free


def pocket_text(clean: dict[str, Any], pocket: dict[str, Any], tokens: dict[str, Any]) -> str:
    """One pocket as PDB text.

    Parameters
    ----------
    clean, pocket, tokens : dict
        The complex's rows of those tables.

    Returns
    -------
    str
        The member residues (contact residues and their chain neighbours) with ``w_res`` as their B-factors, the
        ligand as HETATM group ``LIG`` with its bonds as CONECT, the context atoms, and the probes as atoms of element
        X in a residue ``PRB``.
    """
    members = np.flatnonzero(pocket["member"])
    letters, free = chain_letters(clean["chain"])
    letters = {chain: letters[chain] for chain in dict.fromkeys(clean["chain"][i] for i in members)}
    remarks = [f"chain {letter} is chain '{chain}'" for chain, letter in letters.items() if letter != chain]
    model = gemmi.Model(1)
    chains = {letter: gemmi.Chain(letter) for letter in letters.values()}
    shift = _shift(clean["ligand_xyz"])
    if shift.any():
        remarks.append("coordinates are less " + " ".join(f"{v:g}" for v in shift) + " A, to fit the format")
    for i in members:
        kind, letter = int(clean["aatype"][i]), letters[clean["chain"][i]]
        # The table holds a modified residue with the atoms of its parent.
        name = aa.RESIDUE_NAMES[kind] if kind != aa.UNKNOWN else clean["name"][i]
        residue = _residue(name, int(clean["number"][i]), clean["insertion"][i])
        if name != clean["name"][i]:
            remarks.append(f"{letter} {residue.seqid} {name} is {clean['name'][i]} in the file")
        for slot in np.flatnonzero(clean["atom14_mask"][i]):
            atom_name = aa.ATOM14_NAMES[kind][slot]
            xyz, weight = clean["atom14"][i, slot] - shift, float(pocket["w_res"][i])
            residue.add_atom(_atom(atom_name, gemmi.Element(atom_name[0]), xyz, bfactor=weight))
        chains[letter].add_residue(residue)

    ligand = _residue(LIGAND_NAME, 1, "", hetero=True)
    _add_atoms(ligand, clean["ligand_element"], clean["ligand_charge"], clean["ligand_xyz"] - shift)
    others = [[ligand], list(_context(clean, shift)), []]
    probes = tokens["xyz"][tokens["types"][:, TYPE_NAMES.index("probe")] > 0] - shift
    if len(probes):
        others[2] = [_residue(PROBE_NAME, 1, "", hetero=True)]
        for k, xyz in enumerate(probes, start=1):
            others[2][0].add_atom(_atom(f"X{k}", gemmi.Element("X"), xyz))
    placed = list(chains.values())
    for group in others:
        if group:
            placed.append(gemmi.Chain(next(free)))
            for residue in group:
                placed[-1].add_residue(residue)
    for chain in placed:
        model.add_chain(chain)

    structure = gemmi.Structure()
    structure.add_model(model)
    structure.name = clean["id"]
    structure.shorten_ccd_codes()
    structure.assign_serial_numbers()
    serial = [atom.serial for atom in structure[0][len(chains)][0]]
    for a, b in clean["ligand_bonds"].tolist():
        structure.add_conect(serial[a], serial[b], 1)
    options = gemmi.PdbWriteOptions(minimal=True)
    options.preserve_serial, options.conect_records, options.cryst1_record = True, True, False
    lines = [f"pocket of {clean['id']}; the B-factor is w_res", *remarks]
    return "".join(f"REMARK   6 {_printable(line)}\n" for line in lines) + structure.make_pdb_string(options)


def export_pockets(layout: DataLayout, number: int, ids: list[str]) -> list[tuple[str, Path]]:
    """Write the pockets of one batch.

    Parameters
    ----------
    layout : DataLayout
    number : int
        The batch.
    ids : list of str
        Its accepted complexes, in the order of its tables.

    Returns
    -------
    list of (str, Path)
        Each complex and its file inside the pockets' folder.
    """
    wanted, files = set(ids), []
    tables = [
        iterate_rows(read_table(layout.batch(stage, number), columns))
        for stage, columns in (("clean", _CLEAN_COLUMNS), ("pocket", ["id", "w_res", "member"]), ("tokens", None))
    ]
    rows = zip(*((row for row in table if row["id"] in wanted) for table in tables), strict=True)
    for clean, pocket, tokens in rows:
        file = pocket_file(clean["id"])
        write_text(pocket_text(clean, pocket, tokens), pockets_folder(layout) / file)
        files.append((clean["id"], file))
    return files


def write_pocket_index(layout: DataLayout, files: list[tuple[str, Path]]) -> None:
    """Write ``index.tsv`` and remove pockets of complexes that are no longer there."""
    folder = pockets_folder(layout)
    kept = {folder / file for _, file in files}
    for path in sorted(folder.glob("??/*.pdb")):
        if path not in kept:
            path.unlink()
    lines = ["id\tfile", *(f"{_printable(identifier)}\t{file.as_posix()}" for identifier, file in sorted(files))]
    write_text("\n".join(lines) + "\n", folder / "index.tsv")


def _context(clean: dict[str, Any], shift: np.ndarray) -> Iterator[gemmi.Residue]:
    """Residues of the context: an ion is one atom; of other molecules, atoms that follow each other belong together."""
    names = clean["context_name"]
    symbols = [gemmi.Element(int(z)).name.upper() for z in clean["context_element"]]
    starts = [i for i, name in enumerate(names) if not i or name != names[i - 1] or name == symbols[i]]
    for k, (start, stop) in enumerate(pairwise([*starts, len(names)]), start=1):
        residue = _residue(names[start], k, "", hetero=True)
        rows = slice(start, stop)
        xyz = clean["context_xyz"][rows] - shift
        _add_atoms(residue, clean["context_element"][rows], clean["context_charge"][rows], xyz)
        yield residue


def _residue(name: str, number: int, insertion: str, hetero: bool = False) -> gemmi.Residue:
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId(number, insertion or " "), "H" if hetero else "A"
    return residue


def _add_atoms(residue: gemmi.Residue, element: np.ndarray, charge: np.ndarray, xyz: np.ndarray) -> None:
    """Atoms named by element and a running number, as in C12."""
    count: dict[str, int] = {}
    for z, q, point in zip(element.tolist(), charge.tolist(), xyz, strict=True):
        kind = gemmi.Element(int(z))
        symbol = kind.name.upper()
        count[symbol] = count.get(symbol, 0) + 1
        name = symbol if residue.name == symbol else f"{symbol}{count[symbol]}"[:4]
        residue.add_atom(_atom(name, kind, point, charge=int(q)))


def _atom(name: str, element: gemmi.Element, xyz: np.ndarray, bfactor: float = 0.0, charge: int = 0) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name, atom.element, atom.b_iso, atom.charge = name, element, bfactor, charge
    atom.pos = gemmi.Position(*np.asarray(xyz, dtype=float).tolist())
    return atom


def _shift(xyz: np.ndarray) -> np.ndarray:
    """What is taken off all coordinates: nothing, unless the ligand lies where PDB columns cannot reach."""
    if np.abs(xyz).max(initial=0.0) < _LARGEST_COORDINATE - 100.0:
        return np.zeros(3)
    return np.round(xyz.mean(axis=0), -3).astype(float)


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
