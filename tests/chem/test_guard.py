"""The time limit of a molecule: it works where RDKit hangs, costs nothing elsewhere, and changes no result."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem import guard
from bindrae.chem.guard import is_hard, settle, settle_within
from bindrae.errors import RejectedComplex
from complexes import embedded


def cluster(n: int, element: str = "Fe") -> Chem.Mol:
    """Every atom bound to every other: RDKit looks for the rings of fifty for hours."""
    mol = Chem.RWMol()
    for _ in range(n):
        mol.AddAtom(Chem.Atom(element))
    for a in range(n):
        for b in range(a):
            mol.AddBond(a, b, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(n)
    conformer.SetPositions(np.random.default_rng(0).normal(size=(n, 3)) * 5)
    mol.AddConformer(conformer)
    return mol.GetMol()


def test_a_molecule_that_hangs_is_killed_in_time() -> None:
    mol = cluster(50)
    assert is_hard(mol)
    start = time.monotonic()
    with pytest.raises(RejectedComplex, match=r"file\.sdf.*within 1\.5 s") as caught:
        settle_within(mol, 1.5, "file.sdf")
    assert caught.value.code == "ligand_timeout"
    assert "max_ligand_seconds" in caught.value.hint
    assert time.monotonic() - start < 10


def test_drug_like_molecules_never_leave_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("no child process for these")

    monkeypatch.setattr(subprocess, "run", never)
    for smiles in ("CCO", "Oc1ccc(-c2ccncc2)cc1", "C[C@]12CC[C@H]3[C@@H](CC=C4C[C@@H](O)CC[C@]34C)[C@@H]1CCC2=O"):
        assert settle_within(embedded(smiles, hydrogens=True), 0.001, "x")[1] == Chem.CanonSmiles(smiles)


def test_the_child_gives_what_the_process_would(monkeypatch: pytest.MonkeyPatch) -> None:
    mol = embedded("C[C@H](N)C(=O)N[C@@H](CC(=O)[O-])C(=O)OC/C=C/Cl", centre=(50.25, -12.125, 100.1), hydrogens=True)
    here = settle(Chem.Mol(mol))
    monkeypatch.setattr(guard, "MAX_EASY_ATOMS", 3)
    there = settle_within(Chem.Mol(mol), 60, "x")
    assert there[1:] == here[1:]
    assert Chem.MolToV3KMolBlock(there[0]) == Chem.MolToV3KMolBlock(here[0])
    assert np.array_equal(there[0].GetConformer().GetPositions(), here[0].GetConformer().GetPositions())
    broken = Chem.RWMol(mol)
    broken.GetBondWithIdx(0).SetBondType(Chem.BondType.QUADRUPLE)
    with pytest.raises(ValueError, match="valence"):
        settle_within(broken.GetMol(), 60, "x")


def test_a_child_that_dies_is_a_rejection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(guard.sys, "executable", str(dying))
    with pytest.raises(RejectedComplex, match="died") as caught:
        settle_within(cluster(20), 10, "x")
    assert caught.value.code == "ligand_unreadable"


def test_metals_have_a_key_too() -> None:
    ammine = Chem.MolFromSmiles("[NH3]->[Zn+2]", sanitize=False)
    assert Chem.MolToInchiKey(Chem.MolFromSmiles("[NH3]->[Zn+2]")) == "", "InChI knows no dative bonds"
    conformer = Chem.Conformer(2)
    conformer.SetPositions(np.array([[0.0, 0.0, 0.0], [2.0, 0.1, 0.3]]))
    ammine.AddConformer(conformer)
    assert settle(ammine)[2] == Chem.MolToInchiKey(Chem.MolFromSmiles("N.[Zn+2]"))
