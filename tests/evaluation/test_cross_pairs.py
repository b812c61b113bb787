"""Pairs of crystals: what is paired, what is dropped and why, what has moved, and what each baseline scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.config import ModelSettings
from bindrae.data.batch import Sample
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_json, write_table
from bindrae.errors import BindraeError
from bindrae.evaluation import cross_pairs
from bindrae.evaluation.cross_pairs import main
from bindrae.evaluation.cross_scores import Bench, cross_figures, score_direction
from bindrae.evaluation.crystals import (
    Crystal,
    UnusablePairError,
    check_same_site,
    cross,
    fit_core,
    partners,
    read_crystal,
    sample_of,
    without_ligand,
)
from bindrae.evaluation.pair_list import CrystalPair, group_pairs, pairs_on_side, read_pair_list, thin
from bindrae.evaluation.pairs import find_truths
from bindrae.evaluation.predictors import crystal_predictor, refined_predictor
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import Stage1
from bindrae.structure.torsions import residue_torsions
from complexes import Atom, embedded, peptide, random_rotation, write_pdb

SEQUENCE = "AFKDSWLEGHRMPTYNQVICAFKDSWLE"
MOTION = random_rotation(np.random.default_rng(3)), np.array([30.0, -7.0, 4.0])


def turned(atoms: list[Atom], number: int, degrees: float) -> list[Atom]:
    """The protein with chi1 of one residue (of those whose chi1 ends in CG) turned."""
    own = {a.name: np.array(a.xyz) for a in atoms if a.number == number}
    axis = own["CB"] - own["CA"]
    axis = axis / np.linalg.norm(axis)
    angle = np.radians(degrees)

    def moved(xyz: Sequence[float]) -> tuple[float, float, float]:
        v = np.array(xyz) - own["CB"]
        v = v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * (axis @ v) * (1 - np.cos(angle))
        x, y, z = (v + own["CB"]).round(3).tolist()
        return x, y, z

    still = (*aa.BACKBONE, "CB")
    return [replace(a, xyz=moved(a.xyz)) if a.number == number and a.name not in still else a for a in atoms]


def write(
    root: Path, name: str, atoms: list[Atom], near: int, smiles: str = "NC(=O)c1ccc(O)cc1", moved: bool = False
) -> None:
    """A complex whose ligand stands 6 A above the CA of residue `near`, elsewhere in space if `moved`."""
    middle = np.array(next(a.xyz for a in atoms if a.number == near and a.name == "CA"))
    mol = embedded(smiles, middle + np.array([0.0, 0.0, 6.0]))
    if moved:
        R, t = MOTION
        shifted = mol.GetConformer().GetPositions() @ R.T + t
        mol.GetConformer().SetPositions(shifted)
        atoms = [replace(a, xyz=tuple((R @ np.array(a.xyz) + t).round(3).tolist())) for a in atoms]
    write_pdb(root / name / f"{name}_protein.pdb", atoms)
    (root / name / f"{name}_ligand.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n")


def read(root: Path, name: str) -> Crystal:
    return read_crystal(name, *find_truths(root)[name])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """aaa and bbb: one protein, another ligand, another frame; of the pocket TRP 6 has turned by 120 degrees."""
    atoms = peptide(SEQUENCE)
    folder = tmp_path / "complexes"
    write(folder, "aaa", atoms, 6)
    write(folder, "bbb", turned(turned(atoms, 6, 120.0), 8, 30.0), 6, "Cc1ccccc1O", moved=True)
    write(folder, "far", atoms, 22)
    write(folder, "new", peptide(SEQUENCE[::-1]), 6)
    return folder


def pairs_file(root: Path, *pairs: str) -> Path:
    path = root.parent / "pairs.csv"
    path.write_text("\n".join(["id1,id2,note", *(pair.replace(":", ",") + ",x" for pair in pairs)]) + "\n")
    return path


def test_moved_residues_are_those_that_were_turned(root: Path) -> None:
    a, b = read(root, "aaa"), read(root, "bbb")
    rows = partners(a, b)
    assert rows.tolist() == list(range(len(SEQUENCE)))
    assert a.pocket[5]
    assert not a.pocket[20:].any()
    chis = {"crossed": a.chi, "no_ligand": a.chi, "own": b.chi, "own_no_ligand": b.chi}
    table = score_direction(a, b, rows, chis)
    assert table.loc[table["moved"], "row"].tolist() == [5]
    assert table["row"].tolist() == [i for i in np.flatnonzero(b.pocket) if SEQUENCE[i] not in "GA"]
    six, eight = (table[table["row"] == row].iloc[0] for row in (5, 7))
    assert six["kept_error"] == pytest.approx(120.0, abs=0.2)
    assert (six["kept_hit40"], six["kept_nearer"], six["own_hit20"], six["own_nearer"]) == (0, 0, 1, 1)
    assert eight["kept_error"] == pytest.approx(30.0, abs=0.2)
    assert (eight["kept_hit20"], eight["kept_hit40"], eight["crossed_hit40"]) == (0, 1, 1)


def test_a_chi1_that_one_crystal_lacks_is_not_scored(root: Path) -> None:
    atoms = [a for a in peptide(SEQUENCE) if not (a.number == 6 and a.name not in (*aa.BACKBONE, "CB"))]
    write(root, "cut", atoms, 6)
    for first, second in (("aaa", "cut"), ("cut", "aaa")):
        a, b = read(root, first), read(root, second)
        chis = {"crossed": a.chi, "no_ligand": a.chi, "own": b.chi, "own_no_ligand": b.chi}
        assert 5 not in score_direction(a, b, partners(a, b), chis)["row"].tolist()


def test_chi_that_is_not_predicted_is_a_miss_and_not_nearer(root: Path) -> None:
    a, b = read(root, "aaa"), read(root, "bbb")
    none = np.full_like(a.chi, np.nan)
    table = score_direction(a, b, partners(a, b), dict.fromkeys(("crossed", "no_ligand", "own", "own_no_ligand"), none))
    assert (table["crossed_error"] == 180.0).all()
    assert not table[["crossed_hit20", "crossed_hit40", "crossed_nearer"]].to_numpy().any()


def test_the_ligand_moves_with_the_pocket(root: Path) -> None:
    a, b = read(root, "aaa"), read(root, "bbb")
    crossed = cross(a, b, partners(a, b))
    R, t = MOTION
    expected = (b.row["ligand_xyz"] - t) @ R
    np.testing.assert_allclose(crossed.sample["ligand_xyz"].numpy(), expected, atol=5e-3)
    assert crossed.pocket_rmsd < 5e-3
    assert torch.equal(crossed.sample["atom14"], a.sample["atom14"])
    # What the network sees of the ligand is what it sees in the ligand's own crystal, moved.
    tokens = (b.sample["lig_points"].numpy() - t) @ R
    gap = np.linalg.norm(crossed.sample["lig_points"].numpy()[:, None] - tokens[None], axis=-1).min(1)
    assert gap.max() < 2e-2
    assert len(tokens) == len(gap)


def test_a_ligand_in_its_own_crystal_gives_the_complex_itself(root: Path) -> None:
    a = read(root, "aaa")
    own = cross(a, a, partners(a, a)).sample
    for name, value in sample_of(a.row).items():
        torch.testing.assert_close(own[name], value, atol=1e-4, rtol=0)
    bare = without_ligand(a.sample)
    assert len(bare["lig_points"]) == len(bare["lig_context"]) == len(bare["ligand_xyz"]) == 0
    assert torch.equal(bare["atom14"], a.sample["atom14"])


def test_other_molecules_in_the_place_of_the_ligand_make_room(root: Path) -> None:
    a, b = read(root, "aaa"), read(root, "bbb")
    at = cross(a, b, partners(a, b)).sample["ligand_xyz"].numpy()
    beside = at.mean(0) + np.array([0.0, 0.0, 6.0])
    a.row |= {
        "context_xyz": np.stack([at[0] + 0.5, beside]).astype(np.float32),
        "context_element": np.array([8, 30], np.int16),
        "context_charge": np.zeros(2, np.int8),
    }
    crossed = cross(a, b, partners(a, b))
    assert crossed.displaced == 1
    assert crossed.sample["context_element"].tolist() == [30]
    assert int(crossed.sample["lig_context"].sum()) == 1


def test_a_loop_that_moved_does_not_move_the_ligand() -> None:
    rng = np.random.default_rng(0)
    R, t = MOTION
    target = rng.normal(0, 6, (12, 3, 3))
    mobile = (target - t) @ R
    mobile[:4] += 8.0
    rotation, shift, fitted = fit_core(mobile, target)
    assert fitted.tolist() == [False] * 4 + [True] * 8
    np.testing.assert_allclose(rotation, R, atol=1e-9)
    np.testing.assert_allclose(shift, t, atol=1e-9)


def test_chains_are_paired_by_sequence(root: Path) -> None:
    one, two = peptide(SEQUENCE), peptide("GSTPAKEWWYAA", chain="B", start=301, origin=(0.0, 25.0, 3.0))
    write(root, "ab", one + two, 6)
    write(root, "ba", two + one, 6)
    ab, ba = read(root, "ab"), read(root, "ba")
    assert partners(ab, ba).tolist() == [*range(len(SEQUENCE), len(SEQUENCE) + 12), *range(len(SEQUENCE))]
    assert partners(ab, read(root, "aaa")).tolist() == list(range(len(SEQUENCE)))
    assert partners(read(root, "aaa"), ab).tolist() == [*range(len(SEQUENCE)), *[-1] * 12]
    check_same_site(ab, ba, partners(ab, ba))


def test_pairs_that_cannot_be_scored_are_dropped_with_the_reason(root: Path) -> None:
    (root / "bad").mkdir()
    (root / "bad" / "bad_protein.pdb").write_text("END\n")
    pairs = [CrystalPair("aaa", other, "c") for other in ("far", "new", "nil", "bad", "bbb")]
    bench = Bench(find_truths(root), crystal_predictor)
    residues = bench.score(pairs)
    assert {entry["pair"]: entry["code"] for entry in bench.dropped} == {
        "aaa:far": "other_site",
        "aaa:new": "other_sequence",
        "aaa:nil": "not_in_folder",
        "aaa:bad": "protein_empty",
    }
    assert "share 0 of" in bench.dropped[0]["message"]
    assert set(residues["pair"]) == {"aaa:bbb"}
    assert [(d["backbone"], d["ligand"]) for d in bench.directions] == [("aaa", "bbb"), ("bbb", "aaa")]


def test_a_pocket_of_another_shape_is_dropped(root: Path) -> None:
    a, b = read(root, "aaa"), read(root, "bbb")
    rows = partners(a, b)
    b.row["atom14"] = b.row["atom14"] + np.random.default_rng(0).normal(0, 8, (len(SEQUENCE), 1, 3))
    with pytest.raises(
        UnusablePairError, match=r"of the \d+ pocket residues of bbb [012] lie on those of aaa"
    ) as fault:
        cross(a, b, rows)
    assert fault.value.code == "other_shape"


def test_oracles_score_what_they_must(root: Path) -> None:
    """The crystal read back misses what moved, and is the ceiling on its own backbone; both ways count."""
    bench = Bench(find_truths(root), crystal_predictor)
    residues = bench.score([CrystalPair("aaa", "bbb", "c")])
    figures = cross_figures(residues, 100, 0)
    assert residues["moved"].sum() == 2
    for name, value in {"crossed": 0.0, "no_ligand": 0.0, "kept": 0.0, "own": 100.0, "own_no_ligand": 100.0}.items():
        assert figures["moved"][f"{name}_acc20"]["value"] == value
    unmoved = residues[~residues["moved"]]
    assert 7 in unmoved["row"].tolist()
    by_hand = 100.0 * (unmoved["row"] != 7).mean()
    assert figures["unmoved"]["kept_acc20"]["value"] == pytest.approx(by_hand)
    assert figures["differences"]["moved"]["backbone"]["value"] == 100.0
    assert figures["differences"]["moved"]["ligand"] == {"value": 0.0, "low": None, "high": None}  # one cluster
    assert bench.directions[0]["moved_residues"] == 1
    assert bench.directions[0]["moved_own_hit20"] == 1


def test_the_ligand_reaches_the_prediction_and_each_complex_is_predicted_once(root: Path) -> None:
    calls: list[tuple[str, int, int]] = []

    def watched(identifier: str, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        calls.append((identifier, len(sample["lig_points"]), len(sample["ligand_xyz"])))
        return crystal_predictor(identifier, sample)

    write(root, "ccc", peptide(SEQUENCE), 6, "CCO")
    bench = Bench(find_truths(root), watched)
    bench.score([CrystalPair("aaa", "bbb", "c"), CrystalPair("bbb", "ccc", "c"), CrystalPair("aaa", "ccc", "c")])
    assert len(calls) == len(set(calls)) == 3 + 3 + 6
    assert sorted(i for i, tokens, _ in calls if not tokens) == ["aaa", "bbb", "ccc"]
    n_atoms = {i: n for i, tokens, n in calls if tokens}
    assert n_atoms["aaa+bbb"] == n_atoms["bbb"] == 8
    assert n_atoms["bbb+aaa"] == n_atoms["aaa"] == 10


def test_torsions_of_the_sample_are_those_of_its_atoms(root: Path) -> None:
    a = read(root, "aaa")
    kind = a.sample["aatype"].numpy().astype(np.int64)
    xyz, mask = crystal_predictor("aaa", a.sample)
    angles, found = residue_torsions(xyz, mask, kind, a.sample["linked"].numpy())
    assert np.array_equal(found[:, 3:], a.defined)
    np.testing.assert_allclose(angles[:, 3:][a.defined], a.chi[a.defined], atol=1e-6)


def test_lists_of_pairs(root: Path, tmp_path: Path) -> None:
    path = pairs_file(root, "a:b", "b:a", "b:c", "x:y", "y:w")
    assert read_pair_list(path) == [("a", "b"), ("b", "c"), ("x", "y"), ("y", "w")]
    grouped = group_pairs([("b", "c"), ("x", "y"), ("a", "b"), ("y", "w")])
    assert [pair.cluster for pair in grouped] == ["a", "w", "a", "w"]
    with pytest.raises(BindraeError, match="pairs a with itself"):
        read_pair_list(pairs_file(root, "a:a"))
    with pytest.raises(BindraeError, match="names no pair"):
        read_pair_list(pairs_file(root))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BindraeError, match="lacks the columns id1 and id2"):
        read_pair_list(tmp_path / "other.csv")
    with pytest.raises(BindraeError, match="does not exist"):
        read_pair_list(tmp_path / "none.csv")


def test_few_of_each_cluster_are_spread_over_it() -> None:
    pairs = [CrystalPair(f"{c}{i}", f"{c}x", c) for c in "ab" for i in range(9)]
    assert [p.first for p in thin(pairs, 3, None)] == ["a0", "a4", "a8", "b0", "b4", "b8"]
    assert [p.first for p in thin(pairs, 3, 2)] == ["a0", "b8"]
    assert thin(pairs, None, None) == pairs


@pytest.fixture
def split(tmp_path: Path) -> DataLayout:
    layout = DataLayout(tmp_path / "data")
    sides = {"aaa": "val", "bbb": "val", "far": "train", "new": "excluded"}
    rows = [{"id": i, "cluster": "k", "split": side} for i, side in sides.items()]
    write_table(pa.Table.from_pylist(rows), layout.split)
    return layout


def test_only_pairs_wholly_on_the_sides_are_taken(split: DataLayout) -> None:
    named = [("aaa", "bbb"), ("aaa", "far"), ("bbb", "new"), ("aaa", "nil")]
    assert pairs_on_side(named, split, ["val"]) == [CrystalPair("aaa", "bbb", "k")]
    assert len(pairs_on_side(named, split, ["val", "excluded"])) == 2
    with pytest.raises(BindraeError, match="none of the 4 pairs"):
        pairs_on_side(named, split, ["train"])
    with pytest.raises(BindraeError, match="no side test"):
        pairs_on_side(named, split, ["test"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    sizes = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(Stage1(ModelSettings(**sizes, qk_points=2, v_points=2, local_neighbours=8)), path, {})
    return path


def test_command_without_geometry(root: Path, split: DataLayout, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []

    def spying(model: Any, calibration: Any, networks: Any, geometry: bool) -> Any:
        told.append(geometry)
        return refined_predictor(model, calibration, networks, geometry)

    monkeypatch.setattr(cross_pairs, "refined_predictor", spying)
    words = [str(pairs_file(root, "aaa:bbb")), str(root), str(model), "--output", str(root.parent / "cross.json")]
    for more, expected in (([], True), (["--no-geometry"], False)):
        main([*words, *more])
        assert (told.pop(), read_json(root.parent / "cross.json")["geometry"]) == (expected, expected)


def test_command(root: Path, split: DataLayout, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = root.parent / "cross.json"
    path = pairs_file(root, "aaa:bbb", "aaa:far", "new:bbb")
    words = [str(path), str(root), str(model), "--output", str(output)]
    main([*words, "--side-of", str(split.root), "--side", "val,excluded"])
    printed = capsys.readouterr().out
    assert (
        "3 pairs named, 2 on side val, excluded, 2 chosen, 1 used both ways (2 complexes, 1 clusters), 1 dropped; 1"
        in printed
    )
    record = read_json(output)
    assert [entry["code"] for entry in record["dropped"]] == ["other_sequence"]
    assert record["sides"] == ["val", "excluded"]
    assert (record["n_moved"], record["n_directions"], record["n_clusters"]) == (2, 2, 1)
    assert record["figures"]["moved"]["kept_acc20"]["value"] == 0.0
    own = record["figures"]["pocket"]["own_acc20"]["value"]
    assert f"| own backbone, ligand | {record['figures']['moved']['own_acc20']['value']:.1f} |" in printed
    assert own < 60.0  # untrained
    main(words)
    assert "3 of any side, trained on or not" in capsys.readouterr().out
    with pytest.raises(BindraeError, match="none of 1 pairs can be scored: 1 other_site"):
        main([str(pairs_file(root, "aaa:far")), *words[1:]])
