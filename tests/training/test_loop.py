"""The loop on one small demo complex a side: resume, refusal, interruption, NaN, and learning by heart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import collate_ipa_batch
from bindrae.data.dataset import SeededCrop, ShardDataset
from bindrae.data.layout import DataLayout, RunLayout
from bindrae.data.storage import read_json
from bindrae.errors import BindraeError
from bindrae.training import loop, overfit
from bindrae.training.overfit import overfit_settings, run_overfit
from bindrae.training.parallel import World, join_world
from bindrae.training.replay import replay
from bindrae.training.schedule import cosine_with_warmup
from bindrae.training.state import TrainingState
from bindrae.training.step import StepPlan, backward

MODEL = ModelSettings(
    c_s=32, c_z=16, c_hidden=8, heads=4, depth=1, qk_points=2, v_points=2, d_lig=16, ligand_heads=4, local_neighbours=6,
    local_hidden=32, ligand_neighbours=4, dropout=0.1, ligand_warmup_steps=2,
)  # fmt: skip
TRAINING = TrainingSettings(
    max_epochs=4,
    batch_size=1,
    max_residues=48,
    noise_start_step=1,
    warmup_steps=2,
    log_steps=1,
    device="cpu",
    shown_fraction=0.5,
    structure_fraction=0.5,
)


def train(layout: DataLayout, folder: Path, settings: TrainingSettings = TRAINING, **kwargs: bool) -> RunLayout:
    run = RunLayout(folder)
    loop.run_training(layout, run, MODEL, settings, threads=1, **kwargs)
    return run


def history(run: RunLayout) -> list[dict]:
    """The record without its timings."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    timings = ("seconds", "residues_per_second", "peak_memory_mb")
    return [{k: v for k, v in line.items() if k not in timings} for line in lines]


def epochs(run: RunLayout) -> list[dict]:
    """The epochs of the record."""
    return [line for line in history(run) if line["event"] == "epoch"]


@pytest.fixture(scope="module")
def uninterrupted(demo_layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    return train(demo_layout, tmp_path_factory.mktemp("whole"))


def test_a_run_leaves_model_record_and_sidecar(uninterrupted: RunLayout) -> None:
    lines = epochs(uninterrupted)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert {"torsion", "fape", "distance", "clash", "pocket_irmsd", "chi1_acc20"} <= set(lines[0]["val"])
    counts = read_json(uninterrupted.training)["counts"]
    best = min(lines, key=lambda line: line["val"]["pocket_irmsd"])
    assert counts["best_epoch"] == best["epoch"]
    assert load_file(uninterrupted.model)["step"] == best["step"]


def test_interrupted_by_a_signal_and_resumed_gives_the_same_numbers(
    demo_layout: DataLayout, tmp_path: Path, uninterrupted: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = loop.update, []

    def update_then_signal(*args: object) -> float:
        norm = real(*args)
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return norm

    monkeypatch.setattr(loop, "update", update_then_signal)
    with pytest.raises(SystemExit) as stopped:
        train(demo_layout, tmp_path)
    assert stopped.value.code == loop.REQUEUE_EXIT_CODE
    assert len(steps) in (2, 3)  # at once, or where the step's own look at the signal was over
    monkeypatch.setattr(loop, "update", real)
    torch.manual_seed(99)  # nothing of this process may leak into the resumed run
    run = train(demo_layout, tmp_path)
    assert history(run) == history(uninterrupted)
    assert run.model.read_bytes() == uninterrupted.model.read_bytes()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_kill_between_checkpoints_loses_no_more_than_since_the_last(
    demo_layout: DataLayout, tmp_path: Path, uninterrupted: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.validate

    def die_in_the_second(*args: object) -> dict[str, float]:
        if (tmp_path / "checkpoints" / "last.pt").is_file():
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "validate", die_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(demo_layout, tmp_path)
    monkeypatch.setattr(loop, "validate", real)
    # The record was written past the checkpoint; the lines must not come twice.
    assert history(train(demo_layout, tmp_path)) == history(uninterrupted)


def stopped_run(layout: DataLayout, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished run with one checkpoint."""
    with monkeypatch.context() as patch:
        real = loop.backward

        def stop(*args: object) -> dict[str, float]:
            os.kill(os.getpid(), signal.SIGUSR1)
            return real(*args)

        patch.setattr(loop, "backward", stop)
        with pytest.raises(SystemExit):
            train(layout, folder)


def test_changed_settings_are_refused_by_name_unless_told_to_start_over(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_run(demo_layout, tmp_path, monkeypatch)
    changed = TRAINING.model_copy(update={"lr": 5e-4, "max_epochs": 1})
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BindraeError, match=r"training.lr: 0.0001 -> 0.0005; training.max_epochs: 4 -> 1"):
        train(demo_layout, tmp_path, changed)
    assert signal.getsignal(signal.SIGTERM) is before  # a refused run leaves no handler behind
    run = train(demo_layout, tmp_path, changed, restart_if_changed=True)
    assert [line["epoch"] for line in epochs(run)] == [1]


def test_how_a_run_is_carried_out_may_change_on_the_way(
    demo_layout: DataLayout, tmp_path: Path, uninterrupted: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_run(demo_layout, tmp_path, monkeypatch)
    changed = TRAINING.model_copy(update={"loader_workers": 1, "checkpoint_minutes": 1e-9, "log_steps": 1000})
    assert epochs(train(demo_layout, tmp_path, changed)) == epochs(uninterrupted)


def test_a_finished_run_writes_its_outputs_again_instead_of_training_again(
    demo_layout: DataLayout, uninterrupted: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = (uninterrupted.model, uninterrupted.metrics)
    before = [path.read_bytes() for path in outputs]
    for path in (*outputs, uninterrupted.training):
        path.unlink()  # as Snakemake does when it does not know how a job ended
    with monkeypatch.context() as patch:
        patch.setattr(loop, "update", lambda *a: pytest.fail("a step was taken"))
        train(demo_layout, uninterrupted.root)
    assert [path.read_bytes() for path in outputs] == before
    assert read_json(uninterrupted.training)["counts"]["epochs"] == 4


def test_a_finished_run_with_other_settings_starts_over(
    demo_layout: DataLayout, uninterrupted: RunLayout, tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted.root, tmp_path, dirs_exist_ok=True)
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 2}))
    assert [line["epoch"] for line in epochs(run)] == [1, 2]
    assert history(train(demo_layout, tmp_path, fresh=True)) == history(uninterrupted)


def test_a_damaged_checkpoint_is_named_unless_the_one_before_is_whole(
    demo_layout: DataLayout, tmp_path: Path, uninterrupted: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunLayout(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").write_bytes(b"half a file")
    with pytest.raises(BindraeError, match=r"last.pt is damaged.*\n.*--fresh"):
        train(demo_layout, tmp_path)
    shutil.copytree(uninterrupted.checkpoints, run.checkpoints, dirs_exist_ok=True)
    # What the last state was made of is all that is lost.
    (run.checkpoints / "last.pt").write_bytes(b"half a file")
    assert epochs(train(demo_layout, tmp_path)) == epochs(uninterrupted)
    assert "going on from previous.pt" in capsys.readouterr().err
    train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 1}), fresh=True)
    assert [line["epoch"] for line in epochs(run)] == [1]


def test_the_three_best_epochs_are_kept(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 1.0, 2.0, 4.0, 0.5, float("nan")])
    monkeypatch.setattr(loop, "validate", lambda *a: {"loss": 1.0, "pocket_irmsd": next(scores)})
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 6}))
    assert sorted(path.name for path in run.checkpoints.glob("epoch-*")) == [
        "epoch-0002.safetensors", "epoch-0003.safetensors", "epoch-0005.safetensors",
    ]  # fmt: skip
    assert read_json(run.training)["counts"]["best_epoch"] == 5
    assert run.model.read_bytes() == (run.checkpoints / "epoch-0005.safetensors").read_bytes()


def test_accuracies_are_better_when_higher(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([50.0, 70.0, 60.0])
    monkeypatch.setattr(loop, "validate", lambda *a: {"loss": 1.0, "chi1_acc20": next(scores)})
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 3, "select_by": "chi1_acc20"}))
    assert [line["best"] for line in epochs(run)] == [True, True, False]


def test_a_loss_that_is_not_finite_stops_the_run_and_can_be_replayed(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def poisoned(model_settings: ModelSettings, settings: TrainingSettings, world: World) -> TrainingState:
        state = started(model_settings, settings, world)
        with torch.no_grad():
            state.model.layers[0].transition[1].bias[3] = torch.nan
        return state

    started = TrainingState.start
    monkeypatch.setattr(loop.TrainingState, "start", poisoned)
    name = ShardDataset(demo_layout, "train").ids[0]
    with pytest.raises(FloatingPointError, match=name) as stopped:
        train(demo_layout, tmp_path)
    path = tmp_path / "checkpoints" / "replay-step-0.pt"
    assert str(path) in str(stopped.value)
    values = replay(path)
    assert not np.isfinite(values["loss"])
    assert "first module with a bad output: layers.0.transition.1" in capsys.readouterr().out
    with pytest.raises(BindraeError, match="does not exist"):
        replay(tmp_path / "nothing.pt")


def test_patience_ends_the_run(demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([2.0, 1.0, 1.5, 1.2, 0.5])
    monkeypatch.setattr(loop, "validate", lambda *a: {"loss": 1.0, "pocket_irmsd": next(scores)})
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 5, "patience": 2}))
    assert [line["best"] for line in epochs(run)] == [True, True, False, False]


def test_the_record_has_steps_with_speed_memory_and_gradient(demo_layout: DataLayout, tmp_path: Path) -> None:
    run = train(demo_layout, tmp_path, TRAINING.model_copy(update={"max_epochs": 1, "tensorboard": True}))
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, lines[-1]["step"] + 1))
    assert all(line["gradient_norm"] > 0 and line["peak_memory_mb"] > 50 for line in steps)
    assert np.mean([line["loss"] for line in steps]) == pytest.approx(lines[-1]["train"]["loss"])
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_gradients_of_a_step_are_the_mean_over_its_batches(demo_layout: DataLayout, tmp_path: Path) -> None:
    dataset = ShardDataset(demo_layout, "all")
    settings = TRAINING.model_copy(update={"accumulate": 2, "clip_norm": 1e9})
    world = World(0, 1, torch.device("cpu"))
    model = MODEL.model_copy(update={"dropout": 0.0})
    batches = [collate_ipa_batch([crop_sample_of(dataset, i)]) for i in range(2)]
    plan, gradients = StepPlan(shows=True, structure=True), []
    for chosen in ([0], [1], [0, 1]):
        state = TrainingState.start(model, settings, world)
        for i in chosen:
            backward(state.model, batches[i], state.scaler, settings, world, plan, 7, tmp_path / "replay.pt")
        world.average_gradients(state.model, len(chosen))
        gradients.append(torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[2], (gradients[0] + gradients[1]) / 2)


def crop_sample_of(dataset: ShardDataset, index: int) -> tuple[str, dict[str, torch.Tensor]]:
    name, sample = dataset[index]
    return name, SeededCrop(40, 0, 0)(sample, index)


def test_two_processes_give_the_result_of_one(overfit_layout: DataLayout, tmp_path: Path) -> None:
    settings = TRAINING.model_copy(
        update={
            "accumulate": 2,
            "max_epochs": 1,
            "max_residues": 40,
            "noise_start_step": 0,
            "batch_size": 1,
            "shown_fraction": 1.0,
            "structure_fraction": 1.0,
        }
    )
    one = RunLayout(tmp_path / "one")
    loop.run_training(overfit_layout, one, MODEL, settings, threads=1)
    two = RunLayout(tmp_path / "two")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"),
        *("bindrae", "train", "--data", str(overfit_layout.root), "--run", str(two.root)),
        *("--model", MODEL.model_dump_json(), "--settings", settings.model_dump_json()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert read_json(two.training)["counts"]["processes"] == 2
    for a, b in zip(history(one), history(two), strict=True):
        for part in ("train", "val") if a["event"] == "epoch" else ("loss", "gradient_norm", "lr"):
            assert a[part] == pytest.approx(b[part], rel=1e-3)
    a, b = load_file(one.model), load_file(two.model)
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=2e-5, rtol=1e-3)


def test_processes_that_cannot_share_a_step_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(BindraeError, match="multiple of 3"):
        join_world("cpu", 4)


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
            "c_s": 64, "c_z": 32, "c_hidden": 16, "depth": 2, "local_hidden": 64, "local_neighbours": 12,
            "dropout": 0.0, "ligand_warmup_steps": 0,
        }
    )  # fmt: skip
    run = RunLayout(tmp_path)
    loop.run_training(overfit_layout, run, model, overfit_settings(2), threads=2)
    lines = epochs(run)
    assert lines[-1]["train"]["loss"] < 0.5 * lines[0]["train"]["loss"]
    assert lines[-1]["val"]["chi1_acc20"] >= 95.0


def test_learning_by_heart_validates_on_what_it_trained_on(
    demo_layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overfit, "TARGET_PERCENT", 1.0)
    assert run_overfit(demo_layout, RunLayout(tmp_path), MODEL, complexes=1, epochs=2) >= 1.0
    counts = read_json(RunLayout(tmp_path).training)["counts"]
    assert (counts["train_complexes"], counts["val_complexes"]) == (1, 1)
    with pytest.raises(BindraeError, match="complexes, not 10000"):
        run_overfit(demo_layout, RunLayout(tmp_path), MODEL, complexes=10000, epochs=1)


def test_learning_by_heart_that_fails_says_so(demo_layout: DataLayout, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match="learnt by heart to"):
        run_overfit(demo_layout, RunLayout(tmp_path), MODEL, complexes=1, epochs=1)
