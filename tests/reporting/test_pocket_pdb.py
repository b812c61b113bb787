"""Exported pockets, read back by gemmi."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from bindrae.chem import residues as aa
from bindrae.config import QualitySettings
from bindrae.data.layout import DataLayout
from bindrae.data.pocket_pdb import chain_letters, pocket_file, pocket_text, write_pocket_index
from bindrae.data.quality import run_quality

KINDS = ("SER", "MET", "GLY", "TRP")


def a_complex(**changes: Any) -> dict[str, dict[str, Any]]:
    """Four residues of chains A and Long, numbered 9999, -5, 52, 52A; the third is no member; a ligand; context."""
    rng = np.random.default_rng(0)
    kind = np.array([aa.TYPE_OF_NAME[name] for name in KINDS])
    mask = aa.ATOM14_MASK[kind].copy()
    mask[3, 5:] = False
    types = np.zeros((5, 12), np.float32)
    types[[0, 1, 4], 0] = 1
    types[[2, 3], 7] = 1
    clean = {
        "id": "1abc", "chain": ["A", "A", "Long", "Long"], "number": np.array([9999, -5, 52, 52], np.int32),
        "insertion": ["", "", "", "A"], "name": ["SER", "MSE", "GLY", "TRP"], "aatype": kind.astype(np.int8),
        "atom14": (rng.normal(0, 20, (4, 14, 3))).astype(np.float32), "atom14_mask": mask,
        "ligand_xyz": rng.normal(0, 3, (3, 3)).astype(np.float32), "ligand_element": np.array([6, 17, 7], np.int16),
        "ligand_charge": np.array([0, 0, 1], np.int8), "ligand_bonds": np.array([[0, 1], [0, 2]], np.int16),
        "context_xyz": rng.normal(0, 5, (5, 3)).astype(np.float32),
        "context_element": np.array([30, 30, 26, 7, 7], np.int16), "context_charge": np.array([2, 2, 0, 0, 0], np.int8),
        "context_name": ["ZN", "ZN", "HEM", "HEM", "HEM"],
    }  # fmt: skip
    pocket = {
        "id": "1abc",
        "w_res": np.array([1.0, 0.25, 0.5, 0.07], np.float32),
        "member": np.array([True, True, False, True]),
    }
    tokens = {"id": "1abc", "xyz": rng.normal(0, 4, (5, 3)).astype(np.float32), "types": types}
    return {"clean": {**clean, **changes}, "pocket": pocket, "tokens": tokens}


def read_back(text: str) -> gemmi.Structure:
    return gemmi.read_pdb_string(text)


def test_residues_keep_their_numbers_and_atoms_and_carry_w_res() -> None:
    rows = a_complex()
    clean = rows["clean"]
    text = pocket_text(**rows)
    model = read_back(text)[0]
    kept = [(c.name, str(r.seqid), r.name) for c in model for r in c if r.het_flag == "A"]
    # The chain id of four characters takes the first free letter; the non-member is not there.
    assert kept == [("A", "9999", "SER"), ("A", "-5", "MET"), ("B", "52A", "TRP")]
    assert "chain B is chain 'Long'" in text
    assert "A -5 MET is MSE in the file" in text
    for residue, row in zip([r for c in model for r in c if r.het_flag == "A"], (0, 1, 3), strict=True):
        slots = np.flatnonzero(clean["atom14_mask"][row])
        assert [a.name for a in residue] == [aa.ATOM14_NAMES[clean["aatype"][row]][s] for s in slots]
        np.testing.assert_allclose([a.pos.tolist() for a in residue], clean["atom14"][row, slots], atol=6e-4)
        np.testing.assert_allclose([a.b_iso for a in residue], rows["pocket"]["w_res"][row], atol=0.006)
        assert all(a.element.name == a.name[0] for a in residue)


def test_ligand_context_and_probes_stand_in_chains_of_their_own() -> None:
    rows = a_complex()
    clean = rows["clean"]
    text = pocket_text(**rows)
    structure = read_back(text)
    ligand, context, probes = (chain for chain in structure[0] if chain[0].het_flag == "H")
    assert len({chain.name for chain in structure[0]}) == 5
    assert [(r.name, [a.name for a in r]) for r in ligand] == [("LIG", ["C1", "CL1", "N1"])]
    assert [a.element.atomic_number for a in ligand[0]] == [6, 17, 7]
    assert [a.charge for a in ligand[0]] == [0, 0, 1]
    np.testing.assert_allclose([a.pos.tolist() for a in ligand[0]], clean["ligand_xyz"], atol=6e-4)
    serial = [a.serial for a in ligand[0]]
    conect = {tuple(map(int, line.split()[1:])) for line in text.splitlines() if line.startswith("CONECT")}
    assert conect == {(serial[0], serial[1], serial[2]), (serial[1], serial[0]), (serial[2], serial[0])}
    assert [(r.name, [a.name for a in r]) for r in context] == [
        ("ZN", ["ZN"]), ("ZN", ["ZN"]), ("HEM", ["FE1", "N1", "N2"])
    ]  # fmt: skip
    assert [a.charge for r in context for a in r] == [2, 2, 0, 0, 0]
    assert [(r.name, [a.element.name for a in r]) for r in probes] == [("PRB", ["X", "X"])]
    np.testing.assert_allclose([a.pos.tolist() for a in probes[0]], rows["tokens"]["xyz"][2:4], atol=6e-4)


def test_no_probes_no_context_and_coordinates_beyond_the_format() -> None:
    rows = a_complex(context_xyz=np.zeros((0, 3), np.float32), context_element=np.zeros(0, np.int16),
                     context_charge=np.zeros(0, np.int8), context_name=[])  # fmt: skip
    rows["tokens"]["types"][:, 7] = 0
    clean = rows["clean"]
    clean["ligand_xyz"] = clean["ligand_xyz"] + np.float32(12_000)
    clean["atom14"] = clean["atom14"] + np.float32(12_000)
    text = pocket_text(**rows)
    assert "coordinates are less 12000 12000 12000 A" in text
    chains = list(read_back(text)[0])
    assert len(chains) == 3
    np.testing.assert_allclose(
        [a.pos.tolist() for a in chains[2][0]], clean["ligand_xyz"] - np.float32(12_000), atol=2e-3
    )


def test_chain_letters_keep_short_ids_and_never_clash() -> None:
    letters, free = chain_letters(["B", "AA", "", "B", "ABC", "A"])
    assert letters == {"B": "B", "AA": "C", "": "D", "ABC": "E", "A": "A"}
    assert next(free) == "F"
    many, _ = chain_letters([f"c{i}" for i in range(70)])
    assert list(many.values())[61:] == ["9", *["?"] * 8]


@pytest.mark.parametrize(
    "identifier",
    ["../../etc/passwd", "/abs", "..", ".", "", ".hidden", "a/b", "a\\b", "x" * 300, "né", "a\x00b", "CON n"],
)
def test_no_id_leaves_the_folder(identifier: str) -> None:
    path = pocket_file(identifier)
    assert len(path.parts) == 2
    assert len(path.parts[0]) == 2
    assert path.name.isascii()
    assert not path.name.startswith(".")
    assert len(path.name) < 120
    assert not set(path.name) & set("/\\ \x00")


def test_files_are_spread_evenly_and_never_shared() -> None:
    paths = [pocket_file(f"{i:04d}") for i in range(20_000)] + [pocket_file(x) for x in ("a/b", "a_b", "a b")]
    assert len(set(paths)) == len(paths)
    folders = [p.parent for p in paths]
    assert max(folders.count(f) for f in set(folders)) < 140  # 78 a folder on average
    assert pocket_file("1abc").name == "1abc.pdb"


def test_the_report_writes_the_pockets_of_real_complexes(demo_layout: DataLayout, tmp_path: Path) -> None:
    layout = DataLayout(tmp_path / "data")
    layout.root.symlink_to(demo_layout.root)
    folder = demo_layout.root / "pockets"
    run_quality(layout, QualitySettings(write_pocket_pdb=True, floor_complexes=1))
    lines = [line.split("\t") for line in (folder / "index.tsv").read_text().splitlines()]
    assert lines[0] == ["id", "file"]
    assert [name for name, _ in lines[1:]] == ["1s2g", "1s3v", "1uou"]
    for identifier, file in lines[1:]:
        assert file == pocket_file(identifier).as_posix()
        groups = {r.name for c in gemmi.read_pdb(str(folder / file))[0] for r in c if r.het_flag == "H"}
        assert {"LIG", "PRB"} <= groups
    # A complex that is gone takes its file with it.
    write_pocket_index(layout, [("1s3v", pocket_file("1s3v"))])
    assert [p.name for p in folder.glob("*/*.pdb")] == ["1s3v.pdb"]
