"""The loop on one small demo complex a side: resume, refusal, interruption, NaN, and learning by heart."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bindrae.config import EvaluationSettings, ModelSettings, TrainingSettings
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json
from bindrae.errors import BindraeError
from bindrae.evaluation.evaluate import run_evaluation
from bindrae.training import loop
from bindrae.training.schedule import cosine_with_warmup

MODEL = ModelSettings(
    c_s=32, c_z=16, c_hidden=8, heads=4, depth=1, qk_points=2, v_points=2, d_lig=16, ligand_heads=4, local_neighbours=6,
    local_hidden=32, ligand_neighbours=4, dropout=0.1, ligand_warmup_steps=2,
)  # fmt: skip
TRAINING = TrainingSettings(
    max_epochs=4, batch_size=1, max_residues=48, noise_start_step=1, warmup_steps=2, device="cpu"
)


def train(layout: DataLayout, folder: Path, settings: TrainingSettings = TRAINING, **kwargs: bool) -> RunLayout:
    run = RunLayout(folder)
    loop.run_training(layout, run, MODEL, settings, threads=1, **kwargs)
    return run


def history(run: RunLayout) -> list[dict]:
    """The record without its timings."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "residues_per_second")} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(demo_layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    return train(demo_layout, tmp_path_factory.mktemp("whole"))


def test_a_run_leaves_model_record_and_sidecar(uninterrupted: RunLayout) -> None:
    lines = history(uninterrupted)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert {"torsion", "fape", "distance", "clash", "pocket_irmsd", "chi1_acc20"} <= set(lines[0]["val"])
    counts = read_json(uninterrupted.training)["counts"]
    best = min(lines, key=lambda line: line["val"]["pocket_irmsd"])
    assert counts["best_epoch"] == best["epoch"]
    assert load_file(uninterrupted.model)["step"] == best["step"]


def test_interrupted_by_a_signal_and_resumed_gives_the_same_numbers(
    demo_layout: DataLayout, tmp_path: Path, uninterrupted: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = loop._step, []

    def step_then_signal(*args: object) -> dict[str, float]:
        values = real(*args)
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    monkeypatch.setattr(loop, "_step", step_then_signal)
    with pytest.raises(SystemExit) as stopped:
        train(demo_layout, tmp_path)
    assert stopped.value.code == loop.REQUEUE_EXIT_CODE
    assert len(steps) == 2
    monkeypatch.setattr(loop, "_step", real)
    torch.manual_seed(99)  # nothing of this process may leak into the resumed run
    run = train(demo_layout, tmp_path)
    assert history(run) == history(uninterrupted)
    a, b = load_file(run.model), load_file(uninterrupted.model)
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_changed_settings_are_refused_by_name_unless_told_to_start_over(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop._step

    def stop(*args: object) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGUSR1)
        return real(*args)

    monkeypatch.setattr(loop, "_step", stop)
    with pytest.raises(SystemExit):
        train(demo_layout, tmp_path)
    monkeypatch.setattr(loop, "_step", real)
    changed = TRAINING.model_copy(update={"lr": 5e-4, "max_epochs": 1})
    with pytest.raises(BindraeError, match=r"training.lr: 0.0001 -> 0.0005; training.max_epochs: 4 -> 1"):
        train(demo_layout, tmp_path, changed)
    run = train(demo_layout, tmp_path, changed, restart_if_changed=True)
    assert [line["epoch"] for line in history(run)] == [1]


def test_a_finished_run_starts_over_when_asked_for_again(demo_layout: DataLayout, uninterrupted: RunLayout) -> None:
    before = history(uninterrupted)
    again = train(demo_layout, uninterrupted.root)
    assert history(again) == before


def test_a_damaged_checkpoint_is_named(demo_layout: DataLayout, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").write_bytes(b"half a file")
    with pytest.raises(BindraeError, match=r"last.pt cannot be read.*\n.*--fresh"):
        train(demo_layout, tmp_path)
    train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 1}), fresh=True)
    assert run.model.is_file()


def test_a_loss_that_is_not_finite_stops_the_run_with_the_ids(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(torch.nan, requires_grad=True) for name in ("loss", *loop.LOSS_NAMES)}

    monkeypatch.setattr(loop, "stage1_loss", broken)
    name = ShardDataset(demo_layout, "train").ids[0]
    with pytest.raises(FloatingPointError, match=name):
        train(demo_layout, tmp_path)


def test_patience_ends_the_run(demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([2.0, 1.0, 1.5, 1.2, 0.5])
    monkeypatch.setattr(loop, "validate", lambda *a: {"loss": 1.0, "pocket_irmsd": next(scores)})
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 5, "patience": 2}))
    assert [line["best"] for line in history(run)] == [True, True, False, False]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [cosine_with_warmup(step, 10, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == 1.0
    assert factors == sorted(factors[:11]) + sorted(factors[11:], reverse=True)
    assert factors[100] == pytest.approx(0.0)
    assert max(cosine_with_warmup(step, 1000, 50) for step in range(50)) == 1.0


def test_one_complex_is_learnt_by_heart(overfit_layout: DataLayout, tmp_path: Path) -> None:
    model = MODEL.model_copy(
        update={
            "c_s": 64,
            "c_z": 32,
            "c_hidden": 16,
            "depth": 2,
            "local_hidden": 64,
            "local_neighbours": 12,
            "dropout": 0.0,
        }
    )
    settings = TrainingSettings(
        max_epochs=2, batch_size=1, lr=3e-3, weight_decay=0.0, warmup_steps=10, noise_start_step=10**9,
        max_bfactor=None, pocket_warmup_steps=0, device="cpu", max_residues=200,
    )  # fmt: skip
    run = RunLayout(tmp_path)
    loop.run_training(overfit_layout, run, model, settings, threads=2)
    losses = [line["train"]["loss"] for line in history(run)]
    assert losses[-1] < 0.5 * losses[0]
    run_evaluation(overfit_layout, run, EvaluationSettings(side="train"), threads=2)
    result = read_json(run.evaluation)
    assert result["rows"]["model"]["overall"]["chi1_acc20"]["value"] >= 95.0
    assert result["rows"]["no_learning"]["overall"]["chi1_acc20"]["value"] < 95.0
