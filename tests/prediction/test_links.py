"""Bonds to ligands and cofactors that the input file states: they are made, and their atoms do not push."""

from __future__ import annotations

import math
from pathlib import Path

import gemmi
import numpy as np
import pytest
from prediction_cases import scrambled, stripped
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_SEPARATION
from bindrae.prediction.obstacles import Bond, Obstacles
from bindrae.prediction.predict import Prediction, PredictionOptions, Predictor, predict_complex
from bindrae.prediction.write import write_prediction
from complexes import Atom, hetero, pdb_text, peptide, place, posed

SEQUENCE = "AGSACAGNAKA"
CYS, ASN, LYS = 5, 8, 10
SG = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")
BOND_ANGSTROM = 1.8


def bound_ligand(chi1: float) -> list[Atom]:
    """Propanol that stands bonded to SG of the cysteine when that has this chi1 (degrees)."""
    at = {a.name: np.array(a.xyz) for a in peptide(SEQUENCE) if a.number == CYS}
    sulphur = place(at["N"], at["CA"], at["CB"], 1.81, 114.0, chi1)
    chain = [at["CA"], at["CB"], sulphur]
    for length, angle, torsion in ((BOND_ANGSTROM, 102.0, 180.0), (1.53, 112.0, 180.0), (1.53, 112.0, 180.0),
                                   (1.43, 110.0, 180.0)):  # fmt: skip
        chain.append(place(*chain[-3:], length, angle, torsion))
    return hetero("POL", 301, dict(zip(("C3", "C2", "C1", "O"), chain[3:], strict=True)))


def link(first: str, second: str) -> str:
    """A LINK record between atoms written as ``SG CYS A 5``."""
    ends = []
    for end in (first, second):
        name, residue, chain, number = end.split()
        ends.append(f" {name:<3} {residue:>3} {chain}{int(number):4d} ")
    return f"LINK        {ends[0]}               {ends[1]}    1555   1555  1.80\n"


BOUND = link(f"SG CYS A {CYS}", "C3 POL A 301")


def write(path: Path, atoms: list[Atom], *records: str) -> Path:
    path.write_text("".join(records) + pdb_text(atoms) + "END\n")
    return path


def as_sdf(path: Path, ligand: list[Atom]) -> str:
    """The ligand in a file of its own."""
    path.write_text(Chem.MolToMolBlock(posed("CCCO", [a.xyz for a in ligand])) + "$$$$\n")
    return str(path)


def predict(predictor: Predictor, protein: Path, ligand: str | None = None, **options: object) -> Prediction:
    return predict_complex(predictor, protein, ligand, PredictionOptions(**options), "x")  # type: ignore[arg-type]


def bond_length(prediction: Prediction, partner: Atom, number: int = CYS, slot: int = SG) -> float:
    row = prediction.complex.table.number.tolist().index(number)
    return float(np.linalg.norm(prediction.samples[0].xyz[row, slot] - np.array(partner.xyz)))


@pytest.mark.parametrize("chi1", [-65.0, 60.0, 180.0])
def test_a_link_keeps_the_sulphur_at_bonding_distance(predictor: Predictor, tmp_path: Path, chi1: float) -> None:
    ligand = bound_ligand(chi1)
    protein = write(tmp_path / "p.pdb", peptide(SEQUENCE) + ligand, BOUND)
    bound = predict(predictor, protein, as_sdf(tmp_path / "l.sdf", ligand))
    assert bond_length(bound, ligand[0]) == pytest.approx(BOND_ANGSTROM, abs=0.15)
    assert bound.complex.notes == []


def test_links_of_other_molecules_and_of_mmcif_count(predictor: Predictor, tmp_path: Path) -> None:
    ligand = bound_ligand(60.0)
    structure = gemmi.read_structure(str(write(tmp_path / "p.pdb", peptide(SEQUENCE) + ligand, BOUND)))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "p.cif"))
    bound = predict(predictor, tmp_path / "p.cif")
    assert bond_length(bound, ligand[0]) == pytest.approx(BOND_ANGSTROM, abs=0.15)


def test_without_a_link_the_ligand_pushes_and_a_note_says_so(predictor: Predictor, tmp_path: Path) -> None:
    ligand = bound_ligand(-65.0)
    sdf = as_sdf(tmp_path / "l.sdf", ligand)
    free = predict(predictor, write(tmp_path / "p.pdb", peptide(SEQUENCE) + ligand), sdf)
    assert bond_length(free, ligand[0]) > 2.6
    (note,) = free.complex.notes
    assert f"CYS A:{CYS}" in note
    assert f"--fix A:{CYS}" in note
    fixed = predict(predictor, tmp_path / "p.pdb", sdf, fix=(f"A:{CYS}",))
    assert bond_length(fixed, ligand[0]) == pytest.approx(BOND_ANGSTROM, abs=0.05)
    assert fixed.complex.notes == []


def test_side_chains_are_not_read_where_a_link_is(predictor: Predictor, tmp_path: Path) -> None:
    outputs, sdf = [], as_sdf(tmp_path / "l.sdf", bound_ligand(60.0))
    for change in (list, scrambled, stripped):
        protein = write(tmp_path / "p.pdb", change(peptide(SEQUENCE)) + bound_ligand(60.0), BOUND)
        prediction = predict(predictor, protein, sdf, samples=2)
        write_prediction(prediction, predictor, tmp_path / "out.pdb")
        outputs.append((tmp_path / "out.pdb").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    assert b"LINK" in outputs[0]


def test_a_sugar_stays_on_its_asparagine(predictor: Predictor, tmp_path: Path) -> None:
    at = {a.name: np.array(a.xyz) for a in peptide(SEQUENCE) if a.number == ASN}
    first = place(at["CB"], at["CG"], at["ND2"], 1.45, 123.0, 180.0)
    second = place(at["CG"], at["ND2"], first, 1.43, 110.0, 120.0)
    sugar = hetero("NAG", 401, {"C1": first, "O5": second})
    record = link(f"ND2 ASN A {ASN}", "C1 NAG A 401")
    bound = predict(predictor, write(tmp_path / "p.pdb", peptide(SEQUENCE) + sugar, record))
    slot = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["ASN"]].index("ND2")
    assert bond_length(bound, sugar[0], ASN, slot) == pytest.approx(1.45, abs=0.2)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (link(f"SG CYS A {CYS}", "C9 POL A 301"), "C9 POL A:301"),
        (link(f"SG CYS A {CYS}", "C3 POL A 999"), "C3 POL A:999"),
        (link(f"OG CYS A {CYS}", "C3 POL A 301"), f"OG CYS A:{CYS}"),
    ],
)
def test_a_link_to_an_atom_that_is_not_there(predictor: Predictor, tmp_path: Path, record: str, said: str) -> None:
    protein = write(tmp_path / "p.pdb", peptide(SEQUENCE) + bound_ligand(180.0), record)
    sdf = as_sdf(tmp_path / "l.sdf", bound_ligand(180.0))
    notes = predict(predictor, protein, sdf).complex.notes
    assert any("names an atom that is not there" in note and said in note for note in notes)


def test_a_link_that_cannot_be_made_is_told_and_bends_nothing(predictor: Predictor, tmp_path: Path) -> None:
    atoms = peptide(SEQUENCE) + bound_ligand(180.0)
    sdf = as_sdf(tmp_path / "l.sdf", bound_ligand(180.0))
    plain = predict(predictor, write(tmp_path / "p.pdb", atoms), sdf)
    wrong = predict(predictor, write(tmp_path / "p.pdb", atoms, link("OG SER A 3", "C3 POL A 301")), sdf)
    assert any("was not made" in note and "SER A:3" in note for note in wrong.complex.notes)
    row = wrong.complex.table.number.tolist().index(3)
    assert np.allclose(wrong.samples[0].xyz[row], plain.samples[0].xyz[row], atol=0.3)


def test_links_that_push_nothing_are_passed_over(predictor: Predictor, tmp_path: Path) -> None:
    at = next(np.array(a.xyz) for a in peptide(SEQUENCE) if (a.number, a.name) == (LYS, "NZ"))
    beside = hetero("ZN", 501, {"ZN": np.add(at, (0.0, 0.0, 2.1))}) + hetero(
        "HOH", 601, {"O": np.add(at, (0.0, 2.0, 0.0))}
    )
    records = [
        link(f"NZ LYS A {LYS}", "ZN ZN A 501"), link(f"NZ LYS A {LYS}", "O HOH A 601"),
        link(f"SG CYS A {CYS}", "OG SER A 3"),
        link(f"SG CYS A {CYS}", "ZN ZN A 501").replace("1555   1555", "1555   2555"),
    ]  # fmt: skip
    with_links = predict(predictor, write(tmp_path / "p.pdb", peptide(SEQUENCE) + beside, *records))
    without = predict(predictor, write(tmp_path / "q.pdb", peptide(SEQUENCE) + beside))
    assert with_links.complex.notes == without.complex.notes
    assert np.array_equal(with_links.samples[0].xyz, without.samples[0].xyz)


def test_pairs_around_a_bond_do_not_clash() -> None:
    """CB and the bonded atom's neighbours stand 1-3 and 1-4; farther atoms and other residues may clash."""
    points = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0], [3.5, 1.4, 0.0], [9.0, 0.0, 0.0]])
    obstacles = Obstacles(points, np.array([1.7, 1.7, 1.7, 1.7, 0.0]), (Bond(1, SG, 0, 1.8),))
    kind = np.full(3, aa.TYPE_OF_NAME["CYS"])
    ca, cb = aa.SLOT_CA, aa.SLOT_CB
    slots, atoms = np.meshgrid([SG, cb, ca], np.arange(4), indexing="ij")
    steps = np.add.outer([0, 1, 2], [1, 2, 3, 4])
    free = obstacles.may_clash(np.full(12, 1), slots.ravel(), atoms.ravel(), kind)
    assert np.array_equal(free, (steps >= CLASH_SEPARATION).ravel())
    assert obstacles.may_clash(np.full(12, 2), slots.ravel(), atoms.ravel(), kind).all()
    with_metal = Obstacles(points[::-1], obstacles.radius[::-1], (Bond(1, SG, 4, 1.8), Bond(2, SG, 0, 2.3)))
    assert with_metal.organic().bonds == (Bond(1, SG, 3, 1.8),)
    assert math.isclose(float(obstacles.bonds[0].miss(np.array(1.3))), 0.5)
