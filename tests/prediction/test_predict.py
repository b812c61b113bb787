"""One complex from files to file: what is read, what is kept, what is written."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import BACKBONE, SEQUENCE, messy_protein, scrambled, stripped

from bindrae import __version__
from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch
from bindrae.errors import BindraeError, RejectedComplex
from bindrae.evaluation.metrics import find_clashes
from bindrae.model.context import KnownSidechains
from bindrae.model.stage1 import Stage1, Stage1Output
from bindrae.prediction.keep import parse_places
from bindrae.prediction.predict import Prediction, PredictionOptions, Predictor, predict_complex
from bindrae.prediction.rotamers import HeadInputs, run_model
from bindrae.prediction.summary import summarise
from bindrae.prediction.tune import try_sample
from bindrae.prediction.write import write_prediction
from bindrae.structure.torsions import residue_torsions
from complexes import Atom, hetero, peptide, rename, write_pdb

Key = tuple[str, str, str, str]


def predict(predictor: Predictor, protein: Path, ligand: Path | None, **options: object) -> Prediction:
    return predict_complex(predictor, protein, ligand and str(ligand), PredictionOptions(**options), "x")  # type: ignore[arg-type]


def written(predictor: Predictor, prediction: Prediction, path: Path) -> gemmi.Structure:
    write_prediction(prediction, predictor, path)
    return gemmi.read_structure(str(path))


def atoms_of(structure: gemmi.Structure) -> dict[Key, gemmi.Atom]:
    """Atoms of the first model by chain, number with insertion code, residue name and atom name."""
    return {
        (chain.name, str(residue.seqid), residue.name, atom.name): atom
        for chain in structure[0]
        for residue in chain
        for atom in residue
    }


@pytest.mark.parametrize("ending", ["pdb", "cif"])
@pytest.mark.parametrize("refine", [True, False])
def test_side_chains_are_not_read(
    predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path, ending: str, refine: bool
) -> None:
    outputs, summaries = [], []
    for change in (list, scrambled, stripped):
        write_pdb(protein, change(messy_protein()))
        prediction = predict(predictor, protein, ligand, refine=refine, samples=2)
        output = tmp_path / f"out.{ending}"
        write_prediction(prediction, predictor, output)
        outputs.append(output.read_bytes())
        summaries.append(summarise(prediction, output))
    assert outputs[0] == outputs[1] == outputs[2]
    assert summaries[0] == summaries[1] == summaries[2]


@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_everything_else_stays(predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path, ending: str) -> None:
    before = atoms_of(gemmi.read_structure(str(protein)))
    prediction = predict(predictor, protein, ligand)
    after = atoms_of(written(predictor, prediction, tmp_path / f"out.{ending}"))
    assert [k[:3] for k in dict.fromkeys(k[:3] for k in before)] == [k[:3] for k in dict.fromkeys(k[:3] for k in after)]
    moved = {k for k in after if np.abs(np.subtract(after[k].pos.tolist(), before[k].pos.tolist())).max() > 1e-3}
    assert not [k for k in moved if k[3] in BACKBONE or (k[2] in ("TPO", "ZN", "HOH", "GLY", "ALA") and k[3] != "CB")]
    assert len([k for k in moved if k[2] == "TRP"]) >= 9  # CG and beyond: the side chains are new
    untouched = [k for k in before if k[2] in ("TPO", "ZN", "HOH")]
    assert [after[k].b_iso for k in untouched] == [before[k].b_iso for k in untouched]
    assert ("B", "303", "TPO", "P") in after
    assert ("A", "4A", "SER", "OG") in after
    assert {atom.altloc for atom in after.values()} == {"\0"}
    assert not [k for k in after if k[3] == "HA"]
    for name, kind in aa.TYPE_OF_NAME.items():
        expected = set(filter(None, aa.ATOM14_NAMES[kind]))
        for place in {k[:3] for k in after if k[2] == name}:
            assert {k[3] for k in after if k[:3] == place} == expected


def test_confidence_and_provenance_are_in_the_file(
    predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path
) -> None:
    prediction = predict(predictor, protein, ligand)
    after = atoms_of(written(predictor, prediction, tmp_path / "out.pdb"))
    confidence = prediction.samples[0].confidence
    assert confidence is not None
    trp = prediction.complex.table.name.index("TRP")
    (bfactor,) = {after[k].b_iso for k in after if k[2] == "TRP"}
    assert bfactor == pytest.approx(100 * float(confidence[trp]), abs=0.006)
    assert all(after[k].b_iso == 100 for k in after if k[2] in ("GLY", "ALA"))
    text = (tmp_path / "out.pdb").read_text()
    assert predictor.sha256 in text
    assert f"BINDRAE {__version__}" in text
    write_prediction(prediction, predictor, tmp_path / "out.cif")
    assert predictor.sha256 in (tmp_path / "out.cif").read_text()


def test_samples_are_models(predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path) -> None:
    one = predict(predictor, protein, ligand)
    four = predict(predictor, protein, ligand, samples=4, seed=1)
    again = predict(predictor, protein, ligand, samples=4, seed=1)
    other = predict(predictor, protein, ligand, samples=4, seed=2)
    assert len(written(predictor, four, tmp_path / "out.pdb")) == 4
    assert len(written(predictor, four, tmp_path / "out.cif")) == 4
    for a, b in zip(four.samples, again.samples, strict=True):
        assert np.array_equal(a.xyz, b.xyz)
    assert len({sample.xyz.tobytes() for sample in four.samples}) == 4
    assert four.samples[1].xyz.tobytes() != other.samples[1].xyz.tobytes()
    unrefined = predict(predictor, protein, ligand, refine=False, samples=2)
    output, _ = run_model(predictor.model, unrefined.complex.batch(), None)
    decoded = torch.atan2(*output.torsions.circle[0, :, 3:].unbind(-1)).numpy()
    assert np.array_equal(unrefined.samples[0].chi, decoded)
    assert len(one.samples) == 1


def test_refinement_removes_clashes(predictor: Predictor, protein: Path, ligand: Path) -> None:
    counts = []
    for refine in (False, True):
        prediction = predict(predictor, protein, ligand, refine=refine)
        table, sample = prediction.complex.table, prediction.samples[0]
        found = find_clashes(
            sample.xyz, sample.mask, table.aatype.astype(int), table.linked,
            prediction.complex.sample["ligand_xyz"].numpy(), np.full(len(prediction.complex.sample["ligand_xyz"]), 1.7),
        )  # fmt: skip
        counts.append(int(found["protein"].sum() + found["ligand"].sum()))
    assert counts[1] < counts[0]


def test_fixed_residues_keep_their_side_chain(
    predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path
) -> None:
    before = atoms_of(gemmi.read_structure(str(protein)))
    prediction = predict(predictor, protein, ligand, fix=("A:6", "A:4A", "A:3"))
    after = atoms_of(written(predictor, prediction, tmp_path / "out.pdb"))
    kept = [k for k in after if k[:2] in (("A", "6"), ("A", "4A"), ("A", "3"))]
    assert len(kept) == 14 + 6 + 9
    lys = {k: a for k, a in before.items() if k[1] == "3"}
    for k in kept:
        if k not in lys or k[3] in BACKBONE:
            assert after[k].pos.tolist() == before[k].pos.tolist()
            assert after[k].b_iso == before[k].b_iso
    # Of LYS 3 the location of the higher occupancy stays; gemmi's dictionary above holds the other one.
    offset = np.subtract(after["A", "3", "LYS", "NZ"].pos.tolist(), before["A", "3", "LYS", "NZ"].pos.tolist())
    assert np.allclose(offset, -0.3, atol=2e-3)
    assert after["A", "7", "LEU", "CG"].pos.tolist() != before["A", "7", "LEU", "CG"].pos.tolist()
    assert {item["residue"] for item in summarise(prediction, tmp_path)["left_as_they_are"]} == {
        "A:6", "A:4A", "A:3", "B:303",
    }  # fmt: skip


def test_fixed_residues_that_are_not_there(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match="holds no residue A:77"):
        predict(predictor, protein, None, fix=("A:6", "A:77"))
    listed = tmp_path / "fix.txt"
    listed.write_text("A:6  # near the metal\nB:12A, C:-3\n")
    assert parse_places(str(listed)) == ["A:6", "B:12A", "C:-3"]
    assert parse_places("A:6,A:6,:7") == ["A:6", ":7"]
    with pytest.raises(BindraeError, match="does not name a residue"):
        parse_places("A:6,7")
    with pytest.raises(BindraeError, match="neither a residue nor"):
        parse_places(str(tmp_path / "none.txt"))


def test_only_the_pocket_is_rebuilt(predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path) -> None:
    atoms = [a for a in messy_protein() if not (a.residue == "GLU" and a.chain == "B" and a.name == "CD")]
    write_pdb(protein, atoms)
    prediction = predict(predictor, protein, ligand, only_pocket=8.0)
    before = atoms_of(gemmi.read_structure(str(protein)))
    after = atoms_of(written(predictor, prediction, tmp_path / "out.pdb"))
    far = [k for k in before if k[:2] in (("A", "1"), ("A", "2"), ("A", "20")) and k[3] != "HA"]
    assert [after[k].pos.tolist() for k in far] == [before[k].pos.tolist() for k in far]
    near = ("A", str(SEQUENCE.index("H") + 1), "HIS", "CE1")
    assert after[near].pos.tolist() != before[near].pos.tolist()
    assert ("B", "307", "GLU", "CD") in after  # incomplete, so it is rebuilt
    assert any("lack atoms of their side chain" in note for note in prediction.complex.notes)
    with pytest.raises(BindraeError, match="needs a ligand"):
        predict(predictor, protein, None, only_pocket=8.0)


def test_bare_backbones(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    atoms = [a for a in peptide(SEQUENCE) if a.name in ("N", "CA", "C")]
    atoms = [a for a in atoms if a.number != 7 or a.name == "CA"]
    write_pdb(protein, atoms)
    prediction = predict(predictor, protein, None)
    after = atoms_of(written(predictor, prediction, tmp_path / "out.pdb"))
    assert [k[3] for k in after if k[1] == "7"] == ["CA"]
    assert {k[3] for k in after if k[1] == "2"} == set(filter(None, aa.ATOM14_NAMES[aa.TYPE_OF_NAME["PHE"]]))
    o, c, n = (np.array(after["A", str(r), aa_name, name].pos.tolist()) for r, aa_name, name in
               ((2, "PHE", "O"), (2, "PHE", "C"), (3, "LYS", "N")))  # fmt: skip
    assert np.linalg.norm(o - c) == pytest.approx(1.23, abs=0.02)
    assert np.linalg.norm(o - n) == pytest.approx(2.25, abs=0.1)  # trans to CA about the peptide bond
    left = summarise(prediction, tmp_path)["left_as_they_are"]
    assert left == [{"residue": "A:7", "why": "N, CA or C is missing"}]
    write_pdb(protein, [a for a in atoms if a.name == "CA"])
    with pytest.raises(RejectedComplex) as caught:
        predict(predictor, protein, None)
    assert caught.value.code == "protein_without_backbone"


def test_side_chains_without_a_backbone(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    whole = [a for a in peptide(SEQUENCE) if (a.number, a.name) != (7, "N")]
    whole = [a for a in whole if a.number != 10 or a.name not in BACKBONE]
    outputs = []
    for change in (list, scrambled, stripped):
        prediction = predict(predictor, write_pdb(protein, change(whole)), None)
        write_prediction(prediction, predictor, tmp_path / "out.pdb")
        outputs.append((tmp_path / "out.pdb").read_bytes())
        if change is list:
            assert any("A:10" in note for note in prediction.complex.notes)
    assert outputs[0] == outputs[1] == outputs[2]
    after = atoms_of(gemmi.read_structure(str(tmp_path / "out.pdb")))
    assert [k[3] for k in after if k[1] == "7"] == ["CA", "C", "O"]
    assert not [k for k in after if k[1] == "10"]
    write_pdb(protein, whole)
    fixed = atoms_of(written(predictor, predict(predictor, protein, None, fix=("A:7",)), tmp_path / "out.pdb"))
    assert {"CG", "CD1", "CD2"} <= {k[3] for k in fixed if k[1] == "7"}


def test_selenomethionine_is_built(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    atoms = rename(peptide("AGMAF"), 3, "MSE", {"SD": "SE"})
    write_pdb(protein, stripped_of(atoms, "SE"))
    after = atoms_of(written(predictor, predict(predictor, protein, None), tmp_path / "out.pdb"))
    assert after["A", "3", "MSE", "SE"].element.name == "Se"
    assert ("A", "3", "MSE", "SD") not in after


def stripped_of(atoms: list[Atom], name: str) -> list[Atom]:
    return [a for a in atoms if a.name != name]


def test_one_of_two_residues_at_a_position(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    atoms = peptide("AGFAG")
    phe = [replace(a, altloc="A", occupancy=0.3) for a in atoms if a.number == 3]
    leu = [replace(a, altloc="B", occupancy=0.7) for a in peptide("AGLAG") if a.number == 3]
    write_pdb(protein, [a for a in atoms if a.number < 3] + phe + leu + [a for a in atoms if a.number > 3])
    after = atoms_of(written(predictor, predict(predictor, protein, None), tmp_path / "out.pdb"))
    assert {k[2] for k in after if k[1] == "3"} == {"LEU"}


def test_the_predicted_backbone_is_offered(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    moved = predict(predictor, protein, None, backbone="predicted")
    stays = predict(predictor, protein, None)
    table = stays.complex.table
    assert np.array_equal(stays.samples[0].xyz[:, :3], table.xyz[:, :3])
    shift = np.abs(moved.samples[0].xyz[:, :3] - table.xyz[:, :3]).max(axis=(1, 2))
    built = [row for row in range(len(table)) if row not in moved.complex.kept]
    assert (shift[built] > 1e-4).any()


def test_notes_tell_of_doubtful_inputs(predictor: Predictor, protein: Path, ligand: Path) -> None:
    assert "no ligand" in predict(predictor, protein, None).complex.notes[0]
    assert not predict(predictor, protein, ligand).complex.notes
    far = [replace(a, xyz=tuple(np.add(a.xyz, (80.0, 0.0, 0.0)))) for a in messy_protein()]
    assert "touches nothing" in predict(predictor, write_pdb(protein, far), ligand).complex.notes[0]
    sure = [replace(a, bfactor=float(50 + a.number % 40)) for a in peptide(SEQUENCE)]
    notes = predict(predictor, write_pdb(protein, sure), None).complex.notes
    assert any("confidence of a predicted model" in note for note in notes)


def test_faulty_proteins_are_refused(predictor: Predictor, protein: Path, tmp_path: Path) -> None:
    text = protein.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(text) if line[12:16] == " CA " and line[22:26] == "   8")
    text[at] = text[at][:30] + "     nan" + text[at][38:]
    protein.write_text("".join(text))
    with pytest.raises(RejectedComplex, match="CA of residue A:8"):
        predict(predictor, protein, None)
    with pytest.raises(RejectedComplex) as caught:
        predict(predictor, write_pdb(protein, hetero("ZN", 1, {"ZN": (0.0, 0.0, 0.0)})), None)
    assert caught.value.code == "protein_empty"
    with pytest.raises(RejectedComplex) as caught:
        predict(predictor, tmp_path / "none.pdb", None)
    assert caught.value.code == "protein_missing"


def test_too_large_a_protein_is_refused(predictor: Predictor, protein: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bindrae.config import CleanSettings
    from bindrae.prediction import inputs

    monkeypatch.setattr(inputs, "CleanSettings", lambda: CleanSettings(max_residues=10))
    with pytest.raises(RejectedComplex) as caught:
        predict(predictor, protein, None)
    assert caught.value.code == "protein_too_large"


def test_a_ligand_in_the_protein_file(predictor: Predictor, protein: Path, ligand: Path, tmp_path: Path) -> None:
    points = {"C1": (0.0, 0.0, 0.0), "C2": (1.5, 0.0, 0.0), "O1": (-0.7, 1.2, 0.0), "O2": (2.2, 1.2, 0.0)}
    middle = np.array(next(a.xyz for a in messy_protein() if a.number == 10 and a.name == "CA"))
    glycol = hetero("EDO", 501, {name: middle + xyz + (0.0, 0.0, 6.0) for name, xyz in points.items()})
    write_pdb(protein, messy_protein() + glycol)
    inside = predict_complex(predictor, protein, "hetatm:EDO/A/501")
    assert len(inside.complex.sample["lig_points"]) >= 4
    after = atoms_of(written(predictor, inside, tmp_path / "out.pdb"))
    assert [after["A", "501", "EDO", a.name].pos.tolist() for a in glycol] == [
        pytest.approx(list(a.xyz), abs=1e-3) for a in glycol
    ]


def test_chain_ids_that_a_pdb_file_cannot_hold(predictor: Predictor, tmp_path: Path) -> None:
    structure = gemmi.read_structure(str(write_pdb(tmp_path / "p.pdb", peptide(SEQUENCE))))
    structure[0][0].name = "LONG"
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "p.cif"))
    prediction = predict(predictor, tmp_path / "p.cif", None)
    with pytest.raises(BindraeError, match="no room for the chain ids"):
        write_prediction(prediction, predictor, tmp_path / "out.pdb")
    assert {k[0] for k in atoms_of(written(predictor, prediction, tmp_path / "out.cif"))} == {"LONG"}


def test_side_chains_kept_by_request_are_shown_to_the_network(
    predictor: Predictor, protein: Path, ligand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[KnownSidechains | None] = []

    def spy(
        model: Stage1, batch: IPABatch, known: KnownSidechains | None, geometry: bool
    ) -> tuple[Stage1Output, HeadInputs]:
        given.append(known)
        return run_model(model, batch, known, geometry)

    monkeypatch.setattr("bindrae.prediction.predict.run_model", spy)
    plain = predict(predictor, protein, ligand).complex
    assert plain.kept  # TPO, which cannot be built, was not asked for
    assert given.pop() is None

    row = plain.table.name.index("TRP")
    fixed = predict(predictor, protein, ligand, fix=(plain.place(row),)).complex
    known = given.pop()
    assert known is not None
    assert torch.nonzero(known.shown[0]).flatten().tolist() == [row]
    angles, _ = residue_torsions(
        fixed.kept_xyz, fixed.kept_mask, fixed.table.aatype.astype(np.int64), fixed.table.linked
    )
    shown = torch.atan2(*known.chi[0, row].unbind(-1))[:2].numpy()
    np.testing.assert_allclose(shown, angles[row, 3:5], atol=1e-5)

    pocket = predict(predictor, protein, ligand, only_pocket=6.0).complex
    known = given.pop()
    assert known is not None
    far = {row for row, why in pocket.kept.items() if why == "outside the pocket"}
    has_chi = set(np.flatnonzero(aa.CHI_MASK[pocket.table.aatype][:, 0]).tolist())
    assert set(torch.nonzero(known.shown[0]).flatten().tolist()) == far & has_chi
    assert far & has_chi


def test_a_prediction_can_leave_the_backbones_geometry_out(predictor: Predictor, protein: Path) -> None:
    """Refined or not, and in the trials that `tune` makes; the network of the fixture's model says nothing."""
    loud = copy.deepcopy(predictor)
    assert isinstance(loud.model, Stage1)
    assert loud.model.geometry is not None
    torch.manual_seed(0)
    for part in (loud.model.geometry.network.last, loud.model.geometry.to_residue[-1]):
        torch.nn.init.normal_(part.weight)

    def chi(asked: Predictor, **options: object) -> np.ndarray:
        return predict(asked, protein, None, **options).samples[0].chi

    for refine in (True, False):
        assert (chi(loud, refine=refine, geometry=False) == chi(predictor, refine=refine)).all()
        assert (chi(loud, refine=refine) != chi(predictor, refine=refine)).any()
    sample = random_sample(30, 2)
    silent, left_out, told = (
        try_sample(model, "x", sample, geometry).rotamers.log_p
        for model, geometry in ((predictor.model, True), (loud.model, False), (loud.model, True))
    )
    assert torch.equal(left_out, silent)
    assert not torch.equal(told, silent)
