"""Molecules beside protein and ligand: which atoms side chains keep clear of, and that they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import SEQUENCE, messy_protein, scrambled, stripped
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.data.batch import collate_ipa_batch
from bindrae.prediction.beside import other_molecules
from bindrae.prediction.inputs import Complex, read_complex
from bindrae.prediction.keep import keep_named, keep_unbuildable
from bindrae.prediction.predict import Prediction, PredictionOptions, Predictor, predict_complex
from bindrae.prediction.refine import Scene
from bindrae.prediction.summary import summarise
from bindrae.prediction.write import write_prediction
from complexes import Atom, hetero, peptide, posed, write_pdb

PHE = 2  # residue of the model's favourite rotamer below
GLYCEROL = ("C1", "O1", "C2", "O2", "C3", "O3")


def predict(predictor: Predictor, protein: Path, ligand: Path | None = None, **options: object) -> Prediction:
    return predict_complex(predictor, protein, ligand and str(ligand), PredictionOptions(**options), "x")  # type: ignore[arg-type]


def favourite(predictor: Predictor, protein: Path, number: int) -> np.ndarray:
    """Side chain [S, 3] beyond CB of a residue of chain A where the file holds the protein alone."""
    prediction = predict(predictor, write_pdb(protein, peptide(SEQUENCE)))
    row = prediction.complex.table.number.tolist().index(number)
    sample = prediction.samples[0]
    return np.asarray(sample.xyz[row, aa.SLOT_CB + 1 :][sample.mask[row, aa.SLOT_CB + 1 :]], dtype=float)


def distance_to(prediction: Prediction, number: int, point: np.ndarray) -> float:
    """Smallest distance (A) of a residue's side chain beyond CB to a point."""
    row = prediction.complex.table.number.tolist().index(number)
    sample = prediction.samples[0]
    atoms = sample.xyz[row, aa.SLOT_CB + 1 :][sample.mask[row, aa.SLOT_CB + 1 :]]
    return float(np.linalg.norm(atoms - point, axis=1).min())


def ends_of(complex_: Complex) -> list[tuple[str, str]]:
    """Residue and atom names of what counts as other molecules."""
    keep_unbuildable(complex_)
    source, others = complex_.source, other_molecules(complex_)
    return [(source.residue_name[i].decode(), source.name[i].decode()) for i in others.index.tolist() if i >= 0]


@pytest.mark.parametrize("with_ligand", [True, False])
def test_a_cofactor_pushes_a_side_chain_away_but_a_metal_does_not(
    predictor: Predictor, protein: Path, ligand: Path, with_ligand: bool
) -> None:
    tip = favourite(predictor, protein, PHE)[-1]  # CZ, more than 20 A from the ligand
    given = ligand if with_ligand else None
    cofactor = hetero("NAD", 501, {"C1": np.add(tip, (0.5, 0.0, 0.0)), "C2": np.add(tip, (1.4, 1.2, 0.0))})
    pushed = predict(predictor, write_pdb(protein, peptide(SEQUENCE) + cofactor), given)
    assert distance_to(pushed, PHE, np.add(tip, (0.5, 0.0, 0.0))) > 2.75
    metal = hetero("ZN", 501, {"ZN": np.add(tip, (0.5, 0.0, 0.0))})
    stayed = predict(predictor, write_pdb(protein, peptide(SEQUENCE) + metal), given)
    assert distance_to(stayed, PHE, tip) < 0.8
    assert not len(stayed.others.radius[stayed.others.radius > 0])


def test_a_calcium_that_the_file_calls_carbon_pushes_nothing(predictor: Predictor, protein: Path) -> None:
    tip = favourite(predictor, protein, PHE)[-1]
    calcium = [replace(a, element="C") for a in hetero("CA", 501, {"CA": tip})]
    stayed = predict(predictor, write_pdb(protein, peptide(SEQUENCE) + calcium))
    assert stayed.others.radius.tolist() == [0.0]
    assert distance_to(stayed, PHE, tip) < 0.8


def test_which_atoms_are_other_molecules(protein: Path, tmp_path: Path) -> None:
    atoms = peptide(SEQUENCE)
    middle = np.array(next(a.xyz for a in atoms if a.number == 10 and a.name == "CA"))
    points = {name: np.add(middle, (1.5 * i, 0.3 * (i % 2), 6.0)) for i, name in enumerate(GLYCEROL)}
    glycerol = hetero("GOL", 501, points)
    mol = posed("OCC(O)CO", [points[name] for name in ("O1", "C1", "C2", "O2", "C3", "O3")])
    given = tmp_path / "ligand.sdf"
    given.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    nucleotide = [
        replace(a, hetero=False) for a in hetero("DA", 601, {"P": np.add(middle, (0.0, 6.0, 0.0))}, chain="D")
    ]
    sugar = hetero("NAG", 502, {"C1": np.add(middle, (0.0, -6.0, 0.0)), "O1": np.add(middle, (1.4, -6.0, 0.0))})
    far = hetero("SO4", 503, {"S": np.add(middle, (0.0, 90.0, 0.0))})
    water = hetero("HOH", 504, {"O": np.add(middle, (0.0, -9.0, 0.0))})
    hydrogen = hetero("NAG", 502, {"H1": np.add(middle, (0.0, -6.0, 1.0))})
    rest = sugar + hydrogen + nucleotide + far + water
    # A glycerol in two locations is the ligand, whichever of them stays.
    second = [replace(a, altloc="B", occupancy=0.7, xyz=tuple(np.add(a.xyz, (0.0, 1.2, 0.0)))) for a in glycerol]
    first = [replace(a, altloc="A", occupancy=0.3) for a in glycerol]
    write_pdb(protein, atoms + first + second + rest)
    assert ends_of(read_complex("x", protein, str(given))) == [("NAG", "C1"), ("NAG", "O1"), ("DA", "P")]
    write_pdb(protein, atoms + glycerol + rest)
    names = ends_of(read_complex("x", protein, None))
    assert names == [*(("GOL", name) for name in GLYCEROL), ("NAG", "C1"), ("NAG", "O1"), ("DA", "P")]


def test_of_residues_without_a_frame_only_what_is_written_counts(protein: Path) -> None:
    atoms = [a for a in peptide(SEQUENCE) if (a.number, a.name) != (7, "N")]
    write_pdb(protein, atoms)
    complex_ = read_complex("x", protein, None)
    assert ends_of(complex_) == [("LEU", "CA"), ("LEU", "C"), ("LEU", "O")]
    keep_named(complex_, ["A:7"])
    assert ("LEU", "CD1") in ends_of(complex_)


def test_what_is_left_of_a_modified_residue_counts(predictor: Predictor, protein: Path) -> None:
    write_pdb(protein, messy_protein())
    prediction = predict(predictor, protein)
    assert sorted(prediction.others.element.tolist()) == [15, 30]  # the phosphate of TPO, and zinc
    assert summarise(prediction, Path("x"))["samples"][0]["other_molecules_clashing_atoms"] == 0


def beside_cofactor(change: list[Atom]) -> list[Atom]:
    """A protein with a cofactor in the way of its side chains, and a residue without a nitrogen."""
    at = next(a.xyz for a in peptide(SEQUENCE) if a.number == PHE and a.name == "CZ")
    cofactor = hetero("NAD", 501, {"C1": np.add(at, (0.3, 0.0, 0.0)), "O2": np.add(at, (1.2, 1.0, 0.0))})
    return [a for a in change if (a.number, a.chain, a.name) != (7, "A", "N")] + cofactor


def test_side_chains_are_not_read_beside_a_cofactor(
    predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path
) -> None:
    outputs = []
    for change in (list, scrambled, stripped):
        prediction = predict(predictor, write_pdb(protein, beside_cofactor(change(messy_protein()))), ligand)
        assert (prediction.others.radius > 0).sum() == 1 + 2 + 3
        write_prediction(prediction, predictor, tmp_path / "out.pdb")
        outputs.append((tmp_path / "out.pdb").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_another_pose_of_the_ligand_is_told(predictor: Predictor, protein: Path, ligand: Path) -> None:
    points = Chem.MolFromMolFile(str(ligand)).GetConformer().GetPositions()
    shifted = {f"C{i}": np.add(point, (0.7, 0.0, 0.0)) for i, point in enumerate(points)}
    write_pdb(protein, peptide(SEQUENCE) + hetero("LIG", 501, shifted))
    notes = predict(predictor, protein, ligand).complex.notes
    assert any("LIG A:501 stands where the ligand stands" in note for note in notes)


def test_evaluation_has_the_context_of_the_shards() -> None:
    sample = random_sample(12, 0)
    sample["context_xyz"] = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    sample["context_element"] = torch.tensor([6, 30], dtype=torch.int16)
    circle = torch.zeros(12, 7, 2)
    circle[..., 1] = 1.0
    obstacles = Scene.of_sample(sample, collate_ipa_batch([("x", sample)]), circle).obstacles
    n = len(sample["ligand_xyz"])
    assert obstacles.xyz[n:].tolist() == sample["context_xyz"].tolist()
    assert obstacles.radius[n:].round(2).tolist() == [1.7, 0.0]
    assert len(obstacles.organic().xyz) == n + 1
