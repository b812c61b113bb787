"""Cleaning, atom by atom: alternate locations, hydrogens, waters, models, formats; files that cannot be read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex
from bindrae.structure.atoms import read_atoms
from bindrae.structure.protein import build_residue_table
from complexes import Atom, hetero, pdb_text, peptide, rename, write_pdb

Clean = Callable[..., Any]
SHIFT = 0.2  # small enough for bonds to stay possible


def with_altlocs(first: float, second: float) -> list[Atom]:
    """ASG whose serine has its side chain twice; location B stands 0.2 A higher."""
    out = []
    for a in peptide("ASG"):
        if a.number == 2 and a.name in ("CB", "OG"):
            x, y, z = a.xyz
            out.append(replace(a, altloc="A", occupancy=first))
            out.append(replace(a, altloc="B", occupancy=second, xyz=(x, y, z + SHIFT)))
        else:
            out.append(a)
    return out


@pytest.mark.parametrize(
    ("first", "second", "rule", "height"),
    [
        (0.6, 0.4, "highest_occupancy", 0.0),
        (0.4, 0.6, "highest_occupancy", SHIFT),
        (0.5, 0.5, "highest_occupancy", 0.0),
        (0.0, 0.0, "highest_occupancy", 0.0),
        (0.4, 0.6, "first", 0.0),
    ],
)
def test_one_alternate_location_a_residue(clean: Clean, first: float, second: float, rule: str, height: float) -> None:
    plain, _, _ = clean(peptide("ASG"))
    table, _, notes = clean(with_altlocs(first, second), altlocs=rule)
    assert np.allclose(table.xyz[1, 4:6, 2], plain.xyz[1, 4:6, 2] + height, atol=1e-3)
    assert np.array_equal(table.xyz[:, :4], plain.xyz[:, :4])
    empty = {"zero_occupancy_atoms": 2} if first == second == 0 else {}
    assert notes == {"altloc_atoms_dropped": 2, **empty}


def test_locations_are_never_mixed_within_a_residue(clean: Clean) -> None:
    """B wins by its mean, though one of its atoms is less occupied than A's."""
    atoms = [replace(a, occupancy=0.2) if (a.altloc, a.name) == ("B", "CB") else a for a in with_altlocs(0.45, 0.9)]
    plain, _, _ = clean(peptide("ASG"))
    table, _, _ = clean(atoms)
    assert np.allclose(table.xyz[1, 4:6, 2], plain.xyz[1, 4:6, 2] + SHIFT, atol=1e-3)


def test_an_atom_that_only_the_losing_location_has_is_missing(clean: Clean) -> None:
    atoms = [a for a in with_altlocs(0.7, 0.3) if (a.altloc, a.name) != ("A", "OG")]
    table, _, notes = clean(atoms)
    assert not table.mask[1, aa.ATOM14_NAMES[table.aatype[1]].index("OG")]
    assert notes == {"altloc_atoms_dropped": 2, "missing_heavy_atoms": 1}


@pytest.mark.parametrize(("share", "letter"), [(0.7, "K"), (0.4, "A")])
def test_two_residue_types_at_one_position_are_one_residue(clean: Clean, share: float, letter: str) -> None:
    chain = peptide("GKG")
    lysine = [
        replace(a, altloc="A", occupancy=share) for a in chain if a.number == 2
    ]  # more atoms, which must not count
    alanine = [replace(a, residue="ALA", altloc="B", occupancy=1 - share) for a in lysine[:5]]
    mixed = [*(a for a in chain if a.number == 1), *lysine, *alanine, *(a for a in chain if a.number == 3)]
    table, context, _ = clean(mixed)
    assert table.sequences() == [f"G{letter}G"]
    assert table.mask[1].sum() == {"K": 9, "A": 5}[letter]
    assert table.linked.tolist() == [True, True, False]
    assert len(context.element) == 0


def test_hydrogens_deuteriums_and_waters_are_gone(clean: Clean) -> None:
    atoms = peptide("AK")
    plain, _, _ = clean(atoms)
    x, y, z = atoms[0].xyz
    proton = [replace(atoms[0], name=n, element=n[0], xyz=(x, y - 1.0, z + i)) for i, n in enumerate(["H1", "D2"])]
    water = [a for i, name in enumerate(("HOH", "WAT", "DOD")) for a in hetero(name, 90 + i, {"O": (0, -3, i)})]
    table, context, notes = clean(atoms[:1] + proton + atoms[1:] + water)
    for field in fields(table):
        assert np.array_equal(getattr(table, field.name), getattr(plain, field.name)), field.name
    assert len(context.element) == 0
    assert notes == {}


def test_only_the_first_model_counts(clean: Clean) -> None:
    shifted = [replace(a, xyz=(a.xyz[0] + 1.0, *a.xyz[1:])) for a in peptide("AKG")]
    one, _, _ = clean(peptide("AKG"))
    several, _, _ = clean(peptide("AKG"), shifted, shifted)
    assert len(several) == 3
    assert np.array_equal(one.xyz, several.xyz)


def test_an_atom_written_twice_is_taken_once(clean: Clean) -> None:
    atoms = peptide("AKG")
    twice = replace(atoms[4], xyz=tuple(v + 3.0 for v in atoms[4].xyz))
    table, _, _ = clean([*atoms[:5], twice, *atoms[5:]])
    assert np.allclose(table.xyz[0, 4], atoms[4].xyz, atol=1e-4)
    assert table.sequences() == ["AKG"]


def _nasty() -> list[Atom]:
    """Two chains with alternate locations, an insertion code, MSE, a metal and a cofactor."""
    chain = rename(with_altlocs(0.3, 0.7), 3, "GLY")
    chain = [replace(a, number=2, insertion="A") if a.number == 3 else a for a in chain]
    second = [
        replace(a, hetero=a.number == 2) for a in rename(peptide("AMK", "B", origin=(0, 14, 0)), 2, "MSE", {"SD": "SE"})
    ]
    return [
        *chain,
        *second,
        *hetero("ZN", 101, {"ZN": (0, 5, 1)}),
        *hetero("GOL", 102, {"C1": (0, 6, 3), "O1": (1.4, 6, 3)}, "B"),
    ]


@pytest.mark.parametrize("suffix", [".pdb.gz", ".ent", ".cif", ".cif.gz"])
def test_other_formats_read_like_pdb(tmp_path: Path, suffix: str) -> None:
    source = write_pdb(tmp_path / "a.pdb", _nasty())
    other = tmp_path / f"b{suffix}"
    text = source.read_text()
    if ".cif" in suffix:
        structure = gemmi.read_structure(str(source))
        structure.setup_entities()
        text = structure.make_mmcif_document().as_string()
    other.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())

    ligand = np.array([(-2.0, 2.0, 0.0)])
    table, context, notes = build_residue_table(read_atoms(source), ligand, CleanSettings(), "a")
    again, context2, notes2 = build_residue_table(read_atoms(other), ligand, CleanSettings(), "b")
    assert table.sequences() == ["ASG", "AMK"]
    assert sorted(set(context.residue_name)) == ["GOL", "ZN"]
    for field in fields(table):
        assert np.array_equal(getattr(table, field.name), getattr(again, field.name)), field.name
    assert sorted(context.residue_name) == sorted(context2.residue_name)
    assert np.array_equal(np.sort(context.xyz, axis=0), np.sort(context2.xyz, axis=0))
    assert notes == notes2


def _reject(path: Path) -> RejectedComplex:
    with pytest.raises(RejectedComplex) as caught:
        build_residue_table(read_atoms(path), np.zeros((1, 3)), CleanSettings(), str(path))
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    assert _reject(tmp_path / "none.pdb").code == "protein_missing"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdb", b"", "protein_empty"),
        ("a.pdb", b"HEADER    NOTHING BUT A HEADER\nEND\n", "protein_empty"),
        ("a.pdb", b"ATOM      1  N   ALA A   1      xx.xxx  11.0    12.0\n", "protein_unreadable"),
        ("a.cif", b"not a cif file at all", "protein_unreadable"),
        ("a.cif", b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "protein_unreadable"),
        ("a.pdb.gz", gzip.compress(pdb_text(peptide("AK")).encode(), mtime=0)[:60], "protein_unreadable"),
        ("a.xyz", b"1\n\nC 0 0 0\n", "protein_unreadable"),
        ("a.pdb", pdb_text(hetero("HOH", 1, {"O": (0, 0, 0)})).encode(), "protein_empty"),
        ("a.pdb", pdb_text(hetero("GOL", 1, {"C1": (5, 5, 5)})).encode(), "protein_empty"),
        ("a.pdb", pdb_text([a for a in peptide("AKG") if a.name == "CA"]).encode(), "protein_without_backbone"),
    ],
)
def test_files_without_a_protein_are_rejected(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert _reject(tmp_path / name).code == code


def test_coordinates_that_are_no_numbers_are_missing_atoms(tmp_path: Path) -> None:
    atoms = peptide("AKG")
    lines = pdb_text(atoms).splitlines()
    where = next(i for i, a in enumerate(atoms) if a.name == "NZ")
    lines[where] = lines[where][:30] + "     nan     nan     nan" + lines[where][54:]
    (tmp_path / "a.pdb").write_text("\n".join(lines))
    table, _, notes = build_residue_table(read_atoms(tmp_path / "a.pdb"), np.zeros((1, 3)) - 2, CleanSettings(), "a")
    assert np.isfinite(table.xyz).all()
    assert notes == {"coordinates_unreadable": 1, "missing_heavy_atoms": 1}
