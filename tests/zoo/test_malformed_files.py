"""Files that are torn, empty, of the wrong kind or enormous: read right, or rejected with their own code, soon."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from animals import Row, clean_file, ligand_at, same_residues, whole

from bindrae.errors import REJECTION_CODES, RejectedComplex
from complexes import hetero, pdb_text, peptide

TEXT = pdb_text(whole()) + "END\n"
LINES = TEXT.splitlines(keepends=True)


def cif(text: str = TEXT) -> str:
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    return structure.make_mmcif_document().as_string()


def garbage(low: int) -> bytes:
    return np.random.default_rng(1).integers(low, 256, 20_000).astype(np.uint8).tobytes()


def spoil(columns: slice, value: str, rows: slice = slice(None)) -> str:
    """The file with other characters in some columns of some atoms."""
    lines = list(LINES)
    for i in range(len(lines) - 1)[rows]:
        lines[i] = lines[i][: columns.start] + value + lines[i][columns.stop :]
    return "".join(lines)


REJECTED: dict[str, tuple[str, bytes | str, str]] = {
    "empty": ("p.pdb", b"", "protein_empty"),
    "no atoms": ("p.pdb", "HEADER    NOTHING\nREMARK   2 NOTHING\nEND\n", "protein_empty"),
    "text of another kind": ("p.pdb", "dear reader,\nthis is no protein\n" * 50, "protein_empty"),
    "binary": ("p.pdb", garbage(0), "protein_unreadable"),
    "binary without zeros": ("p.pdb", garbage(128), "protein_empty"),
    "binary mmCIF": ("p.cif", garbage(128), "protein_unreadable"),
    "truncated within the coordinates": ("p.pdb", "".join(LINES[:40]) + LINES[40][:45], "protein_unreadable"),
    "truncated mmCIF": ("p.cif", cif()[:-200], "protein_unreadable"),
    "torn gz": ("p.pdb.gz", gzip.compress(TEXT.encode())[:-40], "protein_unreadable"),
    "gz with a wrong checksum": ("p.pdb.gz", gzip.compress(TEXT.encode())[:-8] + bytes(8), "protein_unreadable"),
    "gz head alone": ("p.pdb.gz", b"\x1f\x8b", "protein_unreadable"),
    "called gz, is none": ("p.xyz.gz", b"plain", "protein_unreadable"),
    "mmCIF without atom_site": ("p.cif", "data_x\n_cell.length_a 3.0\n", "protein_empty"),
    "mmCIF of nothing": ("p.cif", "data_x\n", "protein_empty"),
    "only CA": ("p.pdb", "".join(line for line in LINES if line[12:16] == " CA "), "protein_without_backbone"),
    "only HETATM": ("p.pdb", pdb_text(hetero("GOL", 1, {"C1": (0, 0, 0), "O1": (1.4, 0, 0)})), "protein_empty"),
    "only water": ("p.pdb", pdb_text(hetero("HOH", 1, {"O": (0, 0, 0)})), "protein_empty"),
    "no coordinate is a number": ("p.pdb", spoil(slice(30, 54), "     nan     nan     nan"), "protein_empty"),
    "infinite coordinates": ("p.pdb", spoil(slice(30, 38), "     inf"), "protein_empty"),
    "all atoms in one place": ("p.pdb", spoil(slice(30, 54), "   1.000   1.000   1.000"), "protein_distorted"),
    "blank coordinates": ("p.pdb", spoil(slice(30, 54), " " * 24), "protein_distorted"),
    "shuffled coordinates": ("p.pdb", spoil(slice(30, 38), "   0.000", slice(None, None, 2)), "protein_distorted"),
    "another format": ("p.xyz", "1\n\nC 0 0 0\n", "protein_unreadable"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Row:
    row = clean_file(tmp_path_factory.mktemp("sound"), "p.pdb", TEXT)
    assert row["notes"] == []
    return row


@pytest.mark.parametrize("case", REJECTED)
def test_what_cannot_be_read_is_rejected_with_its_code(tmp_path: Path, case: str) -> None:
    name, content, code = REJECTED[case]
    with pytest.raises(RejectedComplex) as caught:
        clean_file(tmp_path, name, content)
    assert caught.value.code == code
    assert name in caught.value.message
    assert caught.value.hint == REJECTION_CODES[code]
    assert caught.value.message.isprintable() or code == "protein_unreadable"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.pdb", TEXT.replace("\n", "\r\n")),
        ("p.pdb", TEXT.replace("\n", "\r")),
        ("p.pdb", TEXT.removesuffix("END\n")),
        ("p.pdb", TEXT.rstrip()),
        ("p.pdb", "\n\n" + TEXT + "\n\n"),
        ("p.PDB", TEXT),
        ("p.Ent", TEXT),
        ("p.pdb", TEXT.replace("ATOM  ", "atom  ")),
        ("p.pdb", spoil(slice(6, 11), "A0000")),
        ("p.pdb", spoil(slice(6, 11), "*****")),
        ("p.pdb", spoil(slice(76, 78), "  ")),
        ("p.pdb", cif()),
        ("p.CIF", cif()),
        ("p.mmcif", cif()),
        ("p.cif", "# a comment\n\n" + cif()),
        ("p.cif", TEXT),
        ("p.cif", cif().replace("\n", "\r\n")),
        ("p.pdb.gz", gzip.compress(TEXT.encode())),
        ("p.PDB.GZ", gzip.compress(TEXT.encode())),
        ("p.pdb", gzip.compress(TEXT.encode())),
        ("p.pdb.gz", TEXT),
        ("p.cif.gz", gzip.compress(cif().encode())),
    ],
)
def test_odd_but_whole_files_give_the_same_table(tmp_path: Path, sound: Row, name: str, content: bytes | str) -> None:
    row = clean_file(tmp_path, name, content)
    assert same_residues(row, sound)
    assert row["notes"] == []


def test_a_file_truncated_after_the_coordinates_lacks_only_what_is_missing(tmp_path: Path, sound: Row) -> None:
    row = clean_file(tmp_path, "p.pdb", "".join(LINES[:-2]) + LINES[-2][:57])
    assert same_residues({**row, "bfactor": 0}, {**sound, "bfactor": 0})
    cut = clean_file(tmp_path, "p.pdb", "".join(LINES[:-4]))
    assert dict(cut["notes"]) == {"missing_heavy_atoms": 3}


def test_hybrid_36_numbers_are_numbers(tmp_path: Path) -> None:
    row = clean_file(
        tmp_path, "p.pdb", "".join(line[:22] + "A00" + line[25:] if line[:4] == "ATOM" else line for line in LINES)
    )
    assert row["number"].tolist() == [10001, 10002, 10003, 10004, 10005, 10006, 10007, 10008, 10009, 10000]


@pytest.mark.parametrize("column", [slice(54, 60), slice(60, 66)])
@pytest.mark.parametrize("value", ["   nan", "   inf", "  -inf"])
def test_occupancies_and_b_factors_that_are_no_numbers_are_zero_and_noted(
    tmp_path: Path, sound: Row, column: slice, value: str
) -> None:
    row = clean_file(tmp_path, "p.pdb", spoil(column, value, slice(3, 5)))
    assert dict(row["notes"])["occupancies_or_bfactors_unreadable"] == 2
    assert np.array_equal(row["atom14"], sound["atom14"])


def test_absurd_b_factors_are_kept_as_numbers(tmp_path: Path) -> None:
    row = clean_file(tmp_path, "p.pdb", spoil(slice(60, 66), "-99.99", slice(0, 1)))
    assert row["bfactor"][0, 0] == np.float32(-99.99)


def many_atoms() -> str:
    """62 chains of 323 alanines, 100,130 atoms, on a grid."""
    chain = peptide("A" * 323)
    ids = "".join(map(chr, [*range(65, 91), *range(97, 123), *range(48, 58)]))
    text = []
    for i, name in enumerate(ids):
        shift = np.array((0.0, 12.0 * (i % 8), 12.0 * (i // 8)))
        text.append(pdb_text([replace(a, chain=name, xyz=tuple((shift + a.xyz).tolist())) for a in chain]))
    return "".join(text)


def test_a_hundred_thousand_atoms_take_seconds(tmp_path: Path) -> None:
    text, mol = many_atoms(), ligand_at(peptide("A" * 12))
    assert text.count("ATOM") > 100_000
    start = time.process_time()
    row = clean_file(tmp_path, "p.pdb", text, mol, max_residues=30_000, max_ligand_distance_angstrom=12.0)
    assert row["n_residues"] == 62 * 323
    assert len(row["sequences"]) == 62
    with pytest.raises(RejectedComplex) as caught:
        clean_file(tmp_path, "p.pdb", text, mol, max_ligand_distance_angstrom=12.0)
    assert caught.value.code == "protein_too_large"
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "line",
    [
        "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 20.00           C\n",
        "ATOM      1  CA AALA A   1       0.000   0.000   0.000  0.50 20.00           C\n"
        "ATOM      1  CA BGLY A   1       0.000   0.000   0.000  0.50 20.00           C\n",
        "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 20.00           C\n"
        "ATOM      1  CA  GLY A   1       0.000   0.000   0.000  1.00 20.00           C\n",
        "HETATM    1  C1  LIG A   1       0.000   0.000   0.000  1.00 20.00           C\n",
    ],
)
def test_a_hundred_thousand_atoms_under_one_label_do_not_hang(tmp_path: Path, line: str) -> None:
    start = time.process_time()
    with pytest.raises(RejectedComplex) as caught:
        clean_file(tmp_path, "p.pdb", line * (100_000 // line.count("\n")), max_ligand_distance_angstrom=100.0)
    assert caught.value.code in ("protein_without_backbone", "protein_empty")
    assert time.process_time() - start < 20


def test_a_residue_ten_thousand_times_over_does_not_hang(tmp_path: Path) -> None:
    alanine = peptide("A")
    text = "".join(pdb_text([replace(a, number=i) for a in alanine]) for i in range(1, 9_999))
    row = clean_file(tmp_path, "p.pdb", text, ligand_at(alanine))
    assert row["n_residues"] == 1
    assert dict(row["notes"])["overlapping_residues_dropped"] == 9_997
