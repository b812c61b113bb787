"""Predicted models and apo structures: confidence in the B-factor column changes nothing, an overlap gives a note."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from prediction_cases import messy_protein
from rdkit import Chem

from bindrae.prediction.predict import Prediction, PredictionOptions, Predictor, predict_complex
from bindrae.prediction.summary import summarise
from bindrae.prediction.write import write_prediction
from complexes import Atom, embedded, peptide, write_pdb

CONFIDENCE = "look like the confidence of a predicted model"
OVERLAP = "of the backbone"


def with_bfactors(atoms: list[Atom], kind: str) -> list[Atom]:
    """The same atoms with other B-factors: one value, confidence by residue, high everywhere, or any by atom."""
    rng = np.random.default_rng(0)
    of_residue = {key: 30.0 + 65.0 * rng.random() for key in dict.fromkeys((a.chain, a.number) for a in atoms)}
    values = {
        "flat": lambda a: 20.0,
        "confidence": lambda a: of_residue[a.chain, a.number],
        "mobile": lambda a: 180.0,
        "none": lambda a: 0.0,
        "any": lambda a: rng.uniform(5.0, 99.0),
    }
    return [replace(a, bfactor=round(float(values[kind](a)), 2)) for a in atoms]


def predicted(predictor: Predictor, protein: Path, ligand: Path | None, **options: object) -> Prediction:
    given = PredictionOptions(**options)  # type: ignore[arg-type]
    return predict_complex(predictor, protein, ligand and str(ligand), given, "x")


def is_copied(residue: gemmi.Residue) -> bool:
    return residue.name in ("HOH", "ZN", "TPO")


@pytest.mark.parametrize("kind", ["confidence", "mobile", "none", "any"])
@pytest.mark.parametrize("backbone", ["input", "predicted"])
def test_bfactors_change_nothing_but_those_of_copied_atoms(
    predictor: Predictor, ligand: Path, tmp_path: Path, kind: str, backbone: str
) -> None:
    found = []
    for name in ("flat", kind):
        atoms = with_bfactors(messy_protein(), name)
        protein = write_pdb(tmp_path / "protein.pdb", atoms)
        prediction = predicted(predictor, protein, ligand, backbone=backbone, samples=2)
        output = tmp_path / "out.pdb"
        write_prediction(prediction, predictor, output)
        summary = summarise(prediction, output)
        summary["notes"] = [note for note in summary["notes"] if CONFIDENCE not in note]
        structure = gemmi.read_structure(str(output))
        copied = []
        for model in structure:
            for chain in model:
                for residue in chain:
                    if is_copied(residue):
                        copied += [atom.b_iso for atom in residue]
                        for atom in residue:
                            atom.b_iso = 0.0
        given = {(a.chain, a.number, a.name): a.bfactor for a in atoms}
        assert copied == pytest.approx(
            [
                given[chain.name, residue.seqid.num, atom.name]
                for model in gemmi.read_structure(str(output))
                for chain in model
                for residue in chain
                if is_copied(residue)
                for atom in residue
            ]
        )
        found.append((structure.make_pdb_string(), summary))
    assert found[0] == found[1]


def test_no_bfactor_reaches_the_model(predictor: Predictor, ligand: Path, tmp_path: Path) -> None:
    protein = write_pdb(tmp_path / "protein.pdb", with_bfactors(messy_protein(), "mobile"))
    prediction = predicted(predictor, protein, ligand)
    assert not prediction.complex.batch().bfactor.any()
    assert len(prediction.complex.table) - len(prediction.complex.kept) == 26  # all but TPO are built


@pytest.mark.parametrize(("kind", "noted"), [("confidence", True), ("flat", False), ("any", False), ("none", False)])
def test_confidence_in_the_column_is_noted(predictor: Predictor, tmp_path: Path, kind: str, noted: bool) -> None:
    protein = write_pdb(tmp_path / "model.pdb", with_bfactors(peptide("AFKDSWLEGHRM"), kind))
    notes = predicted(predictor, protein, None).complex.notes
    assert any(CONFIDENCE in note for note in notes) == noted


@pytest.mark.parametrize(("height", "noted"), [(1.5, True), (6.5, False)])
def test_a_ligand_on_the_backbone_is_predicted_with_a_note(
    predictor: Predictor, tmp_path: Path, height: float, noted: bool
) -> None:
    atoms = peptide("AFKDSWLEGHRM")
    protein = write_pdb(tmp_path / "apo.pdb", atoms)
    middle = np.array(next(a.xyz for a in atoms if a.number == 6 and a.name == "CA"))
    mol = embedded("C", middle + np.array([0.0, 0.0, height]))
    ligand = tmp_path / "ligand.sdf"
    ligand.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    prediction = predicted(predictor, protein, ligand)
    assert any(OVERLAP in note for note in prediction.complex.notes) == noted
    assert np.isfinite(prediction.samples[0].xyz).all()
