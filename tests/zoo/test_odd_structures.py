"""Structures with everything that real files hold, one case each: chains, residues, atoms and what stands beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from animals import clean_file, keys, ligand_at, same_residues, whole
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex
from bindrae.structure.names import ION_CHARGES, ion_element, ion_name, residue_type
from bindrae.structure.notes import NOTES, note
from complexes import Atom, hetero, pdb_text, peptide, posed, rename

HEADER = "REMARK   2\nREMARK   2 RESOLUTION.    {:4.2f} ANGSTROMS.\n"


def near(atoms: list[Atom], height: float) -> np.ndarray:
    """A point above the ligand of `whole`, where nothing else is."""
    points = ligand_at(atoms).GetConformer().GetPositions()
    return np.array((points[:, 0].mean(), points[:, 1].mean(), points[:, 2].max() + height))


def shifted(atoms: list[Atom], by: tuple[float, float, float], **changes: Any) -> list[Atom]:
    return [replace(a, xyz=tuple(np.add(a.xyz, by).tolist()), **changes) for a in atoms]


# -- chains ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "numbers", "labels"),
    [
        (("A", "B", "A"), (1, 1, 1), ["A", "B", "A.2"]),
        (("A", "B", "A"), (1, 1, 50), ["A", "B", "A.2"]),
        (("A", "A", "A"), (1, 1, 1), ["A", "A.2", "A.3"]),
        (("A", "A", "A"), (50, 20, 1), ["A", "A.2", "A.3"]),
        (("", "", ""), (1, 1, 1), ["", ".2", ".3"]),
        (("A", "A", "A"), (1, 20, 40), ["A", "A", "A"]),
        (("A", "B", "C"), (1, 1, 1), ["A", "B", "C"]),
        (("A", "a", "A"), (-5, -5, -5), ["A", "a", "A.2"]),
    ],
)
def test_chains_that_come_back_or_number_anew_get_labels_of_their_own(
    tmp_path: Path, ids: tuple[str, ...], numbers: tuple[int, ...], labels: list[str]
) -> None:
    parts = [
        peptide("AKGS", chain, start, (0, 30.0 * i, 0))
        for i, (chain, start) in enumerate(zip(ids, numbers, strict=True))
    ]
    row = clean_file(tmp_path, "p.pdb", [a for part in parts for a in part], ligand_at(parts[0]))
    assert row["chain"] == [label for label in labels for _ in range(4)]
    assert row["number"].tolist() == [start + i for start in numbers for i in range(4)]
    assert row["sequences"] == (["AKGSAKGSAKGS"] if labels == ["A", "A", "A"] else ["AKGS"] * 3)
    assert row["linked"].tolist() == [True, True, True, False] * 3
    assert dict(row["notes"]).get("chain_segments_renamed", 0) == sum("." in label for label in labels)


def test_a_bonded_chain_whose_numbers_jump_back_stays_one(tmp_path: Path) -> None:
    atoms = [replace(a, number=a.number + 1000 if a.number < 5 else a.number) for a in whole()]
    row = clean_file(tmp_path, "p.pdb", atoms)
    assert set(row["chain"]) == {"A"}
    assert row["linked"].sum() == 9
    assert row["notes"] == []


def test_one_number_for_all_residues_gives_every_residue_a_key(tmp_path: Path) -> None:
    atoms = [replace(a, number=7) for a in whole()]
    row = clean_file(tmp_path, "p.pdb", atoms)
    assert "".join(row["sequences"]) == "AFKDSWLEGH"
    assert row["n_residues"] == 10


def test_several_models_are_counted(tmp_path: Path) -> None:
    text = "".join(f"MODEL     {i:4d}\n{pdb_text(whole())}ENDMDL\n" for i in (1, 2, 3))
    row = clean_file(tmp_path, "p.pdb", text)
    assert row["n_residues"] == 10
    assert dict(row["notes"]) == {"models_dropped": 2}


def test_models_without_model_records_are_copies_on_top_of_one_another(tmp_path: Path) -> None:
    sound = clean_file(tmp_path, "p.pdb", whole())
    for by in ((0.0, 0.0, 0.0), (0.3, 0.2, 0.1)):
        row = clean_file(tmp_path, "q.pdb", pdb_text(whole()) + "TER\n" + pdb_text(shifted(whole(), by)))
        assert same_residues(row, sound)
        assert dict(row["notes"]) == {"overlapping_residues_dropped": 10}
        assert len(row["context_element"]) == 0, "a copy is no context"


def test_a_residue_parted_by_another_label_is_one(tmp_path: Path) -> None:
    """One character of one line is wrong: the atom is lost, the residue and the rest of the chain are not."""
    sound = clean_file(tmp_path, "p.pdb", whole())
    at = next(i for i, a in enumerate(whole()) if (a.number, a.name) == (3, "CG"))
    for change in ({"chain": "Q"}, {"number": 93}, {"number": 8}, {"insertion": "x"}):
        atoms = [replace(a, **change) if i == at else a for i, a in enumerate(whole())]
        row = clean_file(tmp_path, "q.pdb", atoms)
        assert row["sequences"] == sound["sequences"]
        assert keys(row) == keys(sound)
        assert np.array_equal(row["linked"], sound["linked"])
        assert row["atom14_mask"].sum() == sound["atom14_mask"].sum() - 1
        assert dict(row["notes"])["split_residues_joined"] == 1
    misnamed = [replace(a, residue="LXS") if i == at else a for i, a in enumerate(whole())]
    row = clean_file(tmp_path, "q.pdb", misnamed)
    assert same_residues(row, sound), "the name of the other atoms wins"
    assert dict(row["notes"]) == {"split_residues_joined": 1}


# -- residues --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("MSE", "M"), ("TPO", "T"), ("SEP", "S"), ("PTR", "Y"), ("LLP", "K"), ("CSO", "C"), ("CAS", "C"), ("PCA", "Q"),
        ("CSD", "C"), ("MLY", "K"), ("KCX", "K"), ("HYP", "P"), ("CME", "C"), ("OCS", "C"), ("M3L", "K"), ("ALY", "K"),
        ("CGU", "E"), ("NEP", "H"), ("TYS", "Y"), ("FME", "M"), ("AIB", "A"), ("NLE", "L"), ("FTR", "W"), ("TYI", "Y"),
        ("MEN", "N"), ("AGM", "R"), ("SEC", "C"), ("PYL", "K"), ("SAR", "G"), ("DHA", "S"), ("CSX", "C"), ("YCM", "C"),
        ("DAL", "X"), ("DTY", "X"), ("GHP", "X"), ("ASX", None), ("UNK", "X"), ("STI", None), ("HOH", None),
        ("ACE", None), ("NME", None), ("NH2", None),
    ],
)  # fmt: skip
def test_modified_residues_have_their_parent(name: str, parent: str | None) -> None:
    kind = residue_type(name, CleanSettings())
    if name == "ASX":
        assert kind == aa.UNKNOWN, "aspartate or asparagine: no type"
    else:
        assert kind == (None if parent is None else aa.ONE_LETTER.index(parent))


def test_a_parent_that_only_the_file_names_is_taken(tmp_path: Path) -> None:
    atoms = rename(whole(), 5, "QQQ")
    row = clean_file(tmp_path, "p.pdb", "MODRES 1ABC QQQ A    5  SER  A MODIFIED SERINE\n" + pdb_text(atoms))
    assert row["sequences"] == ["AFKDSWLEGH"]
    assert dict(row["notes"]) == {"modified_residues_mapped": 1}


@pytest.mark.parametrize(("number", "name"), [(3, "LY+"), (4, "DIC"), (10, "HIZ"), (2, "QQQ")])
def test_a_name_nobody_knows_is_read_from_the_atoms(tmp_path: Path, number: int, name: str) -> None:
    atoms = [replace(a, hetero=a.number == number) for a in rename(whole(), number, name)]
    row = clean_file(tmp_path, "p.pdb", atoms)
    assert row["sequences"] == ["AFKDSWLEGH"]
    assert dict(row["notes"]) == {"types_from_atoms": 1}
    cut = clean_file(
        tmp_path, "q.pdb", [a for a in atoms if a.number != number or a.name in ("N", "CA", "C", "O", "CB")]
    )
    assert cut["sequences"][0][number - 1] == "X", "a stub may be any type"


@pytest.mark.parametrize("chain", ["A", ""])
@pytest.mark.parametrize("name", ["ASPP", "GLUP", "CYS2"])
def test_names_of_four_letters(tmp_path: Path, name: str, chain: str) -> None:
    parent = aa.ALIASES[name]
    number = next(i for i, c in enumerate("AFKDSWLEGC", start=1) if aa.RESIDUE_NAMES[aa.ONE_LETTER.index(c)] == parent)
    lines = pdb_text(peptide("AFKDSWLEGC", chain)).splitlines(keepends=True)
    text = "".join(line[:17] + name + line[21:] if int(line[22:26]) == number else line for line in lines)
    row = clean_file(
        tmp_path, "p.pdb", text + "HETATM  900  O   TIP3A 900       0.000   0.000  15.000  1.00 20.00           O\n"
    )
    assert row["sequences"] == ["AFKDSWLEGC"]
    assert row["name"][number - 1] == name
    assert set(row["chain"]) == {chain}
    assert len(row["context_element"]) == 0
    assert set(dict(row["notes"])) == {"four_letter_names_joined"}


def test_atoms_far_from_their_bonds_are_missing_and_the_residue_is_flagged(tmp_path: Path) -> None:
    sound = clean_file(tmp_path, "p.pdb", whole())
    for name, by in (("CD1", (0, 0, 0.7)), ("CZ", (5, 0, 0)), ("O", (0, 900.0, 0)), ("CB", (0, 0, -0.5))):
        atoms = [replace(a, xyz=tuple(np.add(a.xyz, by))) if (a.number, a.name) == (2, name) else a for a in whole()]
        row = clean_file(tmp_path, "q.pdb", atoms)
        slot = aa.ATOM14_NAMES[row["aatype"][1]].index(name)
        expected = sound["atom14_mask"].copy()
        expected[1, slot] = False
        assert np.array_equal(row["atom14_mask"], expected)
        assert dict(row["notes"]) == {"distorted_residues": 1, "distorted_atoms_masked": 1, "missing_heavy_atoms": 1}


@pytest.mark.parametrize("name", ["N", "CA", "C"])
def test_a_distorted_backbone_is_no_frame(tmp_path: Path, name: str) -> None:
    atoms = [replace(a, xyz=tuple(np.add(a.xyz, 3.0))) if (a.number, a.name) == (5, name) else a for a in whole()]
    row = clean_file(tmp_path, "p.pdb", atoms)
    assert row["number"].tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert not row["linked"][3]
    assert dict(row["notes"]) == {"distorted_residues": 1, "distorted_backbones_dropped": 1}
    assert len(row["context_element"]) == 0


# -- atoms -----------------------------------------------------------------------------------------------------------


def test_the_element_column_may_be_wrong(tmp_path: Path) -> None:
    sound = clean_file(tmp_path, "p.pdb", whole())
    atoms = [replace(a, element={"CA": "CA", "CB": "H", "NZ": "X"}.get(a.name, a.element)) for a in whole()]
    hydrogen = replace(whole()[-1], name="HE1", element="HE", xyz=(0, 0, 40))
    row = clean_file(tmp_path, "q.pdb", [*atoms, hydrogen])
    assert same_residues(row, sound)
    assert set(dict(row["notes"])) == {"elements_corrected"}


def test_hydrogens_of_every_name_are_gone(tmp_path: Path) -> None:
    sound = clean_file(tmp_path, "p.pdb", whole())
    names = ("H", "HA", "1HB", "HG11", "DG", "D", "2DD2", "HXT")
    protons = [
        replace(whole()[0], name=n, element="D" if "D" in n[:2] else "H", xyz=(0, -9, i)) for i, n in enumerate(names)
    ]
    row = clean_file(tmp_path, "q.pdb", [*protons, *whole()])
    assert same_residues(row, sound)
    assert row["notes"] == []


def test_atoms_of_occupancy_zero_are_kept_and_counted(tmp_path: Path) -> None:
    sound = clean_file(tmp_path, "p.pdb", whole())
    some = [replace(a, occupancy=0.0) if a.number == 3 and a.name not in aa.BACKBONE else a for a in whole()]
    row = clean_file(tmp_path, "q.pdb", some)
    assert same_residues(row, sound)
    assert dict(row["notes"]) == {"zero_occupancy_atoms": 5}
    unused = clean_file(tmp_path, "r.pdb", [replace(a, occupancy=0.0) for a in whole()])
    assert unused["notes"] == [], "a file without occupancies says nothing"


def test_one_stray_atom_of_a_third_location_does_not_win(tmp_path: Path) -> None:
    atoms = []
    for a in whole():
        if a.number == 3 and a.name not in aa.BACKBONE:
            atoms.append(replace(a, altloc="A", occupancy=0.6))
            atoms.append(replace(a, altloc="C" if a.name == "CG" else "B", occupancy=0.9 if a.name == "CG" else 0.4))
        else:
            atoms.append(a)
    row = clean_file(tmp_path, "p.pdb", atoms)
    assert row["atom14_mask"][2].sum() == 9
    assert dict(row["notes"]) == {"altloc_atoms_dropped": 5}


# -- what stands beside ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("residue", "name", "element", "ion"),
    [
        ("CA1", "CA", "CA", "CA"), ("ZN1", "ZN", "ZN", "ZN"), ("ZN", "ZN", "ZN", "ZN"), ("MN", "MN", "MN", "MN"),
        ("CA", "CA", "C", "CA"), ("FE2", "FE", "FE", "FE2"), ("CL", "CL", "CL", "CL"), ("NA", "NA", "N", "NA"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("hetatm", [True, False])
def test_ions_under_any_name_have_element_and_charge(
    tmp_path: Path, residue: str, name: str, element: str, ion: str, hetatm: bool
) -> None:
    metal = Atom(name, residue, "A", 900, tuple(near(whole(), 2.5).tolist()), element, hetero=hetatm)
    row = clean_file(tmp_path, "p.pdb", [*whole(), metal])
    assert row["context_element"].tolist() == [ion_element(ion)]
    assert row["context_charge"].tolist() == [ION_CHARGES[ion]]
    assert row["context_name"] == [residue]
    assert row["n_residues"] == 10
    assert dict(row["notes"])["ion_charges_assumed"] == 1


def test_ion_names_of_other_programs() -> None:
    assert [ion_name(n, "") for n in ("CA1:10", "ZN1:4", "MG+2", "zn", "3CO", "MN3")] == [
        "CA",
        "ZN",
        "MG",
        "ZN",
        "3CO",
        "MN3",
    ]
    assert ion_name("GOL", "C1") == ""


def test_the_files_own_charge_wins(tmp_path: Path) -> None:
    x, y, z = near(whole(), 2.5)
    line = f"HETATM  900 CU    CU A 900    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00          CU1+\n"
    row = clean_file(tmp_path, "p.pdb", pdb_text(whole()) + line)
    assert row["context_charge"].tolist() == [1]
    assert dict(row["notes"]) == {"context_atoms_kept": 1}


def test_nucleotides_near_the_ligand_are_context(tmp_path: Path) -> None:
    at = near(whole(), 3.0)
    base = hetero(
        "DA", 901, {n: np.add(at, (1.4 * i, 0, 0)) for i, n in enumerate(("P", "O5'", "C5'", "N9", "C8"))}, "C"
    )
    far = hetero("DC", 902, {n: np.add(at, (0, 1.4 * i, 60)) for i, n in enumerate(("P", "O5'", "C5'", "N1"))}, "C")
    row = clean_file(tmp_path, "p.pdb", whole() + [replace(a, hetero=False) for a in base + far])
    assert set(row["context_name"]) == {"DA"}
    assert row["n_residues"] == 10
    assert dict(row["notes"]) == {"context_atoms_kept": 5, "nucleotides_kept": 1}


def test_a_peptide_that_is_the_ligand_is_no_chain(tmp_path: Path) -> None:
    """A chain whose atoms the ligand file holds too goes, all of it, and nothing else does."""
    chain = peptide("GAS", "P", 1, (0.0, 0.0, 16.0))
    mol = Chem.MolFromSequence("GAS")
    alpha, carbon, oxygen = (
        np.array(next(a.xyz for a in chain if (a.number, a.name) == (3, n))) for n in ("CA", "C", "O")
    )
    away = 2 * carbon - alpha - oxygen
    end = replace(chain[-1], name="OXT", xyz=tuple((carbon + 1.25 * away / np.linalg.norm(away)).tolist()))
    order = {(a.number, a.name): a.xyz for a in [*chain, end]}
    pose = Chem.Conformer(mol.GetNumAtoms())
    for atom in mol.GetAtoms():
        info = atom.GetPDBResidueInfo()
        pose.SetAtomPosition(atom.GetIdx(), order[info.GetResidueNumber(), info.GetName().strip()])
    mol.AddConformer(pose)
    row = clean_file(tmp_path, "p.pdb", whole() + chain, mol, max_ligand_distance_angstrom=20.0)
    assert row["sequences"] == ["AFKDSWLEGH"]
    assert dict(row["notes"]) == {"ligand_copies_dropped": 3}


def covalent() -> tuple[list[Atom], Chem.Mol]:
    """Ethanethiol-like: a carbon of the ligand 1.81 A from the cysteine's SG."""
    atoms = peptide("AFKCSWLEGH")
    sulphur = np.array(next(a.xyz for a in atoms if (a.number, a.name) == (4, "SG")))
    beta = np.array(next(a.xyz for a in atoms if (a.number, a.name) == (4, "CB")))
    out = (sulphur - beta) / np.linalg.norm(sulphur - beta)
    up = np.array((0.0, 0.0, 1.0)) if sulphur[2] >= beta[2] else np.array((0.0, 0.0, -1.0))
    first = sulphur + 1.81 * (out + up) / np.linalg.norm(out + up)
    return atoms, posed("CCC", [first, first + 1.5 * up, first + 3.0 * up + 0.3 * out])


def test_the_bond_of_a_covalent_ligand_is_stored(tmp_path: Path) -> None:
    atoms, ligand = covalent()
    row = clean_file(tmp_path, "p.pdb", atoms, ligand)
    assert row["ligand_link"].shape == (1, 3)
    residue, slot, partner = row["ligand_link"][0]
    assert aa.ATOM14_NAMES[row["aatype"][residue]][slot] == "SG"
    assert partner == 0
    assert dict(row["notes"]) == {"covalent_ligand": 1}
    assert row["atom14_mask"][residue, slot], "kept"


def test_a_ligand_that_is_not_bonded_has_no_link(tmp_path: Path) -> None:
    assert clean_file(tmp_path, "p.pdb", whole())["ligand_link"].shape == (0, 3)


# -- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "code"), [(None, None), (2.5, None), (2.4, "resolution")])
def test_the_resolution_filter(tmp_path: Path, limit: float | None, code: str | None) -> None:
    text = HEADER.format(2.5) + pdb_text(whole())
    if code is None:
        assert clean_file(tmp_path, "p.pdb", text, max_resolution_angstrom=limit)["notes"] == []
        return
    with pytest.raises(RejectedComplex) as caught:
        clean_file(tmp_path, "p.pdb", text, max_resolution_angstrom=limit)
    assert caught.value.code == code


def test_an_unknown_resolution_is_not_rejected_but_noted(tmp_path: Path) -> None:
    row = clean_file(tmp_path, "p.pdb", whole(), max_resolution_angstrom=2.0)
    assert dict(row["notes"]) == {"resolution_unknown": 1}


def test_the_clash_filter(tmp_path: Path) -> None:
    ligand = ligand_at(whole(), height=-2.5)
    row = clean_file(tmp_path, "p.pdb", whole(), ligand)
    assert "clashing_ligand_atoms" not in dict(row["notes"])
    with pytest.raises(RejectedComplex) as caught:
        clean_file(tmp_path, "p.pdb", whole(), ligand, max_clash_fraction=0.05)
    assert caught.value.code == "ligand_clash"
    assert (
        dict(clean_file(tmp_path, "p.pdb", whole(), ligand, max_clash_fraction=1.0)["notes"])["clashing_ligand_atoms"]
        > 0
    )
    assert clean_file(tmp_path, "p.pdb", whole(), max_clash_fraction=0.0)["notes"] == []


def test_the_bond_of_a_covalent_ligand_is_no_clash(tmp_path: Path) -> None:
    atoms, ligand = covalent()
    row = clean_file(tmp_path, "p.pdb", atoms, ligand, max_clash_fraction=0.34)
    assert dict(row["notes"])["covalent_ligand"] == 1


# -- the table of notes ----------------------------------------------------------------------------------------------


def test_every_note_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cleaning.md").read_text()
    assert [name for name in NOTES if f"`{name}`" not in page] == []
    with pytest.raises(KeyError):
        note({}, "something_else", 1)
