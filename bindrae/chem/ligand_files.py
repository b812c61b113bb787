"""Parsing SDF and MOL2 files into molecules that are not yet sanitised."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from rdkit import Chem

from bindrae.chem.guard import is_hard_to_parse, pack, run_apart, unpack
from bindrae.chem.walk import atoms_of
from bindrae.errors import RejectedComplex
from bindrae.files import TooLargeError, read_limited

_SDF_ENDINGS = (".sdf", ".mol", ".sd")
_BYTES_AN_ATOM = 2000
"""More text than this for each heavy atom that is allowed is too large a molecule, whatever is in it."""
_MAX_BYTES = 2**28  # a file may hold many molecules, of which the first is read
_V3000_QUERY = re.compile(r" (HCOUNT|SUBST|RBCNT|UNSAT|TOPO|RXCTR|STBOX)=\S+")
_FILLED = {"N", "O", "S", "P", "B"}
_MOLECULE = "@<TRIPOS>MOLECULE"
_DICTIONARY_NAME = re.compile(r"[A-Z0-9]{1,3}|[A-Z0-9]{5}")
_PLACEHOLDERS = {"LIG", "UNL", "UNK", "UNX", "MOL", "DRG", "INH", "RES"}


@dataclass
class Parsed:
    """The first molecule of a file."""

    mol: Chem.Mol  # not sanitised, hydrogens kept
    route: str  # sdf or mol2
    names: list[str]  # what may be its residue name
    notes: dict[str, int] = field(default_factory=dict)


def route_of(path: Path) -> str:
    """The format by the name's ending: ``sdf``, ``mol2``, or nothing."""
    name = path.name.lower().removesuffix(".gz")
    return "sdf" if name.endswith(_SDF_ENDINGS) else "mol2" if name.endswith(".mol2") else ""


def parse_ligand_file(path: Path, max_atoms: int, max_seconds: float) -> Parsed:
    """Parse the first molecule of an SDF or MOL2 file, gzipped or not.

    Parameters
    ----------
    path : Path
        The name's ending decides the format.
    max_atoms : int
        Largest number of heavy atoms; files of far more text are not parsed.
    max_seconds : float
        Time limit where the header tells of a hard molecule.

    Raises
    ------
    RejectedComplex
        ``ligand_unreadable``, ``ligand_too_large``, ``ligand_dummy_atoms`` or ``ligand_timeout``.
    ValueError, RuntimeError
        What RDKit raises.
    """
    route = route_of(path)
    if not route:
        raise RejectedComplex(
            "ligand_unreadable", f"{path}: the format is not known by its ending; use .sdf, .mol or .mol2"
        )
    where = f"{path} ({route})"
    text = _read_text(path, where)
    block, further = _split_sdf(text) if route == "sdf" else _split_mol2(text)
    if len(block) > max_atoms * _BYTES_AN_ATOM:
        raise RejectedComplex("ligand_too_large", f"{where}: {len(block):,} bytes are no single ligand")
    if is_hard_to_parse(*_counts(block, route)):
        packed = run_apart(_parse_packed, (block, route), max_seconds, where)
        mol = unpack(packed) if packed else None
    else:
        mol = _parse(block, route)
    if mol is None:
        raise ValueError("no molecule in the file")
    more = sum(bool(record.strip()) for record in further)
    parsed = Parsed(mol, route, _names(block, route), {"ligand_further_molecules": more} if more else {})
    parsed.mol = _without_dummies(parsed.mol, path, parsed.notes)
    return parsed


def _read_text(path: Path, where: str) -> str:
    try:
        raw = read_limited(path, _MAX_BYTES)
    except TooLargeError as error:
        hint = "write the pose that is wanted into a file of its own"
        raise RejectedComplex("ligand_too_large", f"{where}: {error}", hint) from None
    except (OSError, EOFError, zlib.error) as error:
        raise RejectedComplex("ligand_unreadable", f"{where}: {error}") from None
    if b"\0" in raw:
        raise RejectedComplex("ligand_unreadable", f"{where} is a binary file")
    text = raw.decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split_sdf(text: str) -> tuple[str, list[str]]:
    # The regular expression tries every line, so it gets those alone that it may match.
    end = 0 if text.startswith("$$$$") else text.find("\n$$$$") + 1
    block, *further = re.split(r"^\$\$\$\$.*\n?", text[end:], flags=re.MULTILINE)
    return clear_query_columns(text[:end] + block), further


def _split_mol2(text: str) -> tuple[str, list[str]]:
    _, *records = text.split(_MOLECULE)
    if not records:
        raise ValueError("no molecule in the file")
    return _MOLECULE + records[0], records[1:]


def _counts(block: str, route: str) -> tuple[int, int]:
    """Atoms and bonds by the header; 0 where it is none."""
    lines = block.split("\n", 8)
    if route == "mol2":
        numbers = lines[2].split() if len(lines) > 2 else []
    elif "V3000" in block:
        numbers = block.partition("M  V30 COUNTS")[2].split("\n", 1)[0].split()
    else:
        numbers = [lines[3][:3], lines[3][3:6]] if len(lines) > 3 else []
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


def _parse_packed(block: str, route: str) -> bytes | None:
    mol = _parse(block, route)
    return None if mol is None else pack(mol)


def _parse(block: str, route: str) -> Chem.Mol | None:
    if route == "sdf":
        return Chem.MolFromMolBlock(block, sanitize=False, removeHs=False, strictParsing=False)
    mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
    if mol is None:  # some programs write FE and CL
        block = re.sub(r"(?<=\s)[A-Z]{2}(?=(\.\w+)?\s+\d+\s+\S)", lambda found: found[0].capitalize(), block)
        mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
    if mol is not None:
        _allow_hydrogens(mol)
    return mol


def _allow_hydrogens(mol: Chem.Mol) -> None:
    """RDKit takes every hydrogen that a MOL2 lacks for a radical or a charge; many files lack those of carbon, or all.

    Carbons may always be filled up. In a file without any hydrogen all atoms may, and only charges stay that the atom
    types state: N.4, O.co2 and the nitrogens of C.cat.
    """
    atoms = atoms_of(mol)
    bare = not any(atom.GetAtomicNum() == 1 for atom in atoms)
    for atom in atoms:
        if atom.GetAtomicNum() == 6 or (bare and atom.GetDegree()):
            atom.SetNoImplicit(False)
        if bare and atom.GetFormalCharge() and atom.GetDegree() and atom.GetSymbol() in _FILLED:
            kind = atom.GetProp("_TriposAtomType") if atom.HasProp("_TriposAtomType") else ""
            beside = [n.GetProp("_TriposAtomType") for n in atom.GetNeighbors() if n.HasProp("_TriposAtomType")]
            if kind not in ("N.4", "O.co2") and "C.cat" not in beside and atom.GetFormalCharge() < 0:
                atom.SetFormalCharge(0)


def _names(block: str, route: str) -> list[str]:
    """What the file says of the molecule's name: the title, and the residue of a MOL2 that has one."""
    if route == "sdf":
        return _dictionary_names([block.split("\n", 1)[0]])
    atoms = block.partition("@<TRIPOS>ATOM\n")[2].partition("@<TRIPOS>")[0]
    residues = {fields[7] for line in atoms.splitlines() if len(fields := line.split()) > 7}
    title = block.split("\n", 2)[1:2]
    return _dictionary_names([*(residues if len(residues) == 1 else ()), *title])


def _dictionary_names(names: list[str]) -> list[str]:
    """What of some titles and residue names may be an entry of the component dictionary, `STI1` as `STI` too."""
    found: dict[str, None] = {}
    for name in names:
        name = name.strip()
        for text in (name, re.sub(r"\d+$", "", name) if len(name) > 3 else name):
            if _DICTIONARY_NAME.fullmatch(text) and text not in _PLACEHOLDERS:
                found[text] = None
    return list(found)


def _without_dummies(mol: Chem.Mol, path: Path, notes: dict[str, int]) -> Chem.Mol:
    """Lone pairs and dummy atoms without bonds are taken out; others stand for something that the file does not say."""
    dummies = [atom for atom in atoms_of(mol) if atom.GetAtomicNum() == 0]
    if not dummies:
        return mol
    bound = [atom for atom in dummies if atom.GetDegree() and atom.GetSymbol() != "LP"]
    if bound:
        raise RejectedComplex(
            "ligand_dummy_atoms",
            f"{path}: atom {bound[0].GetIdx() + 1} ({bound[0].GetSymbol()}) is no element but has bonds",
        )
    notes["ligand_dummy_atoms_dropped"] = len(dummies)
    smaller = Chem.RWMol(mol)
    for i in reversed([atom.GetIdx() for atom in dummies]):
        smaller.RemoveAtom(i)
    return smaller.GetMol()


def clear_query_columns(block: str) -> str:
    """Blank what makes a molecule of an SDF a query.

    Files of PDBbind and CASF fill in the hydrogen count and the valence of each atom and the topology of each bond
    (ring or chain); RDKit then takes atoms and bonds for queries and perceives no aromaticity. The hydrogens themselves
    are in these files as atoms, so nothing is lost. The fields of V3000 with the same meaning are removed too.
    """
    lines = block.split("\n")
    if len(lines) < 4 or "V2000" not in lines[3]:
        return _V3000_QUERY.sub("", block) if "V3000" in block else block
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
