"""Reading ligands: the traps of distributed files, every rejection, and the block that the tables store."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem.ligand import mol_from_block, read_ligand
from bindrae.errors import RejectedComplex
from complexes import embedded

AROMATIC = "Oc1ccc(-c2ccncc2)cc1"


def sdf(mol: Chem.Mol) -> str:
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def casf_sdf(mol: Chem.Mol) -> str:
    """As PDBbind and CASF write it: aromatic bonds as order 4, hydrogen count, valence and topology filled in."""
    xyz = mol.GetConformer().GetPositions()
    lines = [
        "ligand",
        "",
        "Created by X-TOOL",
        f"{mol.GetNumAtoms():3d}{mol.GetNumBonds():3d}  0  0  0  0  0  0  0  0999 V2000",
    ]
    for atom, (x, y, z) in zip(mol.GetAtoms(), xyz, strict=True):
        hydrogens = atom.GetTotalNumHs(includeNeighbors=True) + 1
        lines.append(f"{x:10.4f}{y:10.4f}{z:10.4f} {atom.GetSymbol():>2} 0  0  0{hydrogens:3d}  0{atom.GetDegree():3d}")
    for bond in mol.GetBonds():
        order = 4 if bond.GetIsAromatic() else int(bond.GetBondTypeAsDouble())
        topology = 1 if bond.IsInRing() else 2
        lines.append(f"{bond.GetBeginAtomIdx() + 1:3d}{bond.GetEndAtomIdx() + 1:3d}{order:3d}  0  0{topology:3d}")
    return "\n".join([*lines, "M  END", "> <XLOGP2>", "0.46", "", "$$$$"]) + "\n"


def mol2(mol: Chem.Mol) -> str:
    lines = [
        "@<TRIPOS>MOLECULE",
        "ligand",
        f"{mol.GetNumAtoms()} {mol.GetNumBonds()} 1 0 0",
        "SMALL",
        "NO_CHARGES",
        "@<TRIPOS>ATOM",
    ]
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        symbol = atom.GetSymbol()
        kind = {"H": "H"}.get(symbol, f"{symbol}.ar" if atom.GetIsAromatic() else f"{symbol}.3")
        lines.append(f"{atom.GetIdx() + 1} {symbol}{atom.GetIdx() + 1} {x:.4f} {y:.4f} {z:.4f} {kind} 1 LIG 0.0")
    lines.append("@<TRIPOS>BOND")
    for bond in mol.GetBonds():
        order = "ar" if bond.GetIsAromatic() else str(int(bond.GetBondTypeAsDouble()))
        lines.append(f"{bond.GetIdx() + 1} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} {order}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def mol() -> Chem.Mol:
    return embedded(AROMATIC, centre=(30.0, -12.0, 110.0), hydrogens=True)


def test_files_with_query_columns_read_like_the_mol2(tmp_path: Path, mol: Chem.Mol) -> None:
    (tmp_path / "a.sdf").write_text(casf_sdf(mol))
    (tmp_path / "b.mol2").write_text(mol2(mol))
    # The trap is real: RDKit alone finds queries where there are atoms and bonds, and no aromatic ring.
    plain = Chem.MolFromMolBlock(casf_sdf(mol), removeHs=False)
    assert not any(atom.GetIsAromatic() for atom in plain.GetAtoms())

    ours, other = (read_ligand([tmp_path / name], 100) for name in ("a.sdf", "b.mol2"))
    assert (ours.route, other.route) == ("sdf", "mol2")
    assert ours.smiles == other.smiles == Chem.CanonSmiles(AROMATIC)
    assert ours.inchikey == other.inchikey == Chem.MolToInchiKey(Chem.MolFromSmiles(AROMATIC))
    assert sum(atom.GetIsAromatic() for atom in ours.mol.GetAtoms()) == 12
    assert not any(atom.HasQuery() for atom in ours.mol.GetAtoms())
    assert not any(bond.HasQuery() for bond in ours.mol.GetBonds())
    assert np.allclose(ours.xyz, other.xyz, atol=1e-3)
    assert ours.element.tolist() == other.element.tolist()


@pytest.mark.parametrize("topology", [1, 2])
def test_the_topology_of_bonds_alone_is_enough_of_a_trap(tmp_path: Path, mol: Chem.Mol, topology: int) -> None:
    lines = casf_sdf(mol).split("\n")
    lines = [line[:36] + "  0  0  0  0  0" if "." in line[:6] else line for line in lines]
    (tmp_path / "a.sdf").write_text(
        "\n".join(line[:15] + f"{topology:3d}" if len(line) == 18 else line for line in lines)
    )
    assert read_ligand([tmp_path / "a.sdf"], 100).smiles == Chem.CanonSmiles(AROMATIC)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.sdf", "a.mol", "a.sdf.gz", "a.mol2", "a.mol2.gz"])
def test_every_format_gives_the_same_ligand(tmp_path: Path, mol: Chem.Mol, name: str, ending: str) -> None:
    text = (mol2(mol) if "mol2" in name else sdf(mol)).replace("\n", ending).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    ligand = read_ligand([tmp_path / name], 100)
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    assert ligand.smiles == Chem.CanonSmiles(AROMATIC)
    assert np.allclose(ligand.xyz, mol.GetConformer().GetPositions()[heavy], atol=1e-3)
    assert ligand.xyz.dtype == np.float32
    assert {frozenset(pair) for pair in ligand.bonds.tolist()} == {
        frozenset((heavy.index(b.GetBeginAtomIdx()), heavy.index(b.GetEndAtomIdx())))
        for b in mol.GetBonds()
        if {b.GetBeginAtomIdx(), b.GetEndAtomIdx()} <= set(heavy)
    }


def test_only_the_first_molecule_of_a_file_counts(tmp_path: Path, mol: Chem.Mol) -> None:
    (tmp_path / "a.sdf").write_text(sdf(mol) + sdf(embedded("CCO", hydrogens=True)))
    assert read_ligand([tmp_path / "a.sdf"], 100).smiles == Chem.CanonSmiles(AROMATIC)


def test_an_unsound_sdf_falls_back_to_the_mol2_and_says_so(tmp_path: Path, mol: Chem.Mol) -> None:
    paths = [tmp_path / "a.sdf", tmp_path / "a.mol2"]
    paths[1].write_text(mol2(mol))
    assert read_ligand(paths, 100).route == "mol2", "no SDF at all"
    five_bonds = sdf(mol).replace("\n  1  2  1", "\n  1  2  3")  # an oxygen with four bonds' worth
    assert five_bonds != sdf(mol)
    for broken in ("not an sdf", five_bonds):
        paths[0].write_text(broken)
        ligand = read_ligand(paths, 100)
        assert (ligand.route, ligand.smiles) == ("mol2", Chem.CanonSmiles(AROMATIC))
    paths[0].write_text(sdf(mol))
    assert read_ligand(paths, 100).route == "sdf"


def test_hydrogens_are_gone_and_deuterium_too(tmp_path: Path) -> None:
    mol = embedded("CCO", hydrogens=True)
    next(a for a in mol.GetAtoms() if a.GetAtomicNum() == 1).SetIsotope(2)
    (tmp_path / "a.sdf").write_text(sdf(mol))
    ligand = read_ligand([tmp_path / "a.sdf"], 100)
    assert sorted(ligand.element.tolist()) == [6, 6, 8]
    assert ligand.smiles == "CCO"


def shifted(mol: Chem.Mol, points: np.ndarray) -> Chem.Mol:
    mol = Chem.Mol(mol)
    mol.GetConformer().SetPositions(points.astype(float))
    return mol


def test_what_cannot_be_used_is_rejected_with_its_code(tmp_path: Path, mol: Chem.Mol) -> None:
    points = mol.GetConformer().GetPositions()
    flat = shifted(mol, points * (1, 1, 0))
    cases = {
        "ligand_unreadable": ["", "not a molecule\n\n\n\n", sdf(mol)[:400], sdf(mol).replace("30.", "nan")],
        "ligand_empty": [
            "\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n",
            "h2\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    1.0000 H   0  0\n"
            "    0.0000    0.7400    1.0000 H   0  0\n  1  2  1  0\nM  END\n",
        ],
        "ligand_not_3d": [sdf(flat), sdf(shifted(mol, points * 0)), sdf(shifted(mol, points * 0 + 7.0))],
        "ligand_too_large": [sdf(mol)],
    }
    for code, texts in cases.items():
        for text in texts:
            (tmp_path / "a.sdf").write_text(text)
            with pytest.raises(RejectedComplex) as caught:
                read_ligand([tmp_path / "a.sdf"], 5 if code == "ligand_too_large" else 100)
            assert caught.value.code == code, text[:80]
            assert "a.sdf" in caught.value.message


def test_rejections_name_every_file_and_its_fault(tmp_path: Path) -> None:
    paths = [tmp_path / "a.sdf", tmp_path / "a.mol2"]
    with pytest.raises(RejectedComplex, match=r"a\.sdf.*a\.mol2") as caught:
        read_ligand(paths, 100)
    assert caught.value.code == "ligand_missing"
    for path in paths:
        path.write_text("nothing")
    with pytest.raises(RejectedComplex, match=r"a\.sdf \(sdf\).*a\.mol2 \(mol2\)") as caught:
        read_ligand(paths, 100)
    assert caught.value.code == "ligand_unreadable"
    (tmp_path / "a.sdf.gz").write_bytes(b"not gzip")
    (tmp_path / "a.pdb").write_text("ATOM")
    for name in ("a.sdf.gz", "a.pdb"):
        with pytest.raises(RejectedComplex, match=name) as caught:
            read_ligand([tmp_path / name], 100)
        assert caught.value.code == "ligand_unreadable"


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)O",
        "C[C@@H](F)/C=C/[C@H](O)C#N",
        "C[N+](C)(C)CC(=O)[O-]",
        "NC(=[NH2+])c1ccc(cc1)C(=O)[O-]",
        "O=c1[nH]cnc2[nH]cnc12",
        "C[S@](=O)c1ccccc1",
        "O=P([O-])([O-])OC[C@H]1OC[C@@H](O)[C@@H]1O",
        "Brc1cc(Cl)c(I)cc1B(O)O",
        "O=[N+]([O-])c1ccco1",
    ],
)
def test_the_stored_block_keeps_graph_charges_pose_and_stereo(tmp_path: Path, smiles: str) -> None:
    mol = embedded(smiles, centre=(-50.0, 120.5, 9.25), hydrogens=True)
    (tmp_path / "a.sdf").write_text(sdf(mol))
    ligand = read_ligand([tmp_path / "a.sdf"], 100)
    assert ligand.smiles == Chem.CanonSmiles(smiles)
    again = mol_from_block(ligand.molblock())
    assert Chem.MolToSmiles(again) == ligand.smiles
    assert [a.GetAtomicNum() for a in again.GetAtoms()] == ligand.element.tolist()
    assert [a.GetFormalCharge() for a in again.GetAtoms()] == ligand.charge.tolist()
    assert {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in again.GetBonds()} == {
        frozenset(pair) for pair in ligand.bonds.tolist()
    }
    assert np.abs(again.GetConformer().GetPositions() - ligand.xyz).max() < 1e-3


def test_stereo_is_that_of_the_pose_not_of_the_drawing(tmp_path: Path) -> None:
    mol = embedded("C[C@H](N)C(=O)O", hydrogens=True)
    mirror = shifted(mol, mol.GetConformer().GetPositions() * (1, 1, -1))
    (tmp_path / "a.sdf").write_text(sdf(mirror))
    assert read_ligand([tmp_path / "a.sdf"], 100).smiles == Chem.CanonSmiles("C[C@@H](N)C(=O)O")
    halide = embedded("Cl[C@H](F)CO", hydrogens=True)
    (tmp_path / "a.mol2").write_text(mol2(halide))
    assert read_ligand([tmp_path / "a.mol2"], 100).smiles == Chem.CanonSmiles("Cl[C@H](F)CO")


def test_a_damaged_stored_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="damaged"):
        mol_from_block("no block")


def test_a_single_ion_is_a_ligand(tmp_path: Path) -> None:
    (tmp_path / "a.sdf").write_text(
        "ion\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0000    2.0000    3.0000 Zn  0  2\nM  END\n"
    )
    ligand = read_ligand([tmp_path / "a.sdf"], 10)
    assert ligand.element.tolist() == [30]
    assert ligand.charge.tolist() == [2]
    assert ligand.bonds.shape == (0, 2)
