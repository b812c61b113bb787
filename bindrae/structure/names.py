"""What residue names mean: amino acids and their parents, waters, nucleotides, ions."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import gemmi

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings

WATER_NAMES = frozenset(
    b"HOH WAT DOD H2O OH2 SOL TIP TP3 TP4 TP5 T3P T4P SPC TIP2 TIP3 TIP4 TIP5 TIP4P SPCE TIP3P".split()
)
FOUR_LETTERS = frozenset(name for name in (*aa.ALIASES, "TIP2", "TIP3", "TIP4", "TIP5", "SPCE") if len(name) == 4)
"""Names of programs that write a fourth letter into the column before the chain id."""

# Amino acids whose dictionary entry names no parent, although one fits atom for atom.
_PARENTS = {"SEC": "C", "PYL": "K"}
_TABLE = Path(__file__).with_name("modified_residues.csv")

ION_CHARGES: dict[str, int] = {
    "LI": 1, "NA": 1, "K": 1, "RB": 1, "CS": 1, "AG": 1, "TL": 1, "CU1": 1, "AU": 1,
    "MG": 2, "CA": 2, "SR": 2, "BA": 2, "MN": 2, "FE2": 2, "CO": 2, "NI": 2, "CU": 2, "ZN": 2, "CD": 2, "HG": 2,
    "PB": 2, "PD": 2, "PT": 2,
    "AL": 3, "FE": 3, "MN3": 3, "3CO": 3, "CR": 3, "GA": 3, "IN": 3, "Y1": 3, "LA": 3, "CE": 3, "SM": 3, "EU": 3,
    "GD": 3, "TB": 3, "DY": 3, "HO": 3, "YB": 3, "LU": 3, "RH": 3,
    "F": -1, "CL": -1, "BR": -1, "IOD": -1, "I": -1,
}  # fmt: skip
"""Formal charge of monatomic ions by residue name, as in the chemical component dictionary."""


@cache
def _modified() -> dict[str, tuple[str, str]]:
    with _TABLE.open() as stream:
        table = {row["name"]: (row["parent"], row["hand"]) for row in csv.DictReader(stream)}
    return table | {name: (parent, "L") for name, parent in _PARENTS.items()}


def residue_type(name: str, settings: CleanSettings, parents: dict[str, str] | None = None) -> int | None:
    """Type index of a residue name, or None when it is no amino acid.

    Parameters
    ----------
    name : str
        Three-letter (or force-field) name.
    settings : CleanSettings
        ``modified_residues`` decides between the parent and the unknown type. A D-residue is of the unknown type.
    parents : dict of str to str, optional
        Parents that the file's own header gives (MODRES).
    """
    name = aa.ALIASES.get(name, name)
    if name in aa.TYPE_OF_NAME:
        return aa.TYPE_OF_NAME[name]
    parent, hand = _modified().get(name, ("", "L"))
    if not parent:
        parent = aa.ONE_LETTER[aa.TYPE_OF_NAME[(parents or {})[name]]] if name in (parents or {}) else ""
    if not parent:
        return None
    return aa.TYPE_OF_LETTER[parent] if settings.modified_residues == "to_parent" and hand == "L" else aa.UNKNOWN


def is_d_residue(name: str) -> bool:
    """Whether the dictionary has the name as a D-amino acid."""
    return _modified().get(name, ("", "L"))[1] == "D"


def is_nucleotide(name: str) -> bool:
    """Whether a residue name is a DNA or RNA nucleotide."""
    info = gemmi.find_tabulated_residue(name)
    return info is not None and bool(info.is_nucleic_acid())


def ion_name(residue_name: str, atom_name: str) -> str:
    """The dictionary's name of a monatomic ion, or an empty string.

    Programs write ions as ``CA1``, ``MG+2`` or ``CA1:10`` too: the letters in front name the element.
    """
    for name in (residue_name, atom_name):
        name = name.upper().split(":")[0]
        for candidate in (name, name.rstrip("+-0123456789")):
            if candidate in ION_CHARGES:
                return candidate
    return ""


def ion_element(name: str) -> int:
    """Atomic number of an ion by its name in `ION_CHARGES`."""
    symbol = {"IOD": "I", "Y1": "Y"}.get(name, name.strip("123"))
    return int(gemmi.Element(symbol).atomic_number)


def type_from_atoms(names: frozenset[str]) -> int | None:
    """The type whose atoms are exactly these, or None; backbone and CB alone may be a truncated side chain.

    Leucine and isoleucine, say, differ in their names; no two types share all of theirs.
    """
    if len(names) <= len(aa.BACKBONE) + 1:
        return None
    return _type_by_atoms().get(names)


@cache
def _type_by_atoms() -> dict[frozenset[str], int]:
    return {frozenset(filter(None, aa.ATOM14_NAMES[kind])): kind for kind in range(aa.UNKNOWN)}
