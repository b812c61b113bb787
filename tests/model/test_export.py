"""Weights of 16 bits: what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bindrae.config import ModelSettings
from bindrae.errors import BindraeError
from bindrae.model.export import export_model
from bindrae.model.model_file import load_model, save_model
from bindrae.model.stage1 import Stage1
from tests.batches import random_batch

TINY = {"c_s": 16, "c_z": 8, "c_hidden": 8, "heads": 2, "depth": 1, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}


def saved(path: Path) -> Stage1:
    torch.manual_seed(0)
    model = Stage1(ModelSettings(**TINY)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.step += 12345
    save_model(model, path, {"epoch": "3"})
    return model


def test_half_the_size_and_the_same_answer(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors")
    export_model(tmp_path / "model.safetensors", tmp_path / "out" / "small.safetensors")
    small = load_model(tmp_path / "out" / "small.safetensors")
    assert (tmp_path / "out" / "small.safetensors").stat().st_size < 0.65 * (
        tmp_path / "model.safetensors"
    ).stat().st_size
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert int(small.step) == 12345
    batch = random_batch(20)
    with torch.no_grad():
        expected, found = model(batch), small(batch)
    scale = expected.torsions.raw.std()
    assert (found.torsions.raw - expected.torsions.raw).abs().max() < 0.02 * scale
    # Not the same file under another name.
    assert not torch.equal(found.torsions.raw, expected.torsions.raw)


def test_settings_and_provenance_go_along(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    export_model(tmp_path / "model.safetensors", tmp_path / "small.safetensors")
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        about = json.loads(file.metadata()["bindrae"])
    assert about["epoch"] == "3"
    assert about["settings"]["c_s"] == 16
    assert len(about["source_sha256"]) == 64


def test_a_weight_that_does_not_fit_is_named(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors")
    with torch.no_grad():
        model.residue_type.weight[0, 0] = 1e6
    save_model(model, tmp_path / "model.safetensors", {})
    with pytest.raises(BindraeError, match=r"residue_type.weight"):
        export_model(tmp_path / "model.safetensors", tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()
