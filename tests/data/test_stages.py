"""The per-batch stages on small complexes: rows agree with one another, and each says what it was made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bindrae.config import CleanSettings, PocketSettings, TokenSettings, TorsionSettings
from bindrae.data import schema
from bindrae.data.runner import run_stage
from bindrae.data.schema import iterate_rows
from bindrae.data.stages import (
    check_same_ids,
    clean_complex,
    pocket_row,
    run_pocket,
    run_tokens,
    run_torsions,
    tokens_row,
    torsions_row,
)
from bindrae.data.storage import read_json, read_table, sha256_file, sidecar_path, write_table
from bindrae.errors import BindraeError, RejectedComplex
from complexes import hetero, peptide, write_complex, write_pdb


def entry(root: Path, identifier: str, *suffixes: str) -> dict[str, Any]:
    folder = root / identifier
    ligands = [str(folder / f"{identifier}_ligand{s}") for s in suffixes or (".sdf",)]
    return {"id": identifier, "protein": str(folder / f"{identifier}_protein.pdb"), "ligand": ligands}


@pytest.fixture
def cleaned(tmp_path: Path) -> Path:
    """A clean table of two complexes, the second with a zinc."""
    write_complex(tmp_path, "one")
    atoms = write_complex(tmp_path, "two", "GWSTYHKRAC", "CC(=O)[O-]")
    middle = next(a.xyz for a in atoms if a.number == 5 and a.name == "CA")
    zinc = hetero("ZN", 90, {"ZN": np.add(middle, (0.0, 0.0, 2.2))})
    write_pdb(tmp_path / "two" / "two_protein.pdb", atoms + zinc)
    output = tmp_path / "clean" / "0000.parquet"
    items = [entry(tmp_path, name) for name in ("one", "two")]
    run_stage(
        "clean", 1, partial(clean_complex, settings=CleanSettings()), items, schema.CLEAN, output, CleanSettings(), {}
    )
    return output


def test_every_later_array_has_the_residues_of_the_clean_table(cleaned: Path) -> None:
    pocket, torsions = (cleaned.parent.parent / stage / "0000.parquet" for stage in ("pocket", "torsions"))
    run_pocket(cleaned, pocket, PocketSettings())
    run_torsions(cleaned, torsions, TorsionSettings())
    tables = [iterate_rows(read_table(path)) for path in (cleaned, pocket, torsions)]
    for row, weights, angles in zip(*tables, strict=True):
        n = row["n_residues"]
        assert row["id"] == weights["id"] == angles["id"]
        assert n == sum(map(len, row["sequences"])) == len(row["chain"]) == len(row["atom14"]) == len(row["linked"])
        assert {len(weights[key]) for key in ("w_res", "w_res_backbone", "distance", "contact", "member")} == {n}
        assert angles["angles"].shape == angles["defined"].shape == (n, 7)
        assert weights["contact"].any()
        again = pocket_row(row, PocketSettings())
        assert np.array_equal(again["w_res"], weights["w_res"])
        assert np.array_equal(torsions_row(row)["angles"], angles["angles"])
    assert read_json(sidecar_path(pocket))["inputs"] == {"clean": sha256_file(cleaned)}


def test_the_rows_hold_what_the_files_held(cleaned: Path) -> None:
    one, two = iterate_rows(read_table(cleaned))
    assert one["sequences"] == ["AFKDSWLEGH"]
    assert one["ligand_route"] == "sdf"
    assert len(one["context_element"]) == 0
    assert two["context_element"].tolist() == [30]
    assert two["context_xyz"].shape == (1, 3)
    assert two["ligand_charge"].tolist().count(-1) == 1
    assert dict(two["notes"]) == {"context_atoms_kept": 1, "ion_charges_assumed": 1}
    root = cleaned.parent.parent
    assert two["protein_sha256"] == sha256_file(root / "two" / "two_protein.pdb")
    assert two["ligand_sha256"] == sha256_file(root / "two" / "two_ligand.sdf")


def test_the_hash_is_that_of_the_ligand_file_that_was_read(tmp_path: Path) -> None:
    write_complex(tmp_path, "one")
    good = tmp_path / "one" / "one_ligand.mol"
    (tmp_path / "one" / "one_ligand.sdf").rename(good)
    (tmp_path / "one" / "one_ligand.sdf").write_text("torn")
    row = clean_complex(entry(tmp_path, "one", ".sdf", ".mol"), CleanSettings())
    assert row["ligand_sha256"] == sha256_file(good)


def test_tokens_follow_their_switches(cleaned: Path) -> None:
    rows = [{**row, **pocket_row(row, PocketSettings())} for row in iterate_rows(read_table(cleaned))]
    for row in rows:
        heavy = len(row["ligand_element"])
        metals = len(row["context_element"])
        choices: dict[str, dict[str, Any]] = {
            "all": {},
            "none": {"tokens": "none"},
            "atoms": {"tokens": "atoms"},
            "alone": {"tokens": "atoms", "context": False},
            "few": {"max_points": 3},
        }
        made = {name: tokens_row(row, TokenSettings(**changes)) for name, changes in choices.items()}
        sizes = {name: len(value["xyz"]) for name, value in made.items()}
        assert all(value["types"].shape == (sizes[name], 12) for name, value in made.items())
        assert (sizes["none"], sizes["atoms"], sizes["alone"], sizes["few"]) == (0, heavy + metals, heavy, 3)
        assert sizes["all"] > heavy + metals
        assert np.allclose(made["alone"]["xyz"], row["ligand_xyz"], atol=1e-3)


def test_tokens_never_read_the_side_chains(cleaned: Path) -> None:
    row = next(iterate_rows(read_table(cleaned)))
    scrambled = {**row, "atom14": row["atom14"].copy()}
    scrambled["atom14"][:, 4:] = np.random.default_rng(0).normal(0, 9, scrambled["atom14"][:, 4:].shape)
    few = TokenSettings(max_points=6)
    one, other = (tokens_row({**r, **pocket_row(r, PocketSettings())}, few) for r in (row, scrambled))
    assert one["xyz"].tobytes() == other["xyz"].tobytes()


def test_tables_of_two_runs_are_not_mixed(cleaned: Path, tmp_path: Path) -> None:
    pocket = tmp_path / "pocket" / "0000.parquet"
    run_pocket(cleaned, pocket, PocketSettings())
    full = read_table(pocket)
    run_tokens(cleaned, pocket, tmp_path / "tokens" / "0000.parquet", TokenSettings())
    assert read_table(tmp_path / "tokens" / "0000.parquet")["id"].to_pylist() == ["one", "two"]
    for other in (full.slice(1), full.slice(0, 1), full.take([1, 0])):
        write_table(other, pocket)
        with pytest.raises(BindraeError, match="different complexes"):
            run_tokens(cleaned, pocket, tmp_path / "tokens" / "0000.parquet", TokenSettings())
    with pytest.raises(BindraeError, match=r"a and c .*row 1"):
        check_same_ids({"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "z"]})


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda folder: (folder / "one_protein.pdb").unlink(), "protein_missing"),
        (lambda folder: (folder / "one_protein.pdb").write_text("END\n"), "protein_empty"),
        (lambda folder: (folder / "one_ligand.sdf").unlink(), "ligand_missing"),
        (lambda folder: (folder / "one_ligand.sdf").write_text("torn"), "ligand_unreadable"),
        (
            lambda folder: write_pdb(folder / "one_protein.pdb", peptide("AKGLS", origin=(500.0, 0.0, 0.0))),
            "ligand_far",
        ),
    ],
)
def test_a_complex_that_cannot_be_used_is_rejected(tmp_path: Path, spoil: Any, code: str) -> None:
    write_complex(tmp_path, "one")
    spoil(tmp_path / "one")
    with pytest.raises(RejectedComplex) as caught:
        clean_complex(entry(tmp_path, "one"), CleanSettings())
    assert caught.value.code == code


def test_real_complexes_clean_without_a_surprise(demo: dict[str, dict[str, Any]]) -> None:
    row = clean_complex(demo["1s3v"], CleanSettings())
    assert row["n_residues"] == 186
    assert row["notes"] == []
    assert row["linked"].sum() == 185
    cofactor = clean_complex(demo["1ia1"], CleanSettings())
    assert set(cofactor["context_name"]) == {"NDP"}
    assert len(cofactor["context_name"]) == 48, "NADPH whole"
