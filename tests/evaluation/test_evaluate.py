from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bindrae.config import EvaluationSettings, ModelSettings
from bindrae.data.dataset import Sample, ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_json, read_table
from bindrae.errors import BindraeError
from bindrae.evaluation import evaluate
from bindrae.evaluation.evaluate import failures, run_evaluation, score_dataset
from bindrae.evaluation.predictors import Atoms, Predictor, crystal_predictor
from bindrae.model.export import rewrite_metadata
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import Stage1
from bindrae.prediction.confidence import METADATA_KEY, Calibration, Calibrations


@pytest.fixture(scope="module")
def run(demo_layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    torch.manual_seed(0)
    folder = RunLayout(tmp_path_factory.mktemp("run"))
    save_model(Stage1(ModelSettings(c_s=32, c_z=16, depth=1, local_hidden=32, d_lig=16)), folder.model, {})
    run_evaluation(demo_layout, folder, EvaluationSettings(bootstrap=100), threads=2)
    return folder


def test_rows_stand_in_the_order_that_they_must(run: RunLayout) -> None:
    rows = read_json(run.evaluation)["rows"]
    chi1 = {name: row["overall"]["chi1_acc20"]["value"] for name, row in rows.items()}
    assert chi1["crystal"] == chi1["rebuilt"] == 100.0
    assert chi1["model"] < 35.0 < chi1["no_learning"] < 90.0  # untrained; counted on one protein
    assert rows["crystal"]["overall"]["sidechain_rmsd"]["value"] == 0.0
    assert 0.05 < rows["rebuilt"]["overall"]["sidechain_rmsd"]["value"] < 0.6
    assert rows["crystal"]["overall"]["clash_atoms_pct"]["value"] < 3.0


def test_refinement_removes_clashes_and_is_scored_beside_what_the_network_said(run: RunLayout) -> None:
    rows = read_json(run.evaluation)["rows"]
    clash = {name: rows[name]["overall"]["clash_atoms_pct"]["value"] for name in ("model", "unrefined")}
    assert clash["model"] < 0.5 * clash["unrefined"]
    changed, paired = (read_json(run.evaluation)[name] for name in ("refinement", "comparison"))
    clashes = changed["overall"]["clashes"]
    assert clashes["atoms_after"] < 0.5 * clashes["atoms_before"]
    chi1 = changed["overall"]["chi1"]
    assert 100 * (chi1["gained"] - chi1["lost"]) / changed["overall"]["n"] == pytest.approx(
        paired["model_minus_unrefined"]["overall"]["chi1_acc20"]["value"]
    )
    assert rows["model"]["pocket"]["irmsd_ca"]["value"] < 1e-6  # the backbone of the input


def test_without_refinement_the_networks_own_answer_is_the_model(
    run: RunLayout, demo_layout: DataLayout, tmp_path: Path
) -> None:
    other = RunLayout(tmp_path)
    shutil.copy(run.model, other.model)
    run_evaluation(demo_layout, other, EvaluationSettings(bootstrap=100, refine=False), threads=2)
    rows = read_json(other.evaluation)["rows"]
    assert rows["model"] == read_json(run.evaluation)["rows"]["unrefined"]
    assert "unrefined" not in rows
    result = read_json(other.evaluation)
    assert result["refinement"] is None
    assert result["reliability"] is None
    assert list(result["comparison"]) == ["model_minus_no_learning"]


def test_figures_follow_from_the_residue_table(run: RunLayout, demo_layout: DataLayout) -> None:
    result = read_json(run.evaluation)
    residues = read_table(run.residues).to_pandas()
    dataset = ShardDataset(demo_layout, "test")
    assert result["n_residues"] == len(residues) == sum(len(dataset[i][1]["aatype"]) for i in range(len(dataset)))
    chi1 = residues["chi1_error"].dropna()
    assert result["rows"]["model"]["overall"]["chi1_acc20"]["value"] == pytest.approx(100 * (chi1 < 20).mean())
    assert sum(entry["n"] for entry in result["bands"]["type"].values()) == len(chi1)
    assert sum(result["errors"]["kinds"]["model"].values()) == len(chi1)
    assert list(result["errors"]["kinds"]) == ["model", "unrefined", "no_learning"]
    assert [entry["id"] for entry in result["by_complex"]] == dataset.ids
    assert result["by_complex"][0]["n_pocket"] == residues["contact"].sum() > 5


def test_confidence_is_scored_and_stands_in_the_table(run: RunLayout) -> None:
    result, residues = read_json(run.evaluation), read_table(run.residues).to_pandas()
    has_chi = ~residues["type"].isin(["GLY", "ALA", "UNK"])
    assert (residues["confidence"].notna() == has_chi).all()
    assert residues["confidence"].dropna().between(0.0, 1.0).all()
    reliability = result["reliability"]
    assert not reliability["calibrated"]  # the file of an untrained model has no calibration
    assert reliability["overall"]["n"] == residues["chi1_n"].sum()
    assert reliability["overall"]["confidence"] == pytest.approx(
        100 * residues.loc[residues["chi1_n"] > 0, "confidence"].mean()
    )
    worst = result["errors"]["worst_residues"]
    said = [entry["confidence"] for entry in worst["residues"]]
    assert said == sorted(said, reverse=True)
    first = worst["residues"][0]
    row = residues[(residues["chain"] == first["chain"]) & (residues["number"] == first["number"])].iloc[0]
    assert row["chi1_error"] == pytest.approx(first["chi1_error"], abs=1e-3)
    assert row["chi1_error"] > 40.0
    assert ((residues["ligand_distance"] <= 5.0) == residues["contact"]).all()


def test_a_calibration_in_the_model_file_is_applied_and_recorded(
    run: RunLayout, demo_layout: DataLayout, tmp_path: Path
) -> None:
    other = RunLayout(tmp_path)
    halved = Calibrations(refined=Calibration((0.0, 1.0), (0.25, 0.5)))
    rewrite_metadata(run.model, {METADATA_KEY: halved.to_json()}, other.model)
    run_evaluation(demo_layout, other, EvaluationSettings(bootstrap=100), threads=2)
    before, after = (read_table(r.residues).to_pandas()["confidence"].dropna() for r in (run, other))
    np.testing.assert_allclose(after, 0.25 + 0.25 * before, atol=1e-6)
    assert read_json(other.evaluation)["reliability"]["calibrated"]


def test_a_head_without_distributions_tells_no_confidence(demo_layout: DataLayout, tmp_path: Path) -> None:
    other = RunLayout(tmp_path)
    settings = ModelSettings(c_s=32, c_z=16, depth=1, local_hidden=32, d_lig=16, chi_head="sincos")
    save_model(Stage1(settings), other.model, {})
    run_evaluation(demo_layout, other, EvaluationSettings(bootstrap=100), threads=2)
    result = read_json(other.evaluation)
    assert result["reliability"] is None
    assert result["errors"]["worst_residues"]["order"] == "sidechain_rmsd"
    assert result["refinement"]["overall"]["clashes"]["atoms_before"] > 0
    assert read_table(other.residues).to_pandas()["confidence"].isna().all()


def test_a_run_without_a_model_is_named(demo_layout: DataLayout, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match=r"model.safetensors does not exist"):
        run_evaluation(demo_layout, RunLayout(tmp_path), EvaluationSettings())


def test_another_dataset_can_be_scored_whole(demo_layout: DataLayout, run: RunLayout, tmp_path: Path) -> None:
    other = RunLayout(tmp_path)
    other.root.mkdir(exist_ok=True)
    shutil.copy(run.model, other.model)
    settings = EvaluationSettings(side="all", data=str(demo_layout.root), bootstrap=100)
    run_evaluation(demo_layout, other, settings, threads=2)
    result = read_json(other.evaluation)
    assert sorted(entry["id"] for entry in result["by_complex"]) == ["1s2g", "1s3v", "1uou"]
    assert result["rows"]["crystal"]["overall"]["chi1_acc20"]["low"] == 100.0


def test_residues_bear_the_labels_of_the_clean_table(run: RunLayout, demo_layout: DataLayout) -> None:
    residues = read_table(run.residues).to_pandas()
    clean = {row["id"]: row for row in iterate_rows(read_table(demo_layout.batch("clean", 0)))}
    (identifier,) = residues["id"].unique()
    for name in ("chain", "number", "insertion", "name"):
        assert residues[name].tolist() == list(clean[identifier][name])
    known = residues["type"] == residues["name"]
    assert known.mean() > 0.95  # but for modified residues
    error = (residues["chi1_pred"] - residues["chi1_true"] + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(error.abs()[residues["chi1_n"] > 0], residues["chi1_error"].dropna(), atol=1e-2)


def test_without_clean_tables_residues_have_no_labels_and_with_others_an_error(
    run: RunLayout, demo_layout: DataLayout, tmp_path: Path
) -> None:
    layout = DataLayout(tmp_path / "data")
    shutil.copytree(demo_layout.root, layout.root)
    other = RunLayout(tmp_path / "run")
    other.root.mkdir()
    shutil.copy(run.model, other.model)
    clean = layout.batch("clean", 0)
    table = read_table(clean)
    clean.unlink()
    run_evaluation(layout, other, EvaluationSettings(bootstrap=100))
    assert "chain" not in read_table(other.residues).column_names
    pq.write_table(table.filter([False] * table.num_rows), clean)
    with pytest.raises(BindraeError, match="hold different residues"):
        run_evaluation(layout, other, EvaluationSettings(bootstrap=100))


def test_bands_part_the_residues(demo_layout: DataLayout, run: RunLayout, tmp_path: Path) -> None:
    other = RunLayout(tmp_path)
    shutil.copy(run.model, other.model)
    settings = EvaluationSettings(side="all", bootstrap=100)
    run_evaluation(demo_layout, other, settings, threads=2)
    result, residues = read_json(other.evaluation), read_table(other.residues).to_pandas()
    for scheme, bands in result["bands"].items():
        known = residues if scheme != "type" else residues[residues["type"] != "UNK"]
        assert sum(band["n_residues"] for band in bands.values()) == len(known)
    buried = residues[residues["neighbours"] >= 21]
    band = result["bands"]["burial"]["buried: 21 or more"]
    assert band["n"] == (buried["chi1_n"] > 0).sum()
    assert band["model"]["chi1_acc20"]["value"] == pytest.approx(100 * (buried["chi1_error"].dropna() < 20).mean())
    gain = band["difference"]["chi1_acc20"]
    assert gain["value"] == pytest.approx(
        band["model"]["chi1_acc20"]["value"] - band["no_learning"]["chi1_acc20"]["value"]
    )
    assert gain["low"] <= gain["value"] <= gain["high"] < 0.0  # untrained
    pocket = result["bands"]["place"]["pocket"]["model"]["chi1_acc20"]["value"]
    assert pocket == result["rows"]["model"]["pocket"]["chi1_acc20"]["value"]
    paired, rows = result["comparison"]["model_minus_no_learning"], result["rows"]
    for scope, key in (("overall", "chi1_acc20"), ("overall", "all_chi_acc20"), ("overall", "fape"),
                       ("overall", "clash_atoms_pct"), ("pocket", "irmsd")):  # fmt: skip
        values = [rows[row][scope][key]["value"] for row in ("model", "no_learning")]
        assert paired[scope][key]["value"] == pytest.approx(values[0] - values[1])
        assert paired[scope][key]["low"] <= paired[scope][key]["value"] <= paired[scope][key]["high"]


def faulty(fault: Exception | None) -> Predictor:
    """The crystal, but for 1s3v: an error, or one atom that is no number."""

    def predict(identifier: str, sample: Sample) -> Atoms:
        xyz, mask = crystal_predictor(identifier, sample)
        if identifier == "1s3v":
            if fault is not None:
                raise fault
            xyz = xyz.copy()
            xyz[3, 1, 0] = np.nan
        return xyz, mask

    return predict


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (BindraeError("no such ligand", "mend it"), "BindraeError: no such ligand"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
        (None, "BindraeError: the prediction of 1s3v holds 1 atoms whose coordinates are not finite"),
    ],
)
def test_a_failed_prediction_is_recorded_and_all_its_residues_are_misses(
    demo_layout: DataLayout, fault: Exception | None, message: str
) -> None:
    dataset = ShardDataset(demo_layout, "all")
    residues, complexes = score_dataset(dataset, faulty(fault), "score", record_failures=True)
    assert failures(complexes) == [{"id": "1s3v", "message": message}]
    own = residues["id"] == "1s3v"
    hits = ["chi1_hit20", "chi1_hit40", "chi2_hit20", "all_chi_hit20"]
    assert residues.loc[own, hits].to_numpy().sum() == 0
    assert residues.loc[own, "chi1_n"].sum() > 100
    assert (residues.loc[~own, "chi1_hit20"] == residues.loc[~own, "chi1_n"]).all()
    assert complexes.set_index("id").loc["1s3v", ["fape_n", "irmsd_n"]].tolist() == [0, 0]
    with pytest.raises(type(fault) if fault is not None else BindraeError):
        score_dataset(dataset, faulty(fault), "score")


def test_a_bug_is_not_a_failed_prediction_and_neither_are_all(demo_layout: DataLayout) -> None:
    dataset = ShardDataset(demo_layout, "all")
    with pytest.raises(KeyError):
        score_dataset(dataset, faulty(KeyError("atom14")), "score", record_failures=True)

    def never(identifier: str, sample: Sample) -> Atoms:
        raise RuntimeError("no device")

    with pytest.raises(BindraeError, match="none of the 3 predictions succeeded; 1s2g: RuntimeError: no device"):
        score_dataset(dataset, never, "score", record_failures=True)


def test_failures_reach_the_record(
    demo_layout: DataLayout, run: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RunLayout(tmp_path)
    shutil.copy(run.model, other.model)
    monkeypatch.setattr(evaluate, "model_predictor", lambda model, device: faulty(RuntimeError("lost")))
    run_evaluation(demo_layout, other, EvaluationSettings(side="all", bootstrap=100, refine=False))
    result = read_json(other.evaluation)
    assert result["failed"] == [{"id": "1s3v", "message": "RuntimeError: lost"}]
    by_id = {entry["id"]: entry for entry in result["by_complex"]}
    assert by_id["1s3v"]["chi1_acc20"] == 0.0
    assert by_id["1s3v"]["pocket_irmsd"] is None
    assert by_id["1uou"]["chi1_acc20"] == 100.0
    assert result["rows"]["model"]["overall"]["chi1_acc20"]["value"] < 100.0
    # Distances are compared where both have one: the crystal's FAPE is 0, the no-learning row's is not.
    assert result["comparison"]["model_minus_no_learning"]["overall"]["fape"]["high"] < 0.0
