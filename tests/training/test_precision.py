"""Precision by the machine: what `auto` takes, and what is said of a machine that must make do without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bindrae import environment
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json
from bindrae.training import parallel
from bindrae.training.loop import run_training
from bindrae.training.parallel import World, pick_precision

ALONE = World(0, 1, torch.device("cpu"))
MODEL = ModelSettings(c_s=32, c_z=16, c_hidden=8, heads=4, depth=1, d_lig=16, ligand_heads=4, local_hidden=32)


def machine(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    monkeypatch.setattr(parallel, "bf16_units", lambda: list(units))


@pytest.mark.parametrize(
    ("wanted", "units", "taken", "warned"),
    [
        ("auto", ["amx_bf16"], "bf16", False),
        ("auto", [], "fp32", False),
        ("bf16", ["avx512_bf16"], "bf16", False),
        ("bf16", [], "bf16", True),
        ("fp32", [], "fp32", False),
        ("fp32", ["amx_bf16"], "fp32", False),
        ("fp16", [], "fp16", False),
    ],
)
def test_what_is_taken(
    wanted: str, units: list[str], taken: str, warned: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    machine(monkeypatch, *units)
    assert pick_precision(wanted, ALONE) == taken
    assert ("set training.precision to auto or fp32" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(("able", "taken"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_is_asked_instead_of_the_processor(able: bool, taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, *([] if able else ["amx_bf16"]))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation)
    assert pick_precision("auto", World(0, 1, torch.device("cuda:0"))) == taken


def test_all_processes_take_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 could, another cannot."""
    machine(monkeypatch, "amx_bf16")
    monkeypatch.setattr(World, "sum", lambda self, values: {name: value + 1.0 for name, value in values.items()})
    assert pick_precision("auto", World(0, 2, torch.device("cpu"))) == "fp32"


@pytest.mark.parametrize(
    ("line", "words", "units"),
    [
        ("flags", "fpu avx2 avx512_bf16 amx_bf16 amx_tile", ["amx_bf16", "avx512_bf16"]),
        ("flags", "fpu avx2 avx512f", []),
        ("Features", "fp asimd i8mm bf16", ["bf16"]),
    ],
)
def test_units_of_the_processor(line: str, words: str, units: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpu_fact", lambda name: words if name == line else "")
    assert environment.bf16_units() == units
    assert environment.hardware()["bf16"] == (", ".join(units) or "no")


def test_a_run_records_what_was_taken_and_may_end_on_another_machine(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(max_epochs=1, batch_size=1, max_residues=32, device="cpu", precision="auto")
    run = RunLayout(tmp_path)
    machine(monkeypatch)
    run_training(demo_layout, run, MODEL, settings)
    assert read_json(run.training)["settings"]["training"]["precision"] == "fp32"
    trained = run.model.read_bytes()
    machine(monkeypatch, "amx_bf16")
    run_training(demo_layout, run, MODEL, settings)  # finished: the outputs are written again
    assert run.model.read_bytes() == trained
