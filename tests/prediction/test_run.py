"""`bindrae predict` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.spatial import cKDTree
from typer.testing import CliRunner

from bindrae.cli import app
from bindrae.errors import BindraeError
from bindrae.prediction import predict as predict_module
from bindrae.prediction.cost import tile
from bindrae.prediction.inputs import read_complex
from complexes import write_complex


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two complexes, one of which has a torn ligand."""
    root = tmp_path / "set"
    write_complex(root, "one")
    write_complex(root, "torn")
    (root / "torn" / "torn_ligand.sdf").write_text("torn")
    return root


def test_one_complex(folder: Path, model_path: Path, tmp_path: Path) -> None:
    protein, ligand = folder / "one/one_protein.pdb", folder / "one/one_ligand.sdf"
    text = call(protein, ligand, "-o", tmp_path / "out.pdb", "--model", model_path, "--json", tmp_path / "s.json")
    assert "10 of 10 side chains built" in text
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["failed"] == 0
    (entry,) = summary["complexes"]
    assert entry["ligand"] == str(ligand)
    residues = entry["samples"][0]["residues"]
    assert [r["residue"] for r in residues] == [f"A:{i}" for i in range(1, 11)]
    assert [len(r["chi_deg"]) for r in residues] == [0, 2, 4, 2, 1, 2, 2, 3, 0, 2]
    assert "confidence" not in residues[0]
    assert 0 <= residues[1]["confidence"] <= 100
    call(protein, "-o", tmp_path / "alone.cif", "--model", model_path, "--no-refine", "--samples", 2)
    assert (tmp_path / "alone.cif").is_file()


def test_a_folder_goes_on_after_a_failure(folder: Path, model_path: Path, tmp_path: Path) -> None:
    text = call(folder, "-o", tmp_path / "out", "--model", model_path, code=1)
    assert "1 of 2 complexes written" in text
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [(c["id"], c["status"], c.get("code")) for c in summary["complexes"]] == [
        ("one", "done", None),
        ("torn", "failed", "ligand_unreadable"),
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["one.pdb", "summary.json"]


def test_a_sheet_and_a_flat_folder(folder: Path, model_path: Path, tmp_path: Path) -> None:
    sheet = folder / "sheet.csv"
    sheet.write_text("id,protein,ligand\nfirst,one/one_protein.pdb,one/one_ligand.sdf\nalone,one/one_protein.pdb,\n")
    call(sheet, "-o", tmp_path / "sheet", "--model", model_path)
    entries = json.loads((tmp_path / "sheet/summary.json").read_text())["complexes"]
    assert [(e["id"], e["ligand"] is None) for e in entries] == [("first", False), ("alone", True)]
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (folder / "one").iterdir():
        path.rename(flat / path.name)
    call(flat, "-o", tmp_path / "flat-out", "--model", model_path)
    assert (tmp_path / "flat-out/one.pdb").read_bytes() == (tmp_path / "sheet/first.pdb").read_bytes()


def test_a_faulty_sdf_gives_way_to_the_mol2_beside_it(model_path: Path, tmp_path: Path) -> None:
    from rdkit import Chem

    write_complex(tmp_path, "one", smiles="CCO")
    sdf = tmp_path / "one/one_ligand.sdf"
    points = Chem.MolFromMolFile(str(sdf)).GetConformer().GetPositions()
    sdf.write_text("torn")
    rows = [f"{i + 1} {n}{i} {x:.3f} {y:.3f} {z:.3f} {t}" for i, (n, t, (x, y, z)) in
            enumerate(zip("CCO", ("C.3", "C.3", "O.3"), points, strict=True))]  # fmt: skip
    sdf.with_suffix(".mol2").write_text(
        "@<TRIPOS>MOLECULE\nEOH\n3 2\nSMALL\nNO_CHARGES\n@<TRIPOS>ATOM\n" + "\n".join(rows)
        + "\n@<TRIPOS>BOND\n1 1 2 1\n2 2 3 1\n"
    )  # fmt: skip
    text = call(tmp_path / "one/one_protein.pdb", sdf, "-o", tmp_path / "o.pdb", "--model", model_path)
    assert "one_ligand.mol2 beside it was read instead" in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{p}"], "no output was named"),
        (["{p}", "-o", "x.xyz"], "names no format"),
        (["{p}", "-o", "{p}"], "is the input itself"),
        (["{p}", "-o", "x.pdb", "--fix", "A:99"], "holds no residue A:99"),
        (["{p}", "-o", "x.pdb", "--only-pocket", "8"], "needs a ligand"),
        (["{p}", "-o", "x.pdb", "--backbone", "other"], "--backbone other"),
        (["none.pdb", "-o", "x.pdb"], "none.pdb does not exist"),
        (["{p}", "none.sdf", "-o", "x.pdb"], "none.sdf"),
        (["none.csv", "-o", "x"], "none.csv does not exist"),
        (["{d}", "{l}", "-o", "x"], "yet a ligand was named"),
        (["{d}", "-o", "x.pdb"], "is a file"),
        (["{d}/one", "-o", "x"], None),
    ],
)
def test_what_a_user_can_mend(
    folder: Path, model_path: Path, tmp_path: Path, arguments: list[str], message: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    places = {"p": folder / "one/one_protein.pdb", "l": folder / "one/one_ligand.sdf", "d": folder}
    given = [argument.format(**places) for argument in arguments]
    if message is None:  # a single complex's own folder is a flat one
        call(*given, "--model", model_path)
        return
    with pytest.raises(BindraeError, match=message):
        call(*given, "--model", model_path)
    assert not list(tmp_path.glob("x*"))


def test_missing_weights_and_language_models(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bindrae.config import ModelSettings
    from bindrae.model.model_file import save_model
    from bindrae.model.stage1 import Stage1

    protein = folder / "one/one_protein.pdb"
    monkeypatch.setattr(predict_module, "SHIPPED", tmp_path / "none.safetensors")
    with pytest.raises(BindraeError, match="no trained weights"):
        call(protein, "-o", tmp_path / "x.pdb")
    sizes = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}
    save_model(Stage1(ModelSettings(**sizes, d_plm=8)), tmp_path / "plm.safetensors", {})
    with pytest.raises(BindraeError, match="protein language model"):
        call(protein, "-o", tmp_path / "x.pdb", "--model", tmp_path / "plm.safetensors")


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, bindrae.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_prediction_starts_without_what_it_does_not_need(folder: Path, model_path: Path, tmp_path: Path) -> None:
    """Torch's compiler alone takes a second, and is easily imported by building a module on the meta device."""
    arguments = ["predict", folder / "one/one_protein.pdb", folder / "one/one_ligand.sdf"]
    code = "import sys; from bindrae.cli import app; app(standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "-o", tmp_path / "out.pdb", "--model", model_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "bindrae.prediction.predict" in done.stderr.split()
    assert {"torch._dynamo", "pandas", "rich.progress"} & set(done.stderr.split()) == set()


def test_a_protein_beside_itself(folder: Path, tmp_path: Path) -> None:
    count = tile(folder / "one/one_protein.pdb", 25, tmp_path / "many.cif")
    table = read_complex("many", tmp_path / "many.cif", None).table
    assert count == len(table) == 30
    assert len(set(table.chain)) == 3
    assert not cKDTree(table.xyz[:, 1]).query_pairs(3.0)


def test_a_cost_table(folder: Path, model_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bindrae.prediction.cost", str(folder / "one/one_protein.pdb"),
         str(folder / "one/one_ligand.sdf"), "--model", str(model_path), "--repeats", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split("|")[1:3] for line in done.stdout.splitlines()[2:]]
    assert [(r[0].strip(), r[1].strip()) for r in rows] == [("10", "no"), ("10", "yes")]
