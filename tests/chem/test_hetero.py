"""Ligands inside the protein file: found by name and place, chosen when nobody named one, the same in PDB and mmCIF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem.hetero import ADDITIVES, COFACTORS, HeteroName, choose_ligand, find_group, parse_hetero
from bindrae.chem.ligand import mol_from_block, read_hetero_ligand
from bindrae.config import CleanSettings
from bindrae.data.stages import clean_complex
from bindrae.errors import RejectedComplex
from bindrae.structure.atoms import read_atoms
from complexes import Atom, peptide, write_pdb
from groups import group, write_cif

SEQUENCE = "AFKDSWLEGH"
SMILES = {
    "STI": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "ZN": "[Zn+2]",
    "GDP": "Nc1nc2c(ncn2[C@@H]2O[C@H](CO[P@](=O)(O)OP(=O)(O)O)[C@@H](O)[C@H]2O)c(=O)[nH]1",
    "ACT": "CC(=O)[O-]",
}


def files(folder: Path, *groups: list[Atom]) -> list[Path]:
    atoms = peptide(SEQUENCE) + [atom for one in groups for atom in one]
    return [
        write_pdb(folder / "a.pdb", atoms),
        write_cif(folder / "a.cif", atoms),
        write_cif(folder / "a.cif.gz", atoms),
    ]


@pytest.mark.parametrize("code", SMILES)
def test_bonds_and_charges_are_those_of_the_dictionary_in_every_format(tmp_path: Path, code: str) -> None:
    blocks = set()
    for path in files(tmp_path, group(code)):
        ligand = read_hetero_ligand(read_atoms(path), f"hetatm:{code}/A/201", path, 100)
        assert (ligand.route, ligand.path, ligand.notes) == ("ccd", path, {})
        assert ligand.smiles == Chem.CanonSmiles(SMILES[code])
        assert ligand.inchikey
        blocks.add(ligand.molblock())
    (block,) = blocks
    assert block.split("\n", 1)[0] == f"{code}/A/201", "the table says which group it was"
    assert Chem.MolToSmiles(mol_from_block(block)) == ligand.smiles


def test_haem_has_its_iron_and_a_key(tmp_path: Path) -> None:
    path = files(tmp_path, group("HEM"))[0]
    ligand = read_hetero_ligand(read_atoms(path), "hetatm:HEM", path, 100)
    assert (len(ligand.element), int(ligand.element.max())) == (43, 26)
    assert sum(26 in (ligand.element[a], ligand.element[b]) for a, b in ligand.bonds) == 4
    assert ligand.inchikey.startswith("KABFMIBPWCXCRK")


def test_the_pose_gives_the_stereo(tmp_path: Path) -> None:
    mirrored = [replace(a, xyz=(a.xyz[0], a.xyz[1], -a.xyz[2])) for a in group("GDP")]
    path = files(tmp_path, mirrored)[0]
    swapped = read_hetero_ligand(read_atoms(path), "hetatm:GDP", path, 100).smiles
    assert swapped != Chem.CanonSmiles(SMILES["GDP"])
    mirror = Chem.MolFromSmiles(SMILES["GDP"])
    for atom in mirror.GetAtoms():
        atom.InvertChirality()
    assert swapped == Chem.CanonSmiles(Chem.MolToSmiles(mirror))


def test_missing_atoms_are_counted_not_invented(tmp_path: Path) -> None:
    whole, part = group("STI"), group("STI", leave_out=["C54"])
    path = files(tmp_path, part)[0]
    ligand = read_hetero_ligand(read_atoms(path), "hetatm:STI", path, 100)
    assert ligand.notes == {"ligand_atoms_missing": 1}
    assert len(ligand.element) == len(whole) - 1
    assert ligand.smiles == Chem.CanonSmiles(SMILES["STI"].replace("CCN(C)CC3", "CCNCC3"))
    assert not any(atom.GetNumRadicalElectrons() for atom in ligand.mol.GetAtoms())


def test_strange_names_and_atoms_are_refused(tmp_path: Path) -> None:
    sti = group("STI")
    cases = {
        "hetatm:STI/B": ("ligand_not_in_file", sti),
        "hetatm:STI/A/7": ("ligand_not_in_file", sti),
        "hetatm:GOL": ("ligand_not_in_file", sti),
        "hetatm:": ("ligand_not_in_file", sti),
        "hetatm:QQQ": ("ligand_no_template", [replace(a, residue="QQQ") for a in sti]),
        "hetatm:ATP": ("ligand_no_template", [replace(a, residue="ATP") for a in sti]),
    }
    for reference, (code, atoms) in cases.items():
        path = files(tmp_path, atoms)[0]
        with pytest.raises(RejectedComplex) as caught:
            read_hetero_ligand(read_atoms(path), reference, path, 100)
        assert caught.value.code == code, reference
    path = files(tmp_path, sti)[0]
    with pytest.raises(RejectedComplex, match="37 heavy atoms") as caught:
        read_hetero_ligand(read_atoms(path), "hetatm:STI", path, 20)
    assert caught.value.code == "ligand_too_large"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hetatm:sti", HeteroName("STI")),
        ("hetatm:STI/A", HeteroName("STI", "A")),
        ("hetatm:STI/A/201", HeteroName("STI", "A", 201)),
        ("hetatm:STI/AB/-3B", HeteroName("STI", "AB", -3, "B")),
        ("hetatm:ZN//4", HeteroName("ZN", "", 4)),
        ("hetatm:A1BCD", HeteroName("A1BCD")),
    ],
)
def test_references_are_read_and_written(text: str, wanted: HeteroName) -> None:
    assert parse_hetero(text) == wanted
    assert parse_hetero(str(wanted)) == wanted


@pytest.mark.parametrize(
    "text", ["STI", "hetatm:", "hetatm:TOOLONG", "hetatm:STI/A/x", "hetatm:STI/A/1/2", "hetatm:A B"]
)
def test_other_references_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hetatm:NAME/CHAIN/NUMBER"):
        parse_hetero(text)


def test_of_several_groups_the_most_complete_is_taken_then_the_first(tmp_path: Path) -> None:
    part, one, two = group("STI", 301, leave_out=["C54"]), group("STI", 302), group("STI", 303, centre=(5, 5, 30))
    atoms = read_atoms(files(tmp_path, part, one, two)[0])
    assert set(atoms.number[find_group(atoms, parse_hetero("hetatm:STI"), "x")]) == {302}
    assert set(atoms.number[find_group(atoms, parse_hetero("hetatm:STI/A/303"), "x")]) == {303}
    # An amino acid of the chain is no ligand unless it is named by its place.
    with pytest.raises(RejectedComplex):
        find_group(atoms, parse_hetero("hetatm:TRP"), "x")
    assert len(find_group(atoms, parse_hetero("hetatm:TRP/A/6"), "x")) == 14


def test_one_alternate_location_is_taken(tmp_path: Path) -> None:
    shape = group("ACT")
    low = [replace(a, altloc="A", occupancy=0.4) for a in shape]
    high = [replace(a, altloc="B", occupancy=0.6, xyz=tuple(np.add(a.xyz, (0.5, 0, 0)).tolist())) for a in shape]
    path = files(tmp_path, [atom for pair in zip(low, high, strict=True) for atom in pair])[0]
    ligand = read_hetero_ligand(read_atoms(path), "hetatm:ACT", path, 100)
    assert len(ligand.xyz) == 4
    assert np.allclose(sorted(ligand.xyz[:, 0]), sorted(a.xyz[0] for a in high), atol=1e-3)


def test_the_largest_group_that_is_no_additive_is_chosen(tmp_path: Path) -> None:
    far = (5.0, 5.0, 40.0)
    zinc, glycerol, peg = group("ZN", 401), group("GOL", 402), group("1PE", 403, centre=far)
    haem, drug, small = group("HEM", 404, centre=(5, 5, -30)), group("STI", 405), group("BEN", 406, centre=(40, 5, 5))
    assert {"GOL", "1PE", "SO4"} <= ADDITIVES
    assert "HEM" in COFACTORS
    for groups, wanted in (
        ([zinc, glycerol, peg, haem, small, drug], "hetatm:STI/A/405"),
        ([zinc, glycerol, peg, haem, small], "hetatm:BEN/A/406"),
        ([zinc, glycerol, peg, haem], "hetatm:HEM/A/404"),
        ([group("BEN", 1, "B"), group("BEN", 2, "B", centre=far)], "hetatm:BEN/B/1"),
    ):
        for path in files(tmp_path, *groups):
            assert str(choose_ligand(path)) == wanted
    for path in files(tmp_path, zinc, glycerol, peg):
        with pytest.raises(RejectedComplex) as caught:
            choose_ligand(path)
        assert caught.value.code == "ligand_not_in_file"
    torn = tmp_path / "torn.cif"
    torn.write_text("data_x\nloop_\n_atom_site.id\n'")
    with pytest.raises(RejectedComplex) as caught:
        choose_ligand(torn)
    assert caught.value.code in ("protein_unreadable", "ligand_not_in_file")


def test_a_group_bound_to_the_protein_is_not_chosen(tmp_path: Path) -> None:
    path = files(tmp_path, group("STI", 405), group("BEN", 406, centre=(40, 5, 5)))[0]
    link = "LINK         CB  ALA A   1                 N51 STI A 405     1555   1555  1.45\n"
    path.write_text(link + path.read_text())
    assert str(choose_ligand(path)) == "hetatm:BEN/A/406"


def test_cleaning_takes_the_group_out_of_the_protein(tmp_path: Path) -> None:
    points = np.array([a.xyz for a in peptide(SEQUENCE)])
    shape = np.array([a.xyz for a in group("STI", centre=points.mean(axis=0))])
    height = next(
        h for h in np.arange(0, 60, 0.25) if np.linalg.norm(shape[:, None] + (0, 0, h) - points, axis=-1).min() > 3.0
    )
    centre = np.add(points.mean(axis=0), (0, 0, height))
    rows = [
        clean_complex({"id": "x", "protein": str(path), "ligand": ["hetatm:STI"]}, CleanSettings())
        for path in files(tmp_path, group("STI", centre=centre), group("ZN", 301, centre=np.add(centre, (0, 0, 6))))
    ]
    for row in rows:
        assert row["ligand_route"] == "ccd"
        assert row["n_residues"] == len(SEQUENCE)
        assert row["context_name"] == ["ZN"]
        assert np.array_equal(row["ligand_xyz"], rows[0]["ligand_xyz"])
        assert row["ligand_sha256"] == row["protein_sha256"]
        assert row["ligand_block"] == rows[0]["ligand_block"]
