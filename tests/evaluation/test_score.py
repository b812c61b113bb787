"""`bindrae score`: any program's structures against the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bindrae.chem import residues as aa
from bindrae.cli import app
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError
from bindrae.evaluation.score import ScoreOptions, run_score
from tests.complexes import Atom, pdb_text, write_complex, write_pdb

SEQUENCE = "AFKDSWLEGHYPRNMCTVIQ"
KEYS = (
    "chi1_acc20", "chi1_acc40", "all_chi_acc20", "chi1_mae_deg", "sidechain_rmsd", "clash_atoms_pct", "fape",
)  # fmt: skip


def turn(atoms: list[Atom], chi: int | dict[str, int], degrees: float) -> list[Atom]:
    """The same atoms with one chi of each residue turned; proline, whose ring would break, is left alone."""
    turned: list[Atom] = []
    for number in dict.fromkeys((a.chain, a.number, a.insertion) for a in atoms):
        own = [a for a in atoms if (a.chain, a.number, a.insertion) == number]
        name = own[0].residue
        which = chi if isinstance(chi, int) else chi.get(name, 0)
        kind = aa.TYPE_OF_NAME.get(name, aa.UNKNOWN)
        if not which or name == "PRO" or not aa.CHI_MASK[kind, which - 1]:
            turned += own
            continue
        _, b, c, _ = (aa.ATOM14_NAMES[kind][slot] for slot in aa.CHI_ATOMS[kind, which - 1])
        xyz = {a.name: np.array(a.xyz) for a in own}
        moving = beyond(name, c) - {b, c}
        axis = (xyz[c] - xyz[b]) / np.linalg.norm(xyz[c] - xyz[b])
        angle = np.radians(degrees)
        for a in own:
            if a.name in moving:
                r = np.array(a.xyz) - xyz[c]
                r = r * np.cos(angle) + np.cross(axis, r) * np.sin(angle) + axis * (axis @ r) * (1 - np.cos(angle))
                a = replace(a, xyz=tuple((xyz[c] + r).tolist()))
            turned.append(a)
    return turned


def beyond(residue: str, atom: str) -> set[str]:
    """The atom and all that are built from it."""
    found = {atom}
    for step in aa.BUILD_STEPS[residue]:
        if step.bonded in found:
            found.add(step.atom)
    return found


@pytest.fixture
def pair(tmp_path: Path) -> tuple[list[Atom], Path, Path]:
    """Atoms, protein file and ligand file of a peptide of all 20 types."""
    atoms = write_complex(tmp_path / "true", "one", SEQUENCE)
    folder = tmp_path / "true" / "one"
    return atoms, folder / "one_protein.pdb", folder / "one_ligand.sdf"


Score = Callable[..., dict[str, Any]]


@pytest.fixture
def score(pair: tuple[list[Atom], Path, Path], tmp_path: Path) -> Score:
    """Write some atoms as the prediction and score them."""

    def run(atoms: list[Atom], ligand: bool = True, **options: Any) -> dict[str, Any]:
        path = write_pdb(tmp_path / "pred.pdb", atoms)
        return run_score(path, pair[1], ScoreOptions(ligand=str(pair[2]) if ligand else None, **options))

    return run


def test_the_command_writes_json_of_plain_numbers(pair: tuple[list[Atom], Path, Path], tmp_path: Path) -> None:
    _, protein, ligand = pair
    target = tmp_path / "out.json"
    done = CliRunner().invoke(
        app, ["score", str(protein), str(protein), "--ligand", str(ligand), "--json", str(target)]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(target.read_text())
    for block in (found, found["pocket"], found["crystal"]):
        assert [block[key] for key in KEYS[:3]] == [100.0, 100.0, 100.0]
        assert block["chi1_mae_deg"] == block["sidechain_rmsd"] == 0.0
        assert block["fape"] == pytest.approx(0.0, abs=1e-4)
    assert found["pocket"]["irmsd"] == pytest.approx(0.0, abs=1e-6)
    assert found["clash_atoms_pct"] == found["crystal"]["clash_atoms_pct"] > 0.0  # the peptide is not packed
    assert found["counts"]["residues"] == len(SEQUENCE)
    assert "chi1 within 20 degrees" in done.output


def test_a_turn_by_30_degrees_misses_at_20_and_hits_at_40(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    found = score(turn(pair[0], 1, 30.0))
    whole = 100.0 / found["counts"]["chi1"]  # proline was left alone
    assert found["chi1_acc20"] == pytest.approx(whole)
    assert found["chi1_acc40"] == 100.0
    assert found["all_chi_acc20"] == pytest.approx(whole)
    assert found["chi1_mae_deg"] == pytest.approx(30.0 * (1 - whole / 100.0), abs=0.2)
    assert found["sidechain_rmsd"] > 0.3
    without_proline = score(turn([a for a in pair[0] if a.residue != "PRO"], 1, 30.0))
    assert without_proline["chi1_acc20"] == 0.0
    assert without_proline["chi1_acc40"] == pytest.approx(100.0 - whole)


def test_flips_of_symmetric_groups_are_right_and_of_others_wrong(
    pair: tuple[list[Atom], Path, Path], score: Score
) -> None:
    found = score(turn(pair[0], aa.PI_PERIODIC, 180.0))
    assert found["all_chi_acc20"] == 100.0
    assert found["sidechain_rmsd"] < 0.05
    assert found["fape"] < 0.02
    wrong = score(turn(pair[0], {"ASN": 2, "HIS": 2}, 180.0))
    assert wrong["all_chi_acc20"] == pytest.approx(100.0 * (1 - 2 / wrong["counts"]["chi1"]))
    assert wrong["chi1_acc20"] == 100.0


def test_missing_residues_are_misses_and_distances_are_of_the_rest(
    pair: tuple[list[Atom], Path, Path], score: Score
) -> None:
    found = score([a for a in pair[0] if a.number not in (2, 3)])
    n = found["counts"]["chi1"]
    assert found["chi1_acc20"] == found["chi1_acc40"] == pytest.approx(100.0 * (n - 2) / n)
    assert found["counts"]["residues_missing"] == 2
    assert found["sidechain_rmsd"] == 0.0
    assert found["notes"] == {"one": [f"2 of {len(SEQUENCE)} residues are missing in the prediction: misses"]}
    backbone_only = score([a for a in pair[0] if a.name in aa.BACKBONE])
    assert backbone_only["chi1_acc40"] == 0.0
    assert backbone_only["sidechain_rmsd"] is None


def test_without_a_ligand_there_is_no_pocket(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    bare = score(pair[0], ligand=False)
    assert bare["pocket"] is None
    assert bare["ligand_clash_atoms_pct"] is None
    assert "no pocket" in bare["notes"]["one"][0]
    full = score(pair[0])
    assert {key: bare[key] for key in KEYS} == {key: full[key] for key in KEYS}


def test_what_cleaning_would_drop_is_kept_in_a_prediction(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    # A bond length that no protein has: `clean` would mask the atom, or reject the whole file.
    stretched = [replace(a, xyz=(a.xyz[0], a.xyz[1] + 1.5, a.xyz[2])) if a.name == "CB" else a for a in pair[0]]
    found = score(stretched)
    assert found["counts"]["residues_missing"] == found["counts"]["atoms_missing"] == 0
    assert found["chi1_mae_deg"] > 1.0


def test_relabelled_chains_are_matched_by_order_with_a_note(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    renumbered = [replace(a, chain="", number=a.number + 100) for a in pair[0]]
    found = score(renumbered)
    assert found["chi1_acc20"] == 100.0
    assert "matched by order" in found["notes"]["one"][0]
    other_chain = [replace(a, chain="Q") for a in pair[0] if a.number != 4]
    found = score(other_chain)
    assert found["counts"]["residues_missing"] == 1
    assert "chain Q is taken for chain A" in found["notes"]["one"][0]


def test_residues_that_cannot_be_told_are_refused(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    shifted = [replace(a, number=a.number + 1) for a in pair[0] if a.number != 4]
    with pytest.raises(
        BindraeError, match=r"under the labels of chain A of .* stand residues of other types"
    ) as raised:
        score(shifted)
    assert "keep the numbers of the true file" in raised.value.hint
    lost = [replace(a, number=a.number + 100) for a in pair[0] if a.number != 4]
    with pytest.raises(BindraeError, match="none of its 19 residues"):
        score(lost)


def test_insertion_codes_and_two_chains_stay_apart(tmp_path: Path) -> None:
    first = write_complex(tmp_path / "true", "two", SEQUENCE)
    shift = 40.0
    second = [replace(a, chain="B", xyz=(a.xyz[0], a.xyz[1] + shift, a.xyz[2])) for a in first]
    # Residue 11 becomes 10A: the key of another residue but for the insertion code.
    true = [replace(a, number=10, insertion="A") if a.number == 11 else a for a in first + second]
    protein = write_pdb(tmp_path / "true" / "two" / "two_protein.pdb", true)
    found = run_score(write_pdb(tmp_path / "p.pdb", true), protein, ScoreOptions())
    assert found["chi1_acc20"] == 100.0
    assert found["notes"] == {"two": ["no ligand: no pocket, give one with --ligand"]}
    # The chains trade names: the sequences are equal, the places are not.
    swapped = [replace(a, chain={"A": "X", "B": "W"}[a.chain]) for a in true]
    swapped.sort(key=lambda a: a.chain)
    found = run_score(
        write_pdb(tmp_path / "p.pdb", [a for a in swapped if a.number != 4 or a.chain == "X"]), protein, ScoreOptions()
    )
    assert found["sidechain_rmsd"] == 0.0
    assert found["counts"]["residues_missing"] == 1


def test_mmcif_mol2_and_names_of_force_fields(
    pair: tuple[list[Atom], Path, Path], score: Score, tmp_path: Path
) -> None:
    named = [replace(a, residue={"HIS": "HIE", "CYS": "CYX"}.get(a.residue, a.residue)) for a in pair[0]]
    assert score(named)["all_chi_acc20"] == 100.0
    structure = gemmi.read_pdb_string(pdb_text(named))
    structure.setup_entities()
    cif = tmp_path / "pred.cif"
    structure.make_mmcif_document().write_file(str(cif))
    found = run_score(cif, pair[1], ScoreOptions(ligand=str(pair[2])))
    assert found["all_chi_acc20"] == 100.0
    points = [line.split() for line in pair[2].read_text().splitlines() if line.split()[3:4] and line[31:32].isalpha()]
    mol2 = tmp_path / "ligand.mol2"
    atoms = "".join(f"{i} {p[3]}{i} {p[0]} {p[1]} {p[2]} {p[3]} 1 LIG 0.0\n" for i, p in enumerate(points, start=1))
    head = f"@<TRIPOS>MOLECULE\nLIG\n{len(points)} 0\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n"
    mol2.write_text(head + atoms + "@<TRIPOS>BOND\n")
    other = run_score(cif, pair[1], ScoreOptions(ligand=str(mol2)))
    assert other["counts"]["pocket_residues"] == found["counts"]["pocket_residues"] > 0


def test_another_coordinate_frame_is_noted(pair: tuple[list[Atom], Path, Path], score: Score) -> None:
    moved = [replace(a, xyz=(-a.xyz[1] + 9.0, a.xyz[0] + 30.0, a.xyz[2])) for a in pair[0]]
    found = score(moved)
    assert "another coordinate frame" in found["notes"]["one"][0]
    assert found["chi1_acc20"] == 100.0
    assert found["fape"] == pytest.approx(0.0, abs=1e-2)
    assert found["pocket"]["irmsd"] == pytest.approx(0.0, abs=1e-2)
    assert found["sidechain_rmsd"] > 5.0


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, dict[str, list[Atom]]]:
    """Five true complexes, and predictions of four: perfect but for c1, all of whose chi1 are 30 degrees off."""
    true, pred = tmp_path / "true", tmp_path / "pred"
    atoms = {f"c{i}": write_complex(true, f"c{i}", SEQUENCE[i:]) for i in range(5)}
    for name in ("c0", "c1", "c2", "c3"):
        write_pdb(pred / f"{name}.pdb", turn(atoms[name], 1, 30.0 if name == "c1" else 0.0))
    return pred, true, atoms


def chi1_counts(atoms: dict[str, list[Atom]]) -> dict[str, int]:
    residues = {name: {(a.number, a.residue) for a in own} for name, own in atoms.items()}
    return {name: sum(r not in ("ALA", "GLY") for _, r in own) for name, own in residues.items()}


def test_folders_are_pooled_and_what_is_not_predicted_is_a_miss(
    folders: tuple[Path, Path, dict[str, list[Atom]]], tmp_path: Path
) -> None:
    pred, true, atoms = folders
    outputs = {"residues": tmp_path / "r.parquet", "complexes": tmp_path / "c.parquet"}
    found = run_score(pred, true, ScoreOptions(folders=True, **outputs))
    n = chi1_counts(atoms)
    right = sum(n.values()) - n["c4"] - (n["c1"] - 1)  # the proline of c1
    assert found["chi1_acc20"] == pytest.approx(100.0 * right / sum(n.values()))
    assert found["failed"] == [{"id": "c4", "message": "no prediction"}]
    assert found["counts"]["failed"] == 1
    assert found["bootstrap"]["over"] == "complexes"
    low, high = found["intervals"]["chi1_acc20"]
    assert low < found["chi1_acc20"] < high
    assert found["crystal"]["chi1_acc20"] == 100.0
    residues = read_table(outputs["residues"]).to_pandas()
    assert len(residues) == sum(len(SEQUENCE) - i for i in range(5))
    c1 = residues[residues["id"] == "c1"]
    assert c1["number"].tolist() == list(range(1, len(SEQUENCE)))
    assert set(c1["chain"]) == {"A"}
    assert c1["chi1_error"].dropna().round(0).isin([0.0, 30.0]).all()
    complexes = read_table(outputs["complexes"]).to_pandas().set_index("id")
    assert complexes.loc["c4", "chi1_acc20"] == 0.0
    assert complexes.loc["c0", "pocket_irmsd"] == pytest.approx(0.0, abs=1e-6)
    assert complexes.loc["c4", "failed"] == "no prediction"


def test_ids_and_clusters_come_from_files(folders: tuple[Path, Path, dict[str, list[Atom]]], tmp_path: Path) -> None:
    pred, true, _ = folders
    ids, table = tmp_path / "ids.txt", tmp_path / "split.parquet"
    ids.write_text("c2  # a comment\nc0\nc3\n")
    pd.DataFrame({"id": ["c0", "c2", "c3", "c9"], "cluster": ["k", "k", "m", "n"]}).to_parquet(table)
    found = run_score(pred, true, ScoreOptions(folders=True, ids=ids, clusters=table))
    assert found["counts"]["complexes"] == 3
    assert found["chi1_acc20"] == 100.0
    assert found["bootstrap"] == {"samples": 1000, "seed": 0, "over": "clusters", "n": 2}
    ids.write_text("c1\n")
    with pytest.raises(BindraeError, match="no cluster for 1 complexes, the first: c1"):
        run_score(pred, true, ScoreOptions(folders=True, ids=ids, clusters=table))
    ids.write_text("c8\n")
    with pytest.raises(BindraeError, match=r"no true complex .* the first: c8"):
        run_score(pred, true, ScoreOptions(folders=True, ids=ids))


def test_two_predictions_are_compared_in_pairs(
    folders: tuple[Path, Path, dict[str, list[Atom]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, true, atoms = folders
    other = tmp_path / "other"
    for name, own in atoms.items():
        write_pdb(other / f"{name}.pdb", turn(own, 1, 30.0))
    found = run_score(pred, true, ScoreOptions(folders=True, against=(other,)))
    rival = found["against"][str(other)]
    difference = rival["difference"]["chi1_acc20"]
    assert difference["value"] == pytest.approx(found["chi1_acc20"] - rival["chi1_acc20"])
    assert 0.0 < difference["low"] < difference["value"] < difference["high"]
    # c4 has no prediction on one side, so that its distances are left out on both.
    assert rival["difference"]["fape"]["value"] < 0.0
    assert "paired bootstrap" in capsys.readouterr().out
    same = run_score(other, true, ScoreOptions(folders=True, against=(other,)))
    for entry in (same["against"][str(other)]["difference"][key] for key in KEYS):
        assert (entry["value"], entry["low"], entry["high"]) == (0.0, 0.0, 0.0)


def test_flat_folders_bad_files_and_processes(
    folders: tuple[Path, Path, dict[str, list[Atom]]], tmp_path: Path
) -> None:
    pred, true, _ = folders
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in true.rglob("*_*.*"):
        (flat / file.name).write_bytes(file.read_bytes())
    (pred / "c2.pdb").write_text("ATOM  nonsense\nEND\n")
    (flat / "c3_protein.pdb").write_text("END\n")
    (pred / "c7.cif").write_text("nobody's")
    found = run_score(pred, flat, ScoreOptions(folders=True))
    assert [entry["id"] for entry in found["failed"]] == ["c2", "c4"]
    assert [(entry["id"], entry["code"]) for entry in found["rejected"]] == [("c3", "protein_empty")]
    assert found["unmatched"] == ["c7.cif"]
    assert found == run_score(pred, flat, ScoreOptions(folders=True, processes=2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BindraeError, match="holds no prediction for any of the 5 complexes"):
        run_score(tmp_path / "empty", flat, ScoreOptions(folders=True))


@pytest.mark.parametrize(
    ("prediction", "options", "message"),
    [
        ("true", {}, "is a folder"),
        ("nowhere.pdb", {}, "does not exist"),
        ("pred.pdb", {"ligand": "nowhere.sdf"}, "nowhere.sdf does not exist"),
        ("pred.pdb", {"ids": Path("x")}, "--ids belongs to --dir"),
        ("pred.pdb", {"folders": True}, "is not a folder"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    pair: tuple[list[Atom], Path, Path], tmp_path: Path, prediction: str, options: dict[str, Any], message: str
) -> None:
    write_pdb(tmp_path / "pred.pdb", pair[0])
    with pytest.raises(BindraeError, match=message):
        run_score(tmp_path / prediction, pair[1], ScoreOptions(**options))
