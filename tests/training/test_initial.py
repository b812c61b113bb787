"""Starting from the weights of an earlier run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.layout import SHIPPED, DataLayout, RunLayout
from bindrae.errors import BindraeError
from bindrae.model.model_file import load_model, save_model
from bindrae.model.stage1 import Stage1
from bindrae.training import loop
from bindrae.training.initial import initial_weights, load_weights_into
from tests.batches import random_batch

MODEL = ModelSettings(
    c_s=32, c_z=16, c_hidden=8, heads=4, depth=1, qk_points=2, v_points=2, d_lig=16, ligand_heads=4, local_neighbours=6,
    local_hidden=32, ligand_neighbours=4, dropout=0.1, ligand_warmup_steps=50,
)  # fmt: skip
BARELY = TrainingSettings(
    max_epochs=1, batch_size=1, max_residues=32, lr=1e-12, weight_decay=0.0, geometry_passes=0, device="cpu"
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(11)
    model = Stage1(MODEL)
    model.step += 7
    save_model(model, tmp_path / "earlier.safetensors", {})
    return tmp_path / "earlier.safetensors"


def test_a_run_starts_from_the_weights_it_is_given(demo_layout: DataLayout, weights: Path, tmp_path: Path) -> None:
    run = RunLayout(tmp_path / "run")
    settings = BARELY.model_copy(update={"init": str(weights)})
    loop.run_training(demo_layout, run, MODEL.model_copy(update={"dropout": 0.3}), settings)
    before, after = load_file(weights), load_file(run.model)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before if name != "step")
    # Steps are counted anew, and the ligand speaks at full strength from the first one on.
    assert 0 < int(after["step"]) < 7
    assert load_model(run.model).settings.ligand_warmup_steps == 0
    assert load_model(run.model).settings.dropout == 0.3


def test_other_weights_under_the_same_name_are_another_run(
    demo_layout: DataLayout, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = RunLayout(tmp_path / "run")
    settings = BARELY.model_copy(update={"init": str(weights)})
    loop.run_training(demo_layout, run, MODEL, settings)
    changed = {name: x * 1.5 if x.is_floating_point() else x for name, x in load_file(weights).items()}
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    save_file(changed, weights, metadata)
    loop.run_training(demo_layout, run, MODEL, settings)
    assert "settings or data changed (init:" in capfd.readouterr().err
    after = load_file(run.model)
    assert all(torch.allclose(changed[name], after[name], atol=1e-5) for name in changed if name != "step")


def test_weights_of_another_architecture_are_refused_by_the_keys_that_differ(weights: Path) -> None:
    with pytest.raises(BindraeError, match=r"model\.c_s: 32 -> 48"):
        load_weights_into(Stage1(MODEL.model_copy(update={"c_s": 48})), weights)
    # A network that can be shown no side chains has fewer weights; how often it is asked is no matter.
    with pytest.raises(BindraeError, match=r"model\.recycles: 1 -> 0"):
        load_weights_into(Stage1(MODEL.model_copy(update={"recycles": 0})), weights)
    load_weights_into(Stage1(MODEL.model_copy(update={"recycles": 3, "attention": "reference"})), weights)


def test_weights_without_geometry_start_a_model_with_it_that_says_the_same(tmp_path: Path) -> None:
    torch.manual_seed(3)
    without, path = Stage1(MODEL.model_copy(update={"backbone_geometry": False})), tmp_path / "without.safetensors"
    save_model(without, path, {})
    model = Stage1(MODEL)
    load_weights_into(model, path)
    assert model.geometry is not None
    batch = random_batch(20)
    with torch.no_grad():
        assert torch.equal(model.eval()(batch).atom14, without.eval()(batch).atom14)
    save_model(model, tmp_path / "with.safetensors", {})
    with pytest.raises(BindraeError, match=r"model\.backbone_geometry: True -> False"):
        load_weights_into(without, tmp_path / "with.safetensors")


def test_shipped_is_the_packages_own_file_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert initial_weights("shipped") == SHIPPED
    with pytest.raises(BindraeError, match=r"nothing\.safetensors does not exist"):
        initial_weights(str(tmp_path / "nothing.safetensors"))
