"""Several networks as one: what is averaged, what is refused, and the file that holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_stage1 import TINY, build, chis
from typer.testing import CliRunner

from bindrae.cli import app
from bindrae.config import ModelSettings
from bindrae.data.storage import sha256_file
from bindrae.errors import BindraeError
from bindrae.geometry.rigid import axis_angle_to_matrix, mean_frames
from bindrae.model.context import KnownSidechains
from bindrae.model.ensemble import Ensemble
from bindrae.model.export import export_model
from bindrae.model.join import join_models
from bindrae.model.model_file import load_model, load_single, save_model
from bindrae.model.stage1 import Stage1, Stage1Output
from bindrae.prediction.rotamers import propose_rotamers, run_model
from bindrae.training.initial import load_weights_into
from tests.batches import random_batch


def other(seed: int, **changes: object) -> Stage1:
    """A model of the architecture of `build` with other weights."""
    model = build(**changes)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter.std() if parameter.numel() > 1 else 0.1
            parameter.data += 0.1 * spread * torch.randn(parameter.shape, generator=g)
    return model


@torch.no_grad()
def answer(model: Stage1 | Ensemble, **given: object) -> Stage1Output:
    return model(random_batch(30, 24), **given)


def logits_of(model: Stage1 | Ensemble, **given: object) -> torch.Tensor:
    said = answer(model, **given).torsions.chi_logits
    assert said is not None
    return said


def test_copies_of_a_network_say_what_it_says() -> None:
    copies = Ensemble([build(), build(), build()])
    torch.testing.assert_close(
        logits_of(copies), torch.log_softmax(logits_of(build(), recycles=0), -1), atol=1e-4, rtol=0
    )
    one, many = answer(build(), recycles=0), answer(copies)
    torch.testing.assert_close(many.torsions.circle, one.torsions.circle, atol=1e-4, rtol=0)
    torch.testing.assert_close(many.atom14, one.atom14, atol=1e-3, rtol=0)
    assert torch.equal(many.atom14_mask, one.atom14_mask)


def test_probabilities_are_averaged_and_each_chi_follows_from_the_common_choice_before_it() -> None:
    members, batch = [other(1), other(2)], random_batch(30)
    out, inputs = run_model(Ensemble(members), batch)
    chi = torch.atan2(*out.torsions.circle[0, :, 3:].unbind(-1))
    rows = torch.arange(batch.aatype.shape[1])
    said = [run_model(Ensemble([member]), batch)[1].ask(rows, chi) for member in members]
    p = torch.stack([torch.softmax(logits, -1) for logits, _ in said])
    logits, offsets = inputs.ask(rows, chi)
    torch.testing.assert_close(logits.exp(), p.mean(0), atol=1e-5, rtol=0)
    weighted = (p * torch.stack([offset for _, offset in said])).sum(0) / p.sum(0)
    torch.testing.assert_close(offsets, weighted, atol=1e-5, rtol=0)
    assert out.torsions.chi_logits is not None
    torch.testing.assert_close(out.torsions.chi_logits[0], logits, atol=1e-4, rtol=0)
    assert (p[0].argmax(-1) != p[1].argmax(-1)).any()  # or there would be nothing to average


def test_frames_are_averaged() -> None:
    members = [other(1), other(2)]
    alone = [answer(member, recycles=0).frames[1] for member in members]
    torch.testing.assert_close(answer(Ensemble(members)).frames[1], torch.stack(alone).mean(0), atol=1e-5, rtol=0)
    assert (alone[0] - alone[1]).abs().max() > 5e-3


def test_the_order_of_the_members_does_not_matter() -> None:
    a, b, c = other(1), other(2), other(3)
    first, second = answer(Ensemble([a, b, c])), answer(Ensemble([c, a, b]))
    torch.testing.assert_close(logits_of(Ensemble([a, b, c])), logits_of(Ensemble([c, a, b])), atol=1e-5, rtol=0)
    torch.testing.assert_close(first.frames, second.frames, atol=1e-4, rtol=0)


def test_members_make_the_sweeps_that_were_asked_for_and_see_what_is_known() -> None:
    members = [other(1), other(2)]
    still = logits_of(Ensemble(members))
    swept = logits_of(Ensemble(members, sweeps=1))
    assert torch.equal(logits_of(Ensemble(members), recycles=1), swept)
    assert not torch.allclose(still, swept, atol=1e-3)
    batch = random_batch(30, 24)
    known = KnownSidechains(chis(batch), batch.residue_index < 15)
    assert not torch.allclose(logits_of(Ensemble(members), known=known), still, atol=1e-3)


def test_refinement_gets_candidates_of_all_members() -> None:
    output, inputs = run_model(Ensemble([other(1), other(2)]), random_batch(30, seed=5))
    rotamers = propose_rotamers(output, inputs, torch.ones(30, dtype=torch.bool))
    assert torch.equal(rotamers.chi[:, 0], torch.atan2(*output.torsions.circle[0, :, 3:].unbind(-1)))
    assert float(rotamers.log_p.exp().sum(1).max()) <= 1 + 1e-5


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.3, -0.5, 0.8)])
@pytest.mark.parametrize("turn", [0.0, 1.0, 3.1, 3.14159265])  # half a turn: quaternions of either sign
def test_the_mean_of_frames_lies_between_them(axis: tuple[float, float, float], turn: float) -> None:
    unit = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    R = axis_angle_to_matrix(turn * unit)
    shift = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    around = [0.2, -0.2, 0.05, -0.05]
    middle, t = mean_frames([(axis_angle_to_matrix(a * unit) @ R, shift * (1 + a)) for a in around])
    torch.testing.assert_close(middle, R, atol=1e-6, rtol=0)
    torch.testing.assert_close(t, shift)
    torch.testing.assert_close(torch.linalg.det(middle), torch.ones((), dtype=torch.float64))


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a member"):
        Ensemble([])
    with pytest.raises(ValueError, match="member 1 differs from member 0 in chi_bins"):
        Ensemble([build(), build(chi_bins=36)])
    with pytest.raises(ValueError, match="chi_head: bins"):
        Ensemble([build(chi_head="sincos", recycles=0)] * 2)
    with pytest.raises(ValueError, match="sweeps need members"):
        Ensemble([build(recycles=0)], sweeps=1)
    with pytest.raises(ValueError, match="member 1 differs from member 0 in ligand_warmup_steps"):
        Ensemble([build(), build(ligand_warmup_steps=50)])  # the file keeps the settings of the first alone
    Ensemble([build(ligand_film=False), build(ligand_film=False, ligand_warmup_steps=50)])
    Ensemble([build(dropout=0.2), build(attention="reference")])


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """A file of two members, and those as files of their own beside it."""
    for seed in (1, 2):
        save_model(other(seed), tmp_path / f"{seed}.safetensors", {})
    join_models([tmp_path / "1.safetensors", tmp_path / "2.safetensors"], tmp_path / "both.safetensors", sweeps=1)
    return tmp_path / "both.safetensors"


def test_a_file_gives_the_ensemble_back(joined: Path, tmp_path: Path) -> None:
    model = load_model(joined)
    assert isinstance(model, Ensemble)
    assert model.sweeps == 1
    assert not model.training
    assert torch.equal(logits_of(model), logits_of(Ensemble([other(1), other(2)], sweeps=1)))
    with safe_open(joined, "pt") as file:
        about = json.loads(file.metadata()["bindrae"])
    assert about["sources_sha256"] == [sha256_file(tmp_path / f"{seed}.safetensors") for seed in (1, 2)]
    first = load_single(joined)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), other(1).parameters(), strict=True))


def test_equal_ensembles_are_equal_files_and_half_the_size_is_the_same_answer(joined: Path, tmp_path: Path) -> None:
    join_models([tmp_path / "1.safetensors", tmp_path / "2.safetensors"], tmp_path / "again.safetensors", sweeps=1)
    assert sha256_file(joined) == sha256_file(tmp_path / "again.safetensors")
    export_model(joined, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 0.65 * joined.stat().st_size
    small, whole = (logits_of(load_model(path)) for path in (tmp_path / "small.safetensors", joined))
    torch.testing.assert_close(small, whole, atol=0.05, rtol=0)


def test_joining_goes_on_from_an_ensemble_and_refuses_the_same_network_twice(joined: Path, tmp_path: Path) -> None:
    save_model(other(3), tmp_path / "3.safetensors", {})
    command = ["join", str(joined), str(tmp_path / "3.safetensors"), "-o", str(tmp_path / "three.safetensors")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "3 networks, 0 sweeps" in done.stdout
    three = load_model(tmp_path / "three.safetensors")
    assert torch.equal(logits_of(three), logits_of(Ensemble([other(1), other(2), other(3)])))
    with pytest.raises(BindraeError, match="is the same as"):
        join_models([joined, joined], tmp_path / "x.safetensors")
    save_model(build(chi_bins=36), tmp_path / "4.safetensors", {})
    with pytest.raises(BindraeError, match="differs from member 0 in chi_bins"):
        join_models([joined, tmp_path / "4.safetensors"], tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_training_starts_from_the_first_member(joined: Path) -> None:
    model = Stage1(ModelSettings(**TINY))
    load_weights_into(model, joined)
    assert torch.equal(model.residue_type.weight, other(1).residue_type.weight)


@pytest.mark.parametrize("damage", [*({"members": n} for n in (3, 1, 0, "2", 10**9)), {"sweeps": "x"}, {"sweeps": -1}])
def test_a_damaged_file_is_refused(joined: Path, damage: dict[str, object]) -> None:
    with safe_open(joined, "pt") as file:
        about = json.loads(file.metadata()["bindrae"])
    save_file(load_file(joined), joined, {"bindrae": json.dumps(about | damage)})
    with pytest.raises(BindraeError, match=r"not those of the architecture|not an ensemble"):
        load_model(joined)


def test_a_member_that_is_not_whole_is_refused(joined: Path) -> None:
    with safe_open(joined, "pt") as file:
        metadata = file.metadata()
    weights = load_file(joined)
    del weights["members.1.residue_type.weight"]
    save_file(weights, joined, metadata)
    with pytest.raises(BindraeError, match="not those of the architecture"):
        load_model(joined)
