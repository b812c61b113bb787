"""Backbone noise: no noise changes nothing, true frames bring every residue closer, and what is printed is measured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from batches import random_sample

from bindrae.chem import residues as aa
from bindrae.config import ModelSettings
from bindrae.data.batch import IPABatch, Sample, collate_ipa_batch
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_json
from bindrae.errors import BindraeError
from bindrae.evaluation import noise as command
from bindrae.evaluation.aggregate import bootstrap_weights
from bindrae.evaluation.noise import main, markdown, noise_figures, parse_levels, results
from bindrae.evaluation.noise_trial import (
    Answer,
    Network,
    answer,
    chi1_error,
    disturb,
    noise_generator,
    score_trial,
)
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import Stage1, Stage1Output
from bindrae.prediction.rotamers import HeadInputs, run_model

SIZES = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}


@pytest.fixture(scope="module")
def model() -> Stage1:
    torch.manual_seed(3)
    return Stage1(ModelSettings(**SIZES, qk_points=2, v_points=2, local_neighbours=8, edge_neighbours=4)).eval()


@pytest.fixture
def sample() -> Sample:
    return random_sample(40, seed=5)


def knowing(model: Stage1, truth: Sample) -> Network:
    """A network that moves every frame to where the crystal has it."""
    R, t = build_frames_from_3_points(*truth["atom14"][:, :3].unbind(1))

    def network(batch: IPABatch) -> tuple[Stage1Output, HeadInputs]:
        output, inputs = run_model(model, batch)
        return replace(output, frames=(R.unsqueeze(0), t.unsqueeze(0))), inputs

    return network


def trial(network: Network, sample: Sample, noise: float) -> pd.DataFrame:
    given = disturb(sample, noise, noise_generator(0, "x"))
    return score_trial(sample, given, answer(network, "x", given)).assign(id="x", cluster="x")


def test_without_noise_the_input_is_the_crystal(model: Stage1, sample: Sample) -> None:
    residues = trial(partial(run_model, model), sample, 0.0)
    assert not residues["input"].any()
    assert residues["input_fitted"].max() < 1e-9
    figures = noise_figures(residues, None)
    assert figures["rmsd_input"]["value"] == 0.0
    assert figures["closer"]["value"] is None  # nothing can come closer
    assert figures["change"]["value"] == figures["rmsd_output"]["value"]


def test_true_frames_bring_every_residue_closer(model: Stage1, sample: Sample) -> None:
    for noise in (0.25, 0.5):
        residues = trial(knowing(model, sample), sample, noise)
        figures = noise_figures(residues, None)
        assert figures["closer"]["value"] == 100.0
        output, given = figures["rmsd_output"]["value"], figures["rmsd_input"]["value"]
        assert output is not None
        assert given is not None
        assert output < 0.05 < noise < given
        assert figures["change"]["value"] == pytest.approx(output - given)


def test_a_backbone_that_stays_brings_no_residue_closer(sample: Sample) -> None:
    given = disturb(sample, 0.5, noise_generator(0, "x"))
    atoms = given["atom14"].numpy(), given["atom14_mask"].numpy()
    figures = noise_figures(score_trial(sample, given, Answer(atoms, atoms)).assign(cluster="x"), None)
    assert figures["closer"]["value"] == 0.0
    assert figures["change"]["value"] == figures["change_fitted"]["value"] == 0.0
    assert figures["chi1_input"]["value"] == 100.0  # carried along as rigid bodies


def test_noise_moves_residues_as_rigid_bodies_by_what_was_asked(sample: Sample) -> None:
    long = {name: x.repeat(50, *[1] * (x.dim() - 1)) if len(x) == 40 else x for name, x in sample.items()}
    given = disturb(long, 0.5, noise_generator(0, "x"))
    before, after = long["atom14"].double(), given["atom14"].double()
    here = long["atom14_mask"]
    assert torch.equal(after[~here], before[~here])
    shift = (after - before)[:, aa.SLOT_CA]
    assert shift.std() == pytest.approx(0.5, rel=0.05)
    R, R0 = (build_frames_from_3_points(*x[:, :3].unbind(1))[0] for x in (after, before))
    turn = torch.rad2deg(torch.arccos(((R0.mT @ R).diagonal(dim1=-2, dim2=-1).sum(-1) - 1).div(2).clamp(-1, 1)))
    assert 9.5 < turn.max() <= 10.01
    assert turn.mean() == pytest.approx(5.0, rel=0.1)
    inside = [torch.cdist(x, x)[here[:, :, None] & here[:, None]] for x in (before, after)]
    assert (inside[0] - inside[1]).abs().max() < 1e-4
    assert given["lig_points"] is long["lig_points"]


def test_noise_depends_on_seed_and_complex_and_scales_with_the_level(sample: Sample) -> None:
    def moved(noise: float, seed: int = 0, name: str = "x") -> torch.Tensor:
        return (disturb(sample, noise, noise_generator(seed, name))["atom14"] - sample["atom14"])[:, aa.SLOT_CA]

    assert torch.equal(moved(0.5), moved(0.5))
    torch.testing.assert_close(moved(0.5), 2 * moved(0.25), atol=2e-5, rtol=0)
    assert not torch.equal(moved(0.5), moved(0.5, seed=1))
    assert not torch.equal(moved(0.5), moved(0.5, name="y"))


def test_the_networks_input_is_the_disturbed_backbone_and_no_side_chain(model: Stage1, sample: Sample) -> None:
    seen: list[torch.Tensor] = []

    def network(batch: IPABatch) -> tuple[Stage1Output, HeadInputs]:
        seen.append(torch.stack([batch.N, batch.Ca, batch.C], 2)[0])
        return run_model(model, batch)

    given = disturb(sample, 0.5, noise_generator(0, "x"))
    first = answer(network, "x", given)
    assert torch.equal(seen[0], given["atom14"][:, :3])
    assert np.array_equal(first.on_input[0][:, :3], given["atom14"][:, :3].numpy())
    scrambled = given["atom14"].clone()
    scrambled[:, aa.SLOT_CB :] += 30.0
    second = answer(network, "x", given | {"atom14": scrambled})
    assert np.array_equal(first.on_input[0], second.on_input[0])
    assert np.array_equal(first.on_predicted[0], second.on_predicted[0])


def test_predicted_backbone_is_that_of_the_networks_frames(model: Stage1, sample: Sample) -> None:
    output, _ = run_model(model, collate_ipa_batch([("x", sample)]))
    found = answer(partial(run_model, model), "x", sample)
    np.testing.assert_allclose(found.on_predicted[0][:, :3], output.atom14[0, :, :3].numpy(), atol=1e-5)


def test_chi1_that_is_not_there_is_a_miss(sample: Sample) -> None:
    xyz, mask = sample["atom14"].numpy(), sample["atom14_mask"].numpy().copy()
    assert np.nanmax(chi1_error(sample, (xyz, mask))) < 1e-3
    mask[:, aa.SLOT_CB + 1 :] = False
    error = chi1_error(sample, (xyz, mask))
    assert np.array_equal(np.isfinite(error), sample["torsion_mask"][:, 3].numpy())
    assert (error[np.isfinite(error)] == 180.0).all()


def test_figures_are_those_counted_by_hand() -> None:
    residues = pd.DataFrame(
        {
            "cluster": ["a", "a", "b"], "contact": [True, False, False], "one": 1, "atoms": 3,
            "input": [3.0, 3.0, 6.0], "output": [0.0, 3.0, 0.0],
            "input_fitted": [3.0, 0.0, 0.0], "output_fitted": [0.0, 0.0, 0.0],
            "closer": [1, 0, 1], "chi1_n": [1, 1, 0], "chi1_input": [1, 0, 0], "chi1_predicted": [1, 1, 0],
        }
    )  # fmt: skip
    figures = noise_figures(residues, bootstrap_weights(2, 200, 0))
    assert figures["rmsd_input"]["value"] == pytest.approx(np.sqrt(12 / 9))
    assert figures["change"]["value"] == pytest.approx(np.sqrt(3 / 9) - np.sqrt(12 / 9))
    # Only a (-0.29), only b (-1.41) or one of each is drawn.
    assert figures["change"]["low"] == pytest.approx(-np.sqrt(2.0))
    assert figures["change"]["high"] == pytest.approx(np.sqrt(3 / 6) - 1.0)
    assert figures["closer"]["value"] == pytest.approx(200 / 3)
    assert (figures["chi1_input"]["value"], figures["chi1_predicted"]["value"]) == (50.0, 100.0)
    (entry,) = results({0.5: residues}, 50, 0)
    assert entry["pocket"]["rmsd_input"]["value"] == 1.0
    assert entry["rotation_deg"] == 10.0
    assert "| 0.5 | 0-10 | 1.155" in markdown([entry])


@pytest.mark.parametrize(("given", "levels"), [("0.5,0.25", [0.0, 0.25, 0.5]), ("0", [0.0]), ("0.5,0.5", [0.0, 0.5])])
def test_crystals_backbone_is_always_measured(given: str, levels: list[float]) -> None:
    assert parse_levels(given) == levels


@pytest.mark.parametrize("given", ["", "a", "-0.5", "nan", "inf"])
def test_levels_that_are_no_lengths_are_refused(given: str) -> None:
    with pytest.raises(BindraeError, match="--noise"):
        parse_levels(given)


def test_command(model: Stage1, demo_layout: DataLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model, tmp_path / "model.safetensors", {})
    output = tmp_path / "noise.json"
    words = [str(demo_layout.root), str(tmp_path / "model.safetensors"), "--noise", "0.5", "--output", str(output)]
    main(words)
    printed = capsys.readouterr().out
    record = read_json(output)
    assert record["ids"] == ShardDataset(demo_layout, "val").ids
    assert [entry["noise_angstrom"] for entry in record["levels"]] == [0.0, 0.5]
    still, noisy = (entry["overall"] for entry in record["levels"])
    assert still["rmsd_input"]["value"] == 0.0
    # Shifts alone give sqrt(3) * 0.5 A.
    assert 0.85 < noisy["rmsd_input"]["value"] < 1.0
    assert noisy["rmsd_input_fitted"]["value"] < noisy["rmsd_input"]["value"]
    assert f"| {noisy['rmsd_input']['value']:.3f} |" in printed
    main(words)
    again = read_json(output)
    assert again["levels"] == record["levels"]


def test_command_without_geometry(
    model: Stage1, demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(model, tmp_path / "model.safetensors", {})
    told: list[bool] = []

    def spying(model: Stage1, batch: IPABatch, geometry: bool) -> tuple[Stage1Output, HeadInputs]:
        told.append(geometry)
        return run_model(model, batch, geometry=geometry)

    monkeypatch.setattr(command, "run_model", spying)
    output = tmp_path / "noise.json"
    words = [str(demo_layout.root), str(tmp_path / "model.safetensors"), "--noise", "0", "--output", str(output)]
    for more, expected in (([], True), (["--no-geometry"], False)):
        main([*words, *more])
        assert told
        assert {*told, read_json(output)["geometry"]} == {expected}
        told.clear()
