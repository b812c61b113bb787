"""Lines of PDB files that gemmi need not read: what comes out is what it is with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bindrae.data.index import find_demo
from bindrae.structure.atoms import Atoms, read_atoms
from bindrae.structure.pdb_lines import PdbLines

HEAVY = "ATOM      1  CA  ALA A   1      11.000  12.000  13.000  1.00  0.00           C  \n"
HYDROGEN = "ATOM      2  HA  ALA A   1      11.500  12.500  13.500  1.00  0.00           H  \n"


def hidden(*lines: str) -> bytes | None:
    return PdbLines("".join(lines).encode()).without_hydrogens()


def same(one: Atoms, other: Atoms) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Atoms)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@pytest.mark.parametrize("number", range(5))
def test_real_proteins_are_read_the_same_without_those_lines(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(find_demo(None)[number]["protein"])
    fewer = PdbLines(path.read_bytes()).without_hydrogens()
    quick = read_atoms(path)
    monkeypatch.setattr(PdbLines, "without_hydrogens", lambda _: None)
    assert same(quick, read_atoms(path))
    if fewer is not None:
        assert len(fewer) < path.stat().st_size
        assert all(line.strip() in path.read_bytes() for line in fewer.split(b"\n")[:500])


def test_lines_of_hydrogens_go_and_all_others_stay() -> None:
    assert hidden("REMARK\n", HEAVY, HYDROGEN, HYDROGEN, "TER\n", HYDROGEN, HEAVY, "END\n") == (
        f"REMARK\n{HEAVY}TER\n{HEAVY}END\n".encode()
    )
    assert hidden(HYDROGEN, HEAVY.rstrip("\n")) == HEAVY.rstrip("\n").encode()
    assert hidden(HEAVY, HYDROGEN.replace(" HA ", "1HB2")) == HEAVY.encode()


@pytest.mark.parametrize(
    "line",
    [
        HYDROGEN.replace(" HA ", " CA "),  # the name says carbon, and an amino acid's name is believed
        HYDROGEN.replace(" H  \n", "    \n"),  # no element
        HYDROGEN.replace(" H  \n", "HG  \n"),
        HYDROGEN.replace("12.500", "12 500"),  # no number in its columns
        HYDROGEN.replace("  1.00  0.00           H  ", ""),  # cut short
        HYDROGEN.replace(" H  \n", " D  \n"),
        HYDROGEN.replace("ATOM", "REMA"),
    ],
)
def test_what_is_not_surely_a_hydrogen_stays(line: str) -> None:
    assert hidden(HEAVY, line) is None


def test_nothing_goes_where_it_would_be_missed() -> None:
    assert hidden(HYDROGEN, HYDROGEN) is None  # a file of hydrogens alone is refused in other words than an empty one
    assert hidden(HEAVY, HYDROGEN, "ANISOU".ljust(79) + "\n") is None  # belongs to the line before
    assert hidden("") is None
    assert hidden("\n\nATOM") is None


def test_only_the_first_model_counts() -> None:
    model = HEAVY + HYDROGEN
    assert hidden(model, "ENDMDL\n", model) == f"{HEAVY}ENDMDL\n{model}".encode()
    assert PdbLines(f"{HEAVY}ENDMDL\n{HEAVY}".encode()).numbered() is None
    other = HEAVY.replace("A   1", "B   1")
    assert PdbLines(f"{HEAVY}{other}{HEAVY}".encode()).numbered() is not None
