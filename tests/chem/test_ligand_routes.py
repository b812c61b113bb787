"""Where the bonds of a ligand come from: which file is believed, the component dictionary, and odd files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem import guard
from bindrae.chem.ligand import mol_from_block, read_ligand
from bindrae.errors import REJECTION_CODES, RejectedComplex
from complexes import embedded, posed

STI = "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"
PHENOL = "Oc1ccc(-c2ccncc2)cc1"


def sdf(mol: Chem.Mol, title: str = "") -> str:
    mol = Chem.Mol(mol)
    mol.SetProp("_Name", title)
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def mol2(mol: Chem.Mol, residue: str = "LIG", kinds: dict[int, str] | None = None) -> str:
    """Kekulé bonds, hydrogens as in the molecule."""
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    counts = f"{mol.GetNumAtoms()} {mol.GetNumBonds()} 1 0 0"
    lines = ["@<TRIPOS>MOLECULE", "ligand", counts, "SMALL", "NO_CHARGES", "", "@<TRIPOS>ATOM"]
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        i, symbol = atom.GetIdx() + 1, atom.GetSymbol()
        kind = (kinds or {}).get(atom.GetIdx(), symbol)
        lines.append(f"{i} {symbol}{i} {x:.4f} {y:.4f} {z:.4f} {kind} 1 {residue} 0.0")
    lines.append("@<TRIPOS>BOND")
    for bond in mol.GetBonds():
        ends = f"{bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1}"
        lines.append(f"{bond.GetIdx() + 1} {ends} {int(bond.GetBondTypeAsDouble())}")
    return "\n".join(lines) + "\n"


def write(folder: Path, **texts: str | bytes) -> list[Path]:
    paths = []
    for ending, text in texts.items():
        paths.append(folder / f"a.{ending}")
        paths[-1].write_bytes(text.encode() if isinstance(text, str) else text)
    return paths


def code_of(paths: list[Path], max_atoms: int = 100, max_seconds: float = 60.0) -> str:
    with pytest.raises(RejectedComplex) as caught:
        read_ligand(paths, max_atoms, max_seconds)
    assert caught.value.code in REJECTION_CODES
    return caught.value.code


def plain(mol: Chem.Mol) -> str:
    """SMILES without stereo."""
    return Chem.MolToSmiles(mol, isomericSmiles=False)


def reordered(mol: Chem.Mol, smiles: str) -> Chem.Mol:
    """The heavy atoms of `mol` as another molecule of the same skeleton, without hydrogens."""
    other = Chem.MolFromSmiles(smiles)
    plain = [Chem.RWMol(Chem.RemoveHs(m)) for m in (mol, other)]
    for m in plain:
        for bond in m.GetBonds():
            bond.SetBondType(Chem.BondType.SINGLE)
            bond.SetIsAromatic(False)
        for atom in m.GetAtoms():
            atom.SetIsAromatic(False)
            atom.SetFormalCharge(0)
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
    match = plain[0].GetSubstructMatch(plain[1])
    assert len(match) == other.GetNumAtoms()
    return posed(smiles, plain[0].GetConformer().GetPositions()[list(match)])


# Which of two sound files is believed --------------------------------------------------------------------------------


def test_equal_files_are_the_sdf_in_any_order_of_atoms(tmp_path: Path) -> None:
    mol = embedded(PHENOL, hydrogens=True)
    order = np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist()
    ligand = read_ligand(write(tmp_path, sdf=sdf(mol), mol2=mol2(Chem.RenumberAtoms(mol, order))), 100)
    assert (ligand.route, ligand.notes) == ("sdf", {})


ISOTHIOCYANATE, WRONG = "S=C=Nc1ccc2oc(C3=NCCN3)cc2c1", "S=CNc1ccc2oc(C3=NCCN3)cc2c1"


@pytest.mark.parametrize("residue", ["I5I", "I5I1"])
@pytest.mark.parametrize(
    ("first", "second", "route"), [(WRONG, ISOTHIOCYANATE, "mol2"), (ISOTHIOCYANATE, WRONG, "sdf")]
)
def test_the_dictionary_decides_between_files_that_differ(
    tmp_path: Path, first: str, second: str, route: str, residue: str
) -> None:
    shape = embedded(ISOTHIOCYANATE)
    paths = write(tmp_path, sdf=sdf(reordered(shape, first)), mol2=mol2(reordered(shape, second), residue))
    ligand = read_ligand(paths, 100)
    assert (ligand.route, ligand.smiles) == (route, Chem.CanonSmiles(ISOTHIOCYANATE))
    assert ligand.notes == {"ligand_files_differ": 1}


def test_without_a_name_the_reading_without_radicals_is_believed_then_the_mol2(tmp_path: Path) -> None:
    shape = embedded("CS(=O)CCO", hydrogens=True)
    bare = Chem.RWMol(shape)
    bare.GetBondBetweenAtoms(1, 2).SetBondType(Chem.BondType.SINGLE)  # S-O in a file that has all its hydrogens
    paths = write(tmp_path, sdf=sdf(bare.GetMol()), mol2=mol2(shape))
    assert (read_ligand(paths, 100).route, plain(read_ligand(paths, 100).mol)) == ("mol2", "CS(=O)CCO")
    shape = embedded(ISOTHIOCYANATE)
    paths = write(tmp_path, sdf=sdf(shape), mol2=mol2(reordered(shape, WRONG)))
    assert read_ligand(paths, 100).route == "mol2"


# Falling back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["empty", "flat", "one place", "none", "hydrogen", "binary", "dummy"])
def test_the_next_file_is_read_when_the_first_gives_no_pose(tmp_path: Path, fault: str) -> None:
    mol = embedded(PHENOL, centre=(3, 4, 5), hydrogens=True)
    points = mol.GetConformer().GetPositions()
    flat, heap = Chem.Mol(mol), Chem.Mol(mol)
    flat.GetConformer().SetPositions(points * (1, 1, 0))
    heap.GetConformer().SetPositions(points * 0 + 7)
    text: str | bytes = {
        "empty": "\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n",
        "flat": sdf(flat),
        "one place": sdf(heap),
        "none": "",
        "hydrogen": sdf(embedded("[H][H]", hydrogens=True)),
        "binary": gzip.compress(b"x" * 50)[3:] + b"\0",
        "dummy": sdf(mol).replace(" O ", " R#"),
    }[fault]
    ligand = read_ligand(write(tmp_path, sdf=text, mol2=mol2(mol)), 100)
    assert (ligand.route, ligand.smiles) == ("mol2", PHENOL)
    codes = {"empty": "empty", "hydrogen": "empty", "flat": "not_3d", "one place": "not_3d", "dummy": "dummy_atoms"}
    assert code_of([tmp_path / "a.sdf"]) == f"ligand_{codes.get(fault, 'unreadable')}"
    assert code_of(write(tmp_path, sdf=text, mol2="torn")) == f"ligand_{codes.get(fault, 'unreadable')}"


@pytest.mark.parametrize("place", ["title", "residue"])
def test_the_dictionary_gives_bonds_to_a_file_whose_own_are_impossible(tmp_path: Path, place: str) -> None:
    mol = embedded(STI, hydrogens=True)
    broken = Chem.RWMol(mol)
    carbonyl = mol.GetSubstructMatch(Chem.MolFromSmarts("C(=O)N"))
    Chem.Kekulize(broken, clearAromaticFlags=True)
    broken.GetBondBetweenAtoms(carbonyl[0], carbonyl[2]).SetBondType(Chem.BondType.DOUBLE)  # a carbon with five bonds
    block = Chem.MolToMolBlock(broken.GetMol(), kekulize=False)
    if place == "title":
        paths = write(tmp_path, sdf="STI" + block)
    else:
        paths = write(tmp_path, sdf=block, mol2=_as_mol2(broken.GetMol(), "STI"))
    ligand = read_ligand(paths, 100)
    assert (ligand.route, ligand.smiles) == ("ccd", STI)
    assert Chem.MolToSmiles(mol_from_block(ligand.molblock())) == STI
    points = Chem.RemoveHs(mol).GetConformer().GetPositions()
    assert (np.linalg.norm(ligand.xyz[:, None] - points[None], axis=-1).min(axis=1) < 1e-3).all()
    (tmp_path / "a.mol2").unlink(missing_ok=True)
    for name in ("ATP", "LIG", "1abc_ligand", ""):
        assert code_of(write(tmp_path, sdf=name + block)) == "ligand_unreadable"


def _as_mol2(mol: Chem.Mol, residue: str) -> str:
    lines = ["@<TRIPOS>MOLECULE", "x", f"{mol.GetNumAtoms()} {mol.GetNumBonds()} 1 0 0", "SMALL", "NO_CHARGES", ""]
    lines.append("@<TRIPOS>ATOM")
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        lines.append(f"{atom.GetIdx() + 1} A {x:.4f} {y:.4f} {z:.4f} {atom.GetSymbol()} 1 {residue} 0.0")
    lines.append("@<TRIPOS>BOND")
    lines += [
        f"{b.GetIdx() + 1} {b.GetBeginAtomIdx() + 1} {b.GetEndAtomIdx() + 1} {int(b.GetBondTypeAsDouble())}"
        for b in mol.GetBonds()
    ]
    return "\n".join(lines) + "\n"


# Odd files -----------------------------------------------------------------------------------------------------------


def test_further_molecules_are_counted(tmp_path: Path) -> None:
    one, other = embedded(PHENOL, hydrogens=True), embedded("CCO", hydrogens=True)
    for ending in ("\n", "\r\n", "\r"):
        text = (sdf(one) + sdf(other) + sdf(other)).replace("\n", ending)
        ligand = read_ligand(write(tmp_path, sdf=text), 100)
        assert (ligand.smiles, ligand.notes) == (PHENOL, {"ligand_further_molecules": 2})
    ligand = read_ligand(write(tmp_path, mol2="# a comment\n" + mol2(one) + mol2(other)), 100)
    assert (ligand.smiles, ligand.notes) == (PHENOL, {"ligand_further_molecules": 1})


def test_v3000_is_read_and_its_query_fields_too(tmp_path: Path) -> None:
    mol = embedded("C[N+](C)(C)C[C@@H](O)c1ccccc1", centre=(30, -12, 110), hydrogens=True)
    block = Chem.MolToV3KMolBlock(mol)
    smiles = read_ligand(write(tmp_path, sdf=block), 100).smiles
    assert smiles == Chem.MolToSmiles(Chem.RemoveHs(mol))
    query = block.replace(" C ", " C ").split("\n")
    query = [f"{line} HCOUNT=2" if line.startswith("M  V30 ") and " C " in line else line for line in query]
    query = [f"{line} TOPO=1" if line.startswith("M  V30 1 ") and line.count(" ") == 6 else line for line in query]
    assert any("HCOUNT" in line for line in query)
    ligand = read_ligand(write(tmp_path, sdf="\n".join(query)), 100)
    assert ligand.smiles == smiles
    assert not any(atom.HasQuery() for atom in ligand.mol.GetAtoms())
    assert ligand.charge.sum() == 1


def test_a_torn_file_is_unreadable_or_whole(tmp_path: Path) -> None:
    mol = embedded(PHENOL, hydrogens=True)
    for ending, text in (("sdf", sdf(mol)), ("mol2", mol2(mol))):
        for length in range(0, text.index("M  END") if ending == "sdf" else len(text) - 6, 37):
            assert code_of(write(tmp_path, **{ending: text[:length]})) == "ligand_unreadable", f"{length} bytes"
        packed = gzip.compress(text.encode())
        for damaged in (packed[:-20], packed[:30] + bytes([packed[30] ^ 255]) + packed[31:], b"no gzip"):
            (tmp_path / f"b.{ending}.gz").write_bytes(damaged)
            assert code_of([tmp_path / f"b.{ending}.gz"]) == "ligand_unreadable"
    # Random bytes never crash, whatever the name says.
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = rng.integers(1, 256, 3000, dtype=np.uint8).tobytes()
        assert code_of(write(tmp_path, sdf=noise, mol2=b"@<TRIPOS>MOLECULE\n" + noise)) == "ligand_unreadable"


@pytest.mark.parametrize("kind", ["Du", "Du.C", "*"])
def test_dummy_atoms_are_dropped_when_free_and_refused_when_bound(tmp_path: Path, kind: str) -> None:
    mol = embedded("CCO")
    text = mol2(mol, kinds={0: kind})
    assert code_of(write(tmp_path, mol2=text)) == "ligand_dummy_atoms"
    free = (
        mol2(mol).replace("3 2 1 0 0", "4 2 1 0 0").replace("@<TRIPOS>BOND", f"4 D 9 9 9 {kind} 1 L 0\n@<TRIPOS>BOND")
    )
    ligand = read_ligand(write(tmp_path, mol2=free), 100)
    assert (ligand.smiles, ligand.notes) == ("CCO", {"ligand_dummy_atoms_dropped": 1})


def test_one_damaged_coordinate_is_noticed(tmp_path: Path) -> None:
    mol = embedded(PHENOL, hydrogens=True)
    for away in (8.0, 80.0):
        points = mol.GetConformer().GetPositions()
        points[3] += away
        moved = Chem.Mol(mol)
        moved.GetConformer().SetPositions(points)
        assert code_of(write(tmp_path, sdf=sdf(moved))) == "ligand_distorted"
    assert read_ligand(write(tmp_path, sdf=sdf(moved), mol2=mol2(mol)), 100).route == "mol2"


@pytest.mark.parametrize("symbol", ["R#", "A", "Q", "*", "Xx"])
def test_r_groups_and_unknown_elements_are_refused(tmp_path: Path, symbol: str) -> None:
    text = sdf(embedded("CCO")).replace(" O ", f" {symbol:<2}")
    assert code_of(write(tmp_path, sdf=text)) == "ligand_dummy_atoms"


def test_a_mol2_without_hydrogens_holds_no_radicals(tmp_path: Path) -> None:
    for smiles in ("CCO", PHENOL, "C[C@H](N)C(=O)O", "NC(=O)c1ccc(Cl)cc1", "CC#N", "OP(=O)(O)OC"):
        ligand = read_ligand(write(tmp_path, mol2=mol2(embedded(smiles))), 100)
        assert ligand.smiles == Chem.CanonSmiles(smiles)
    polar = Chem.RWMol(embedded("OCCN", hydrogens=True))
    for i in reversed([a.GetIdx() for a in polar.GetAtoms() if a.GetAtomicNum() == 1]):
        if polar.GetAtomWithIdx(i).GetNeighbors()[0].GetAtomicNum() == 6:
            polar.RemoveAtom(i)
    assert read_ligand(write(tmp_path, mol2=mol2(polar.GetMol())), 100).smiles == "NCCO"


def test_metals_are_kept_with_their_bonds(tmp_path: Path) -> None:
    points = [(0, 0, 0), (2.1, 0, 0.1), (3.0, 1.1, 0.2), (-2.1, 0, 0.1), (-3.0, 1.1, 0.2)]
    text = "\n\n\n  5  4  0  0  0  0  0  0  0  0999 V2000\n"
    for symbol, (x, y, z) in zip(["Zn", "N", "C", "N", "C"], points, strict=True):
        text += f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0\n"
    text += "".join(f"{a:3d}{b:3d}  1  0\n" for a, b in ((1, 2), (2, 3), (1, 4), (4, 5))) + "M  END\n"
    ligand = read_ligand(write(tmp_path, sdf=text), 100)
    assert sorted(ligand.element.tolist()) == [6, 6, 7, 7, 30]
    assert len(ligand.bonds) == 4
    assert Chem.MolToSmiles(mol_from_block(ligand.molblock())) == ligand.smiles
    upper = mol2(embedded("CCCl")).replace(" Cl 1", " CL 1")
    assert read_ligand(write(tmp_path, mol2=upper), 100).smiles == "CCCl", "some programs write elements in capitals"


@pytest.mark.parametrize(("symbol", "element"), [("Ca", 20), ("Cl", 17), ("O", 8), ("Xe", 54)])
def test_single_atoms_are_ligands(tmp_path: Path, symbol: str, element: int) -> None:
    text = f"\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0000    2.0000    3.0000 {symbol:<3} 0  0\nM  END\n"
    ligand = read_ligand(write(tmp_path, sdf=text), 1)
    assert (ligand.element.tolist(), ligand.xyz.tolist()) == ([element], [[1.0, 2.0, 3.0]])


def test_the_time_limit_and_the_size_limit_have_their_codes(tmp_path: Path) -> None:
    atoms = [f"M  V30 {i + 1} Fe {i % 7} {i % 5} {i / 2} 0" for i in range(60)]
    bonds = [(a, b) for a in range(60) for b in range(a)]
    lines = ["x", "", "", "  0  0  0     0  0            999 V3000", "M  V30 BEGIN CTAB"]
    lines += [f"M  V30 COUNTS {len(atoms)} {len(bonds)} 0 0 0", "M  V30 BEGIN ATOM", *atoms, "M  V30 END ATOM"]
    lines += ["M  V30 BEGIN BOND", *(f"M  V30 {i + 1} 1 {a + 1} {b + 1}" for i, (a, b) in enumerate(bonds))]
    hanging = "\n".join([*lines, "M  V30 END BOND", "M  V30 END CTAB", "M  END", "$$$$", ""])
    assert code_of(write(tmp_path, sdf=hanging), max_seconds=1.0) == "ligand_timeout"
    good = embedded(PHENOL, hydrogens=True)
    assert read_ligand(write(tmp_path, sdf=hanging, mol2=mol2(good)), 100, 1.0).route == "mol2"
    huge = mol2(embedded("C" * 60)) + "# " + "x" * 20_000
    assert code_of(write(tmp_path, mol2=huge), max_atoms=10) == "ligand_too_large"


def test_a_large_ligand_reads_the_same_in_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mol = embedded("C[C@H](N)C(=O)N[C@@H](CO)C(=O)O", centre=(100.123, -50.5, 7.25), hydrogens=True)
    paths = write(tmp_path, sdf=sdf(mol), mol2=mol2(mol))
    here = read_ligand(paths, 100)
    monkeypatch.setattr(guard, "MAX_EASY_ATOMS", 3)
    there = read_ligand(paths, 100)
    assert (here.molblock(), here.smiles, here.inchikey) == (there.molblock(), there.smiles, there.inchikey)
    assert np.array_equal(here.xyz, there.xyz)


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_is_that_of_the_mol2_whichever_file_is_read(tmp_path: Path, seed: int) -> None:
    smiles = [
        "C[C@H](N)C(=O)O",
        PHENOL,
        "NC(=[NH2+])c1ccc(cc1)C(=O)[O-]",
        "Brc1cc(Cl)c(F)cc1S(=O)(=O)N",
        "C1CC2CC1CN2C#N",
    ]
    mol = embedded(smiles[seed], centre=(9, 8, 7), hydrogens=True)
    paths = write(tmp_path, sdf=sdf(mol), mol2=mol2(mol))
    both, alone = read_ligand(paths, 100), read_ligand(paths[1:], 100)
    assert (both.route, alone.route) == ("sdf", "mol2")
    assert both.element.tolist() == alone.element.tolist()
    assert {frozenset(b) for b in both.bonds.tolist()} == {frozenset(b) for b in alone.bonds.tolist()}
    assert np.allclose(both.xyz, alone.xyz, atol=1e-3)
