"""Floors by value: ideal residues cost nothing, and each fault put in by hand is found with its size and name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.data.schema import CLEAN, TORSIONS, iterate_rows, rows_to_table
from bindrae.data.storage import read_table, write_table
from bindrae.evaluation.metrics import compute_clash_percentage
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.reporting.floors import Floors, choose_sample, round_trip
from bindrae.structure.torsions import residue_torsions
from tests.batches import random_sample

FAR = np.array([[500.0, 0.0, 0.0]], np.float32)


def rows_of(identifier: str, atom14: np.ndarray, mask: np.ndarray, aatype: np.ndarray) -> dict[str, dict]:
    n = len(aatype)
    linked = np.arange(n) < n - 1
    angles, defined = residue_torsions(atom14, mask, aatype, linked)
    clean = {field.name: [] for field in CLEAN} | {
        "id": identifier, "n_residues": n, "chain": ["B"] * n, "number": np.arange(10, 10 + n, dtype=np.int32),
        "insertion": ["A"] * n, "aatype": aatype.astype(np.int8), "linked": linked, "atom14": atom14,
        "atom14_mask": mask, "ligand_xyz": FAR, "ligand_element": np.array([6], np.int16), "notes": [],
    }  # fmt: skip
    clean |= {field.name: "" for field in CLEAN if field.type == "string" and field.name != "id"}
    return {"clean": clean, "torsions": {"id": identifier, "angles": angles, "defined": defined}}


def layout_with(folder: Path, complexes: list[dict[str, dict]]) -> DataLayout:
    layout = DataLayout(folder)
    write_table(rows_to_table([c["clean"] for c in complexes], CLEAN), layout.batch("clean", 0))
    write_table(rows_to_table([c["torsions"] for c in complexes], TORSIONS), layout.batch("torsions", 0))
    return layout


def ideal(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sample = random_sample(n, seed)
    x, kind = sample["atom14"], sample["aatype"].long()
    # The batch draws psi apart from its backbone; here O stands where the next residue's N says.
    rebuilt, mask = torsions_to_atoms(
        build_frames_from_3_points(x[:, 0], x[:, 1], x[:, 2]), angles_to_circle(sample["torsion_angles"]), kind
    )
    return rebuilt.numpy(), mask.numpy(), kind.numpy()


def measured(layout: DataLayout, ids: list[str], wanted: int = 10, seed: int = 0) -> dict:
    floors = Floors(ids, wanted, seed)
    floors.add(layout, 0, ids)
    summary = floors.summary()
    json.dumps(summary, allow_nan=False)
    return summary


def test_ideal_residues_come_back_and_a_moved_atom_is_found_with_its_size_and_name(tmp_path: Path) -> None:
    complexes = [ideal(1), ideal(2)]
    where = int(np.flatnonzero(complexes[1][2] == aa.TYPE_OF_NAME["LYS"])[0])
    rows = [rows_of(f"c{i}", *c) for i, c in enumerate(complexes)]
    clean = measured(layout_with(tmp_path / "ideal", rows), ["c0", "c1"])
    assert clean["fk_rmsd"] < 1e-3
    assert clean["fk_sidechain_rmsd"] < 1e-3
    # NZ is the end of the chain: pulled out along its own bond by 0.5 A, it changes no torsion.
    xyz = complexes[1][0]
    bond = xyz[where, 8] - xyz[where, 7]
    xyz[where, 8] += 0.5 * bond / np.linalg.norm(bond)
    rows[1] = rows_of("c1", *complexes[1])
    found = measured(layout_with(tmp_path / "moved", rows), ["c0", "c1"])
    assert found["fk_rmsd"] == pytest.approx(0.5 / np.sqrt(found["fk_atoms"]), rel=1e-3)
    assert found["by_type"]["LYS"]["fk_sidechain_rmsd"] == pytest.approx(
        0.5 / np.sqrt(found["by_type"]["LYS"]["fk_sidechain_atoms"]), rel=1e-3
    )
    assert found["worst"]["fk_sidechain_rmsd"][0]["id"] == "c1"
    worst = found["distorted_residues"][0]
    assert (worst["id"], worst["residue"]) == ("c1", f"B {10 + where}A LYS")
    assert worst["value"] == pytest.approx(0.5 / np.sqrt(4), rel=1e-3)  # CG, CD, CE, NZ


def test_only_atoms_whose_torsions_are_defined_are_compared() -> None:
    xyz, mask, kind = ideal(3)
    angles, defined = residue_torsions(xyz, mask, kind, np.ones(len(kind), bool))
    squared, compared = round_trip(xyz, mask, kind, angles, defined)
    assert (compared[:-1] == mask[:-1]).all()
    assert not compared[-1, aa.SLOT_O]  # no next residue, no psi
    at = int(np.flatnonzero(kind == aa.TYPE_OF_NAME["ARG"])[0])
    defined[at, 4] = False  # chi2: CG stays, CD and all beyond go
    _, fewer = round_trip(xyz, mask, kind, angles, defined)
    assert fewer[at].tolist() == [True] * 6 + [False] * 8
    mask[at, aa.SLOT_N] = False
    assert not round_trip(xyz, mask, kind, angles, defined)[1][at].any()
    assert squared[compared].max() < 1e-6


def test_clashes_are_those_of_the_metric_and_the_ligand_counts_apart(tmp_path: Path) -> None:
    complexes = [ideal(seed, 60) for seed in (4, 5, 6)]
    rows = [rows_of(f"c{i}", *c) for i, c in enumerate(complexes)]
    touched = complexes[0][0][30, aa.SLOT_CA]
    rows[0]["clean"]["ligand_xyz"] = (touched + np.array([0.0, 0.0, 2.5], np.float32))[None]
    ids = ["c0", "c1", "c2"]
    found = measured(layout_with(tmp_path, rows), ids)
    shares = [compute_clash_percentage(x, m, k, np.arange(60) < 59) for x, m, k in complexes]
    atoms = [m.sum() for _, m, _ in complexes]
    assert found["clash_atoms_pct"] == pytest.approx(np.average(shares, weights=atoms))
    ranked = sorted(zip(shares, ids, strict=True), key=lambda p: (-p[0], p[1]))
    assert found["worst"]["clash_atoms_pct"] == [{"id": i, "value": pytest.approx(s)} for s, i in ranked if s > 0]
    assert [entry["id"] for entry in found["worst"]["ligand_clash_atoms"]] == ["c0"]
    assert found["atoms"] == sum(entry["atoms"] for entry in found["by_type"].values()) == sum(atoms)


def test_the_sample_is_bounded_seeded_and_the_same_for_any_order(tmp_path: Path) -> None:
    ids = [f"c{i}" for i in range(50)]
    chosen = choose_sample(ids, 7, 3)
    wanted = sorted(ids, key=lambda i: hashlib.sha256(f"3:{i}".encode()).hexdigest())[:7]
    assert chosen == set(wanted) == choose_sample(ids[::-1], 7, 3)
    assert choose_sample(ids, 7, 4) != chosen
    assert choose_sample(ids, 100, 3) == set(ids)
    layout = layout_with(tmp_path, [rows_of(i, *ideal(8, 5)) for i in ids])
    assert measured(layout, ids, 7, 3)["complexes"] == 7
    assert next(iterate_rows(read_table(layout.batch("clean", 0)))) is not None
