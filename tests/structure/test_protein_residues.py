"""Cleaning, residue by residue: which residues the table holds, under which type, and where the chain is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bindrae.chem import residues as aa
from complexes import Atom, hetero, peptide, rename

Clean = Callable[..., Any]


def test_a_clean_peptide_is_kept_atom_for_atom(clean: Clean) -> None:
    atoms = peptide("".join(aa.ONE_LETTER[:20]), start=-3)
    table, context, notes = clean(atoms)
    assert notes == {}
    assert len(context.element) == 0
    assert table.sequences() == [aa.ONE_LETTER[:20]]
    assert table.number.tolist() == list(range(-3, 17))
    assert table.linked.tolist() == [True] * 19 + [False]
    for atom in atoms:
        row = atom.number + 3
        slot = aa.ATOM14_NAMES[table.aatype[row]].index(atom.name)
        assert table.mask[row, slot]
        assert np.allclose(table.xyz[row, slot], atom.xyz, atol=1e-4)
    assert table.mask.sum() == len(atoms)


@pytest.mark.parametrize(
    ("name", "parent"),
    [("HSD", "H"), ("HSE", "H"), ("HIP", "H"), ("CYX", "C"), ("CYM", "C"), ("ASH", "D"), ("GLH", "E"), ("LYN", "K")],
)
def test_force_field_names_are_their_amino_acid(clean: Clean, name: str, parent: str) -> None:
    table, _, notes = clean(rename(peptide(f"A{parent}G"), 2, name))
    assert table.sequences() == [f"A{parent}G"]
    assert table.name[1] == name
    assert table.mask[1].sum() == aa.ATOM14_MASK[aa.TYPE_OF_LETTER[parent]].sum()
    assert not notes, "a protonation state is no modification"


def test_selenomethionine_is_methionine_with_selenium_as_sulphur(clean: Clean) -> None:
    plain, _, _ = clean(peptide("AMG"))
    atoms = [replace(a, hetero=a.number == 2) for a in rename(peptide("AMG"), 2, "MSE", {"SD": "SE"})]
    table, context, notes = clean(atoms)
    assert table.sequences() == ["AMG"]
    slot = aa.ATOM14_NAMES[table.aatype[1]].index("SD")
    assert table.mask[1, slot]
    assert np.array_equal(table.xyz, plain.xyz)
    assert table.linked.tolist() == [True, True, False]
    assert notes == {"modified_residues_mapped": 1}
    assert len(context.element) == 0


@pytest.mark.parametrize(("name", "parent", "extra"), [("TPO", "T", ["P", "O1P", "O2P"]), ("SEP", "S", ["P", "O1P"])])
def test_phosphorylated_residues_become_their_parent(clean: Clean, name: str, parent: str, extra: list[str]) -> None:
    atoms = rename(peptide(f"A{parent}G"), 2, name)
    at = np.array(next(a.xyz for a in atoms if a.number == 2 and a.name.startswith("OG")))
    phosphate = [
        replace(atoms[0], name=e, residue=name, number=2, xyz=tuple(at + 1.6 + i), element=e[0])
        for i, e in enumerate(extra)
    ]
    last = max(i for i, a in enumerate(atoms) if a.number == 2) + 1
    whole = [replace(a, hetero=a.number == 2) for a in [*atoms[:last], *phosphate, *atoms[last:]]]
    table, _, notes = clean(whole)
    assert table.sequences() == [f"A{parent}G"]
    assert table.name == ["ALA", name, "GLY"]
    assert table.mask[1].sum() == aa.ATOM14_MASK[aa.TYPE_OF_LETTER[parent]].sum()
    assert notes == {"modified_residues_mapped": 1, "atoms_outside_the_type_dropped": len(extra)}

    unknown, _, counted = clean(whole, modified_residues="unknown")
    assert unknown.sequences() == ["AXG"]
    assert unknown.mask[1].tolist() == [True] * 5 + [False] * 9
    assert counted["unknown_residues"] == 1


def d_valine() -> list[Atom]:
    """AVG whose valine is of D form: its side chain reflected in the plane of N, CA and C."""
    atoms = peptide("AVG")
    N, CA, C = (np.array(next(a.xyz for a in atoms if (a.number, a.name) == (2, n))) for n in ("N", "CA", "C"))
    normal = np.cross(N - CA, C - CA)
    normal /= np.linalg.norm(normal)
    return [
        replace(a, xyz=tuple((np.array(a.xyz) - 2 * np.dot(np.array(a.xyz) - CA, normal) * normal).tolist()))
        if a.number == 2 and a.name.startswith(("CB", "CG"))
        else a
        for a in atoms
    ]


def test_a_d_residue_keeps_its_place_but_no_l_type(clean: Clean) -> None:
    """gemmi's table has DVA as valine, whose side chain no torsion turns into its mirror image."""
    atoms = [replace(a, hetero=a.number == 2) for a in rename(d_valine(), 2, "DVA")]
    table, _, notes = clean(atoms)
    assert table.sequences() == ["AXG"]
    assert table.mask[1].tolist() == [True] * 4 + [False] * 10
    assert table.linked.tolist() == [True, True, False]
    assert notes == {
        "d_residues": 1,
        "unknown_residues": 1,
        "atoms_outside_the_type_dropped": 3,
        "missing_heavy_atoms": 1,
    }
    cut, context, counted = clean(atoms, d_residues="context")
    assert cut.sequences() == ["AG"]
    assert cut.linked.tolist() == [False, False]
    assert set(context.residue_name) == {"DVA"}
    assert len(context.element) == 7
    assert counted == {"d_residues": 1, "context_atoms_kept": 7}


def test_an_l_name_on_mirrored_coordinates_is_flagged_and_masked(clean: Clean) -> None:
    table, _, notes = clean(d_valine())
    assert table.sequences() == ["AVG"]
    assert table.mask[1].tolist() == [True] * 4 + [False] * 10
    assert notes == {"mirrored_residues": 1, "missing_heavy_atoms": 3}


def test_insertion_codes_are_residues_of_their_own(clean: Clean) -> None:
    codes = {1: (52, ""), 2: (52, "A"), 3: (52, "B"), 4: (53, "")}
    atoms = [replace(a, number=codes[a.number][0], insertion=codes[a.number][1]) for a in peptide("AAAG")]
    table, _, _ = clean(atoms)
    assert list(zip(table.number.tolist(), table.insertion, strict=True)) == [(52, ""), (52, "A"), (52, "B"), (53, "")]
    assert table.sequences() == ["AAAG"]
    assert table.linked.tolist() == [True, True, True, False]


def test_a_gap_breaks_the_chain_and_invents_nothing(clean: Clean) -> None:
    table, _, _ = clean([a for a in peptide("AAAAAA") if a.number not in (3, 4)])
    assert table.sequences() == ["AAAA"]
    assert table.number.tolist() == [1, 2, 5, 6]
    assert table.linked.tolist() == [True, False, True, False]
    assert table.chain_index.tolist() == [0, 0, 0, 0]


def test_numbers_that_jump_do_not_break_a_bonded_chain(clean: Clean) -> None:
    table, _, _ = clean([replace(a, number=a.number + 100 * (a.number > 2)) for a in peptide("AAAA")])
    assert table.linked.tolist() == [True, True, True, False]


def test_chains_are_never_linked_to_one_another(clean: Clean) -> None:
    atoms = peptide("AAAA")
    table, _, _ = clean([replace(a, chain="A" if a.number < 3 else "B") for a in atoms])
    assert table.sequences() == ["AA", "AA"]
    assert table.linked.tolist() == [True, False, True, False]
    assert table.chain_index.tolist() == [0, 0, 1, 1]


def test_blank_chain_ids_are_read(clean: Clean) -> None:
    table, _, _ = clean(peptide("AKAG", chain=""))
    assert table.sequences() == ["AKAG"]
    assert set(table.chain) == {""}
    assert table.linked.tolist() == [True, True, True, False]


def test_blank_chains_that_number_anew_keep_all_their_residues(clean: Clean) -> None:
    table, _, _ = clean(peptide("AKG", chain="") + peptide("SLW", chain="", origin=(0, 30, 0)))
    assert "".join(table.sequences()) == "AKGSLW"
    assert table.linked.tolist() == [True, True, False, True, True, False]
    assert table.mask.sum() == aa.ATOM14_MASK[table.aatype].sum()


def test_missing_atoms_are_masked_and_zero(clean: Clean) -> None:
    gone = {"CE", "NZ", "O"}
    table, _, notes = clean([a for a in peptide("AKG") if a.number != 2 or a.name not in gone])
    names = aa.ATOM14_NAMES[aa.TYPE_OF_LETTER["K"]]
    lost = [names.index(name) for name in gone]
    assert not table.mask[1, lost].any()
    assert not table.xyz[1, lost].any()
    assert table.mask[1].sum() == 9 - 3
    assert notes == {"missing_heavy_atoms": 3}


@pytest.mark.parametrize("atom", ["N", "CA", "C"])
def test_residues_without_backbone_are_counted_and_cut_the_chain(clean: Clean, atom: str) -> None:
    table, _, notes = clean([a for a in peptide("AKGLA") if (a.number, a.name) != (3, atom)])
    assert table.sequences() == ["AKLA"]
    assert table.linked.tolist() == [True, False, True, False]
    assert notes["residues_without_backbone_dropped"] == 1


def test_an_amino_acid_on_its_own_is_no_chain_but_context(clean: Clean) -> None:
    atoms = peptide("AKG")
    glycine = [replace(a, hetero=True, number=90) for a in peptide("G", origin=(0.0, 6.0, 0.0))]
    table, context, notes = clean(atoms + glycine, context_within_angstrom=12.0)
    assert table.sequences() == ["AKG"]
    assert set(context.residue_name) == {"GLY"}
    assert notes == {"context_atoms_kept": 4}


def test_the_second_oxygen_of_the_terminus_is_not_counted_as_lost(clean: Clean) -> None:
    atoms = peptide("AG")
    end = replace(atoms[-1], name="OXT", xyz=(20.0, 0.0, 0.0), element="O")
    table, context, notes = clean([*atoms, end])
    assert table.mask.sum() == len(atoms)
    assert notes == {}
    assert len(context.element) == 0


def test_select_cuts_the_links_to_rows_left_out(clean: Clean) -> None:
    table, _, _ = clean(peptide("AKGLS") + peptide("AG", chain="B", origin=(0, 40, 0)))
    chosen = table.select(np.array([0, 1, 3, 4, 5, 6]))
    assert chosen.sequences() == ["AKLS", "AG"]
    assert chosen.linked.tolist() == [True, False, True, False, True, False]
    only = table.select(table.chain_index == 1)
    assert only.chain_index.tolist() == [0, 0]
    assert only.sequences() == ["AG"]


def test_unknown_and_foreign_groups(clean: Clean) -> None:
    """UNK in the chain stays as X; a molecule that is no amino acid does not."""
    atoms = rename(peptide("ALG"), 2, "UNK")
    table, context, notes = clean(atoms + hetero("GOL", 50, {"C1": (0, 5, 0), "O1": (0, 6.4, 0)}))
    assert table.sequences() == ["AXG"]
    assert notes["unknown_residues"] == 1
    assert notes["atoms_outside_the_type_dropped"] == 3  # CG, CD1, CD2
    assert set(context.residue_name) == {"GOL"}
