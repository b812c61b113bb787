"""Cleaning and what stands beside the chain: metals, cofactors, copies of the ligand, far chains, far ligands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bindrae.errors import RejectedComplex
from complexes import Atom, hetero, peptide, rename

Clean = Callable[..., Any]
LIGAND = np.array([(0.0, 4.0, 0.0), (1.4, 4.0, 0.0), (2.1, 5.2, 0.0), (3.5, 5.2, 0.0)])
NAMES = ("C1", "C2", "N1", "O1")


def ligand_group(number: int, shift: float = 0.0, **changes: Any) -> list[Atom]:
    points = dict(zip(NAMES, np.add(LIGAND, (0.0, shift, 0.0)), strict=True))
    return [replace(a, **changes) for a in hetero("LIG", number, points)]


@pytest.mark.parametrize(("name", "number"), [("ZN", 30), ("MG", 12), ("CA", 20)])
def test_metals_are_context_with_their_element(clean: Clean, name: str, number: int) -> None:
    """Calcium above all: its atom is called CA, like an alpha carbon."""
    table, context, notes = clean(peptide("AKG") + hetero(name, 90, {name: (0.0, 6.5, 0.0)}), ligand=LIGAND)
    assert table.sequences() == ["AKG"]
    assert context.element.tolist() == [number]
    assert context.residue_name == [name]
    assert np.allclose(context.xyz, [(0.0, 6.5, 0.0)])
    assert context.charge.tolist() == [2], "the file gives no charge"
    assert notes == {"context_atoms_kept": 1, "ion_charges_assumed": 1}


def test_a_cofactor_is_kept_whole_or_not_at_all(clean: Clean) -> None:
    near = {f"C{i}": (0.0, 6.0 + 1.5 * i, 0.0) for i in range(8)}  # from 2 A of the ligand to beyond the limit
    far = {f"C{i}": (0.0, 40.0 + 1.5 * i, 0.0) for i in range(4)}
    _, context, notes = clean(
        peptide("AKG") + hetero("NAP", 90, near) + hetero("GOL", 91, far), ligand=LIGAND, context_within_angstrom=4.0
    )
    assert context.residue_name == ["NAP"] * 8
    assert context.xyz[:, 1].max() > LIGAND[:, 1].max() + 4.0
    assert notes == {"context_atoms_kept": 8}


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_the_ligand_itself_in_the_protein_file_is_taken_out(clean: Clean, moved: float) -> None:
    table, context, notes = clean(peptide("AKG") + ligand_group(90, moved), ligand=LIGAND)
    assert table.sequences() == ["AKG"]
    assert len(context.element) == 0
    assert notes == {"ligand_copies_dropped": 1}


def test_a_second_copy_of_the_ligand_elsewhere_is_context(clean: Clean) -> None:
    _, context, notes = clean(peptide("AKG") + ligand_group(90) + ligand_group(91, 4.0), ligand=LIGAND)
    assert len(context.element) == 4
    assert notes == {"ligand_copies_dropped": 1, "context_atoms_kept": 4}


def test_a_ligand_that_is_an_amino_acid_is_taken_out_and_not_made_residue(clean: Clean) -> None:
    """1of6's tyrosine: named like a residue, on the ligand's own atoms."""
    tyrosine = [replace(a, number=90) for a in peptide("Y", origin=(0.0, 6.0, 0.0))]
    points = np.array([a.xyz for a in tyrosine])
    for hetatm in (True, False):
        atoms = [*peptide("AKG"), *(replace(a, hetero=hetatm) for a in tyrosine)]
        table, context, notes = clean(atoms, ligand=points)
        assert table.sequences() == ["AKG"]
        assert len(context.element) == 0
        assert notes == {"ligand_copies_dropped": 1}


def test_a_copy_does_not_take_neighbours_with_it(clean: Clean) -> None:
    """A residue that touches the ligand with few atoms only stays."""
    atoms = peptide("AKG")
    on = np.array([a.xyz for a in atoms if a.number == 2][:3])  # three of lysine's nine atoms
    table, _, notes = clean(atoms, ligand=on)
    assert table.sequences() == ["AKG"]
    assert "ligand_copies_dropped" not in notes


def two_chains() -> list[Atom]:
    return peptide("AKGLS") + peptide("WWG", chain="B", origin=(0.0, 0.0, 60.0))


def test_far_chains_stay_unless_told_otherwise(clean: Clean) -> None:
    table, _, notes = clean(two_chains(), ligand=LIGAND)
    assert table.sequences() == ["AKGLS", "WWG"]
    assert notes == {}
    near, _, counted = clean(two_chains(), ligand=LIGAND, chains_within_angstrom=10.0)
    assert near.sequences() == ["AKGLS"]
    assert counted == {"far_chains_dropped": 1}
    other, _, _ = clean(two_chains(), ligand=np.add(LIGAND, (0.0, 0.0, 60.0)), chains_within_angstrom=10.0)
    assert other.sequences() == ["WWG"]
    assert other.chain_index.tolist() == [0, 0, 0]
    assert set(other.chain) == {"B"}


def test_a_chain_limit_above_the_ligand_limit_is_honoured(clean: Clean) -> None:
    """The second chain lies 10 A off: beyond the 5 A that a ligand needs, within the 20 A asked for."""
    atoms = peptide("AKG") + peptide("AAG", chain="B", origin=(0.0, 15.0, 0.0))
    kept, _, _ = clean(atoms, ligand=LIGAND, chains_within_angstrom=20.0)
    assert kept.sequences() == ["AKG", "AAG"]
    cut, _, _ = clean(atoms, ligand=LIGAND, chains_within_angstrom=6.0)
    assert cut.sequences() == ["AKG"]


@pytest.mark.parametrize(
    ("settings", "shift", "code"),
    [
        ({}, 50.0, "ligand_far"),
        ({"chains_within_angstrom": 100.0}, 50.0, "ligand_far"),
        ({"max_ligand_distance_angstrom": 0.5}, 0.0, "ligand_far"),
        ({"max_residues": 4}, 0.0, "protein_too_large"),
    ],
)
def test_complexes_that_cannot_be_used_are_rejected(
    clean: Clean, settings: dict[str, Any], shift: float, code: str
) -> None:
    with pytest.raises(RejectedComplex, match=r"protein\.pdb") as caught:
        clean(peptide("AKGLS"), ligand=np.add(LIGAND, (0.0, shift, 0.0)), **settings)
    assert caught.value.code == code


def test_far_chains_do_not_count_against_the_size_limit(clean: Clean) -> None:
    table, _, _ = clean(two_chains(), ligand=LIGAND, chains_within_angstrom=10.0, max_residues=5)
    assert len(table) == 5


def test_the_ligand_limit_counts_modified_residues_too(clean: Clean) -> None:
    atoms = [replace(a, hetero=a.number == 1) for a in rename(peptide("MAA"), 1, "MSE", {"SD": "SE"})]
    selenium = np.array([next(a.xyz for a in atoms if a.name == "SE")])
    table, _, _ = clean(atoms, ligand=np.add(selenium, (0.0, 0.0, 4.5)))
    assert table.sequences() == ["MAA"]
