"""Torsions against Biopython on real complexes and against gemmi on random atoms; what has no torsion has none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.structure import compare_torsions
from bindrae.structure.atoms import read_atoms
from bindrae.structure.protein import build_residue_table
from bindrae.structure.table import ResidueTable
from bindrae.structure.torsions import CHI1, dihedral, residue_torsions
from complexes import OMEGA, PHI, PSI, peptide, place, random_rotation, write_pdb

POINTS = arrays(np.float64, (4, 3), elements=st.floats(-20, 20, width=32))
FOLDED = "ACDEFGHIKLMNPQRSTVWY"


def wrapped(angle: np.ndarray | float) -> np.ndarray:
    """Difference of angles in degrees, in [-180, 180)."""
    return (np.asarray(angle) + 180.0) % 360.0 - 180.0


def sines(p: np.ndarray) -> tuple[float, float]:
    """Sines of the two bond angles."""
    u, v, w = (p[i + 1] - p[i] for i in range(3))
    lengths = [float(np.linalg.norm(x)) for x in (u, v, w)]
    assume(min(lengths) > 1e-2)
    first, second = (float(np.linalg.norm(np.cross(a, b))) for a, b in ((u, v), (v, w)))
    return first / (lengths[0] * lengths[1]), second / (lengths[1] * lengths[2])


@given(POINTS)
def test_dihedral_equals_gemmi(p: np.ndarray) -> None:
    assume(min(sines(p)) > 0.05)
    angle, defined = dihedral(*p)
    expected = gemmi.calculate_dihedral(*(gemmi.Position(*point) for point in p))
    assert defined
    assert abs(wrapped(np.degrees(angle - expected))) < 1e-3
    assert angle.dtype == np.float32


@given(POINTS, st.integers(0, 2**32 - 1))
def test_dihedral_keeps_under_motion_and_turns_under_mirror(p: np.ndarray, seed: int) -> None:
    assume(min(sines(p)) > 0.05)
    rng = np.random.default_rng(seed)
    angle, _ = dihedral(*p)
    moved, _ = dihedral(*(p @ random_rotation(rng).T + rng.normal(0, 100, 3)))
    mirrored, _ = dihedral(*(p * (1, 1, -1)))
    reverse, _ = dihedral(*p[::-1])
    assert abs(wrapped(np.degrees(moved - angle))) < 1e-3
    assert abs(wrapped(np.degrees(mirrored + angle))) < 1e-3
    assert abs(wrapped(np.degrees(reverse - angle))) < 1e-3


@given(st.floats(-180, 180), st.floats(20, 160))
def test_dihedral_of_a_built_atom_is_the_angle_it_was_built_with(torsion: float, bend: float) -> None:
    a, b, c = np.array([(0.0, 1.0, 0.3), (0.0, 0.0, 0.0), (1.5, 0.0, 0.0)])
    angle, defined = dihedral(a, b, c, place(a, b, c, 1.4, bend, torsion))
    assert defined
    assert abs(wrapped(np.degrees(angle) - torsion)) < 1e-3


@pytest.mark.parametrize("turn", [0.0, 1e-12, -1e-12, 1e-9, -1e-9, 1e-7, -1e-7])
def test_a_trans_angle_has_one_value(turn: float) -> None:
    d = np.array([-np.cos(turn), np.sin(turn), 1.0])
    angle, defined = dihedral(np.array([1.0, 0, 0]), np.zeros(3), np.array([0, 0, 1.0]), d)
    assert defined
    assert np.float32(-np.pi) < angle <= np.float32(np.pi)


@given(POINTS, st.sampled_from([-2.0, -1.0, 0.5, 1.0, 3.0]), st.integers(0, 2), st.booleans())
def test_atoms_on_a_line_or_on_one_another_have_no_torsion(p: np.ndarray, along: float, at: int, same: bool) -> None:
    assume(np.linalg.norm(p[2] - p[1]) > 0.1)
    if same:
        p[at] = p[at + 1]
    elif at == 0:
        p[0] = p[1] + along * (p[2] - p[1])
    else:
        p[3] = p[2] + along * (p[2] - p[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        angle, defined = dihedral(*p)
    assert not defined
    assert angle == 0


@pytest.mark.parametrize(("bend", "has_torsion"), [(179.9999, False), (0.0001, False), (179.0, True), (1.0, True)])
def test_a_bond_angle_must_be_told_from_a_line(bend: float, has_torsion: bool) -> None:
    turn = random_rotation(np.random.default_rng(1))
    a, b, c = np.array([(0.0, 1.0, 0.3), (0.0, 0.0, 0.0), (1.5, 0.0, 0.0)]) @ turn.T
    for points in ((a, b, c, place(a, b, c, 1.4, bend, 70.0)), (place(a, b, c, 1.4, bend, 70.0), c, b, a)):
        angle, defined = dihedral(*points)
        assert defined == has_torsion
        assert np.degrees(angle) == pytest.approx(70.0 if has_torsion else 0.0, abs=0.01)


@pytest.fixture
def table(tmp_path: Path) -> ResidueTable:
    atoms = peptide(FOLDED)
    path = write_pdb(tmp_path / "p.pdb", atoms)
    near = np.array([atoms[0].xyz]) + 2.5
    return build_residue_table(read_atoms(path), near, CleanSettings(), "p")[0]


def test_backbone_angles_of_an_ideal_peptide_stand_at_their_residue(table: ResidueTable) -> None:
    angles, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    n = len(table)
    for column, wanted, missing in ((0, PHI, 0), (1, PSI, n - 1), (2, OMEGA, n - 1)):
        rows = np.arange(n) != missing
        assert np.array_equal(defined[:, column], rows)
        assert np.abs(wrapped(np.degrees(angles[rows, column]) - wanted)).max() < 0.1
        assert angles[missing, column] == 0


def test_a_chain_break_takes_away_exactly_its_three_angles(table: ResidueTable) -> None:
    whole, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    linked = table.linked.copy()
    linked[7] = False
    angles, cut = residue_torsions(table.xyz, table.mask, table.aatype, linked)
    gone = defined & ~cut
    assert {tuple(where) for where in np.argwhere(gone)} == {(7, 1), (7, 2), (8, 0)}
    assert np.array_equal(angles[cut], whole[cut])
    assert not angles[~cut].any()


def test_a_missing_atom_takes_away_exactly_the_chis_it_defines(table: ResidueTable) -> None:
    row = FOLDED.index("K")
    _, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    for atom, left in (("NZ", {0, 1, 2}), ("CE", {0, 1}), ("CD", {0}), ("CG", set()), ("CB", {3})):
        mask, xyz = table.mask.copy(), table.xyz.copy()
        slot = aa.ATOM14_NAMES[table.aatype[row]].index(atom)
        mask[row, slot], xyz[row, slot] = False, 0.0
        _, now = residue_torsions(xyz, mask, table.aatype, table.linked)
        assert set(np.flatnonzero(now[row, CHI1:])) == left
        assert np.array_equal(np.delete(now, row, axis=0), np.delete(defined, row, axis=0))


@pytest.mark.parametrize("identifier", ["1s3v", "1uou", "1s2g"])
def test_torsions_of_real_proteins_equal_biopython(demo: dict[str, dict[str, Any]], identifier: str) -> None:
    pdb = pytest.importorskip("Bio.PDB")
    if identifier not in demo:
        pytest.skip(f"the package that ships {identifier} is not installed")
    entry = demo[identifier]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pdb.PDBParser(QUIET=True).get_structure(identifier, entry["protein"])[0]
        model.atom_to_internal_coordinates()
    theirs = {(r.parent.id.strip(), r.id[1], r.id[2].strip()): r for r in model.get_residues() if r.internal_coord}

    atoms = read_atoms(Path(entry["protein"]))
    near = atoms.xyz[:1] + 2.0
    table, _, notes = build_residue_table(atoms, near, CleanSettings(), identifier)
    distorted = (aa.ATOM14_MASK[table.aatype] & ~table.mask).any(axis=1)
    assert distorted.sum() <= 1 + notes.get("missing_heavy_atoms", 0)
    angles, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    keys = list(zip(table.chain, table.number.tolist(), table.insertion, strict=True))
    compared = np.zeros(7, dtype=int)
    for i, key in enumerate(keys):
        residue = theirs[key]
        after = theirs[keys[i + 1]] if i + 1 < len(keys) and table.linked[i] else None
        owners = (residue, residue, after, *[residue] * 4)  # their omega belongs to the bond before the residue
        for k, (owner, name) in enumerate(
            zip(owners, ("phi", "psi", "omg", "chi1", "chi2", "chi3", "chi4"), strict=True)
        ):
            value = owner.internal_coord.get_angle(name) if owner is not None else None
            # They end a chain at C-N above 1.4 A, we at 2.0 A: their None says nothing about ours on the backbone.
            # Atoms in impossible places are masked here, and there they are not.
            assert defined[i, k] == (value is not None) or (k < 3 and defined[i, k]) or distorted[i], (key, name)
            if value is not None and defined[i, k]:
                assert abs(wrapped(np.degrees(angles[i, k]) - value)) < 0.1, (key, name)
                compared[k] += 1
    assert compared.min() > 0
    assert compared[:4].sum() > 0.9 * defined[:, :4].sum()


@pytest.mark.parametrize("program", ["of_biotite", "of_biopython"])
def test_the_comparison_script_finds_what_differs(table: ResidueTable, tmp_path: Path, program: str) -> None:
    pytest.importorskip("biotite" if program == "of_biotite" else "Bio.PDB")
    angles, defined = residue_torsions(table.xyz, table.mask, table.aatype, table.linked)
    keys = {"id": "p", "chain": table.chain, "number": table.number, "insertion": table.insertion}
    text = (tmp_path / "p.pdb").read_text()
    stored = {"angles": angles, "defined": defined}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = compare_torsions.compare(iter([(keys, stored, text)]), getattr(compare_torsions, program))
        angles[3, CHI1] += 0.01
        other = compare_torsions.compare(iter([(keys, stored, text)]), getattr(compare_torsions, program))
    assert same["compared"].tolist() == defined.sum(axis=0).tolist()
    assert same["far"] == []
    assert [(key, name) for _, key, name, _, _ in other["far"]] == [(("A", 4, ""), "chi1")]
