"""Which jobs run when: once and never again, exactly those that a change concerns, all of them through one command."""

from __future__ import annotations

import json

import pytest
from workflow_clone import Clone

BATCHES = 2
EVERYTHING = {
    "index": 1,
    "clean": BATCHES,
    "pocket": BATCHES,
    "torsions": BATCHES,
    "tokens": BATCHES,
    "embed": BATCHES,
    "split": 1,
    "shards": BATCHES,
    "quality": 1,
    "train": 1,
    "evaluate": 1,
    "report": 1,
}
BY_BATCH = {stage for stage, count in EVERYTHING.items() if count == BATCHES}
AFTER_SHARDS = "shards quality train evaluate report"


def jobs(stages: str) -> dict[str, int]:
    """Jobs of whole stages, by the names of their rules."""
    return {f"{stage}_batch" if stage in BY_BATCH else stage: EVERYTHING[stage] for stage in stages.split()}


def test_first_run_calls_every_command_once(clone: Clone) -> None:
    assert clone.plan() == jobs(" ".join(EVERYTHING))
    assert clone.run() == EVERYTHING
    assert clone.plan() == {}
    assert clone.plan("data") == {}


def test_targets(clone: Clone) -> None:
    listed = clone.snakemake("--list-target-rules").stdout.split()
    assert {"all", "data", *EVERYTHING} <= set(listed)


@pytest.mark.parametrize(
    ("target", "called"),
    [
        ("pocket", {"index": 1, "clean": BATCHES, "pocket": BATCHES}),
        ("split", {"index": 1, "clean": BATCHES, "split": 1}),
    ],
)
def test_a_stage_runs_by_its_name_for_all_batches(clone: Clone, target: str, called: dict[str, int]) -> None:
    assert clone.run(target) == called
    assert clone.run(target) == {}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("clean={max_residues: 100}", f"clean pocket torsions tokens embed split {AFTER_SHARDS}"),
        ("pocket={sigma_angstrom: 3.0}", f"pocket tokens {AFTER_SHARDS}"),
        ("tokens={max_points: 64}", f"tokens {AFTER_SHARDS}"),
        ("embed={overlap: 128}", f"embed {AFTER_SHARDS}"),
        ("split={seed: 1}", f"split {AFTER_SHARDS}"),
        ("shards={dtype: float32}", AFTER_SHARDS),
        ("quality={max_examples: 5}", "quality report"),
        ("model={c_s: 64}", "train evaluate report"),
        ("training={device: cpu, seed: 1}", "train evaluate report"),
        ("training={device: auto, log_steps: 5, processes: 2, accumulate: 2}", "train evaluate report"),
        ("training={device: auto, log_steps: 5, checkpoint_minutes: 3}", "report"),
        ("evaluation={bootstrap: 200}", "evaluate report"),
    ],
    ids=lambda value: value.split("=")[0] if "=" in value else "",
)
def test_a_setting_reruns_its_stage_and_what_depends_on_it(rerun: Clone, override: str, stages: str) -> None:
    assert rerun.plan("--config", override) == jobs(stages)


@pytest.mark.parametrize(
    ("stage", "stages"),
    [
        ("index", " ".join(EVERYTHING)),
        ("torsions", f"torsions {AFTER_SHARDS}"),
        ("split", f"split {AFTER_SHARDS}"),
        ("evaluate", "evaluate report"),
    ],
)
def test_a_raised_version_reruns_its_stage_and_what_depends_on_it(rerun: Clone, stage: str, stages: str) -> None:
    assert rerun.plan(versions={stage: 99}) == jobs(stages)


def test_predicting_the_dataset_is_a_matter_of_its_own(rerun: Clone) -> None:
    shipped = ("--config", "prediction={weights: shipped}")
    assert rerun.plan(*shipped) == {"predict_batch": BATCHES, "report": 1}
    assert rerun.run(*shipped) == {"predict": BATCHES, "report": 1}
    assert rerun.plan(*shipped) == {}
    more = ("--config", "prediction={weights: shipped, samples: 3}")
    assert rerun.plan(*more) == {"predict_batch": BATCHES, "report": 1}
    assert rerun.plan(*shipped, versions={"predict": 99}) == {"predict_batch": BATCHES, "report": 1}
    # Weights of the run: predicted again whenever it is trained again.
    own = "prediction={weights: run}"
    assert rerun.plan("--config", own, "training={device: cpu, seed: 1}") == {
        "predict_batch": BATCHES, "train": 1, "evaluate": 1, "report": 1,
    }  # fmt: skip
    assert rerun.run("predict", *shipped) == {}


def test_other_weights_to_start_from_train_again(rerun: Clone) -> None:
    weights = rerun.folder / "earlier.safetensors"
    weights.write_text("some")
    command = ("--config", "training={device: auto, log_steps: 5, init: earlier.safetensors}")
    assert rerun.run(*command) == {"train": 1, "evaluate": 1, "report": 1}
    assert rerun.plan(*command) == {}
    weights.touch()
    assert rerun.plan(*command) == {}
    weights.write_text("others")
    assert rerun.plan(*command) == jobs("train evaluate report")


def test_a_fit_is_made_where_it_is_asked_for_and_used(rerun: Clone) -> None:
    earlier = rerun.folder / "earlier.safetensors"
    earlier.write_text("some")
    command = (
        "all",
        "predict",
        "--config",
        "refinement={fit: true, start: earlier.safetensors}",
        "prediction={weights: run}",
    )
    assert rerun.run(*command) == {"fit": 1, "evaluate": 1, "predict": BATCHES, "report": 1}
    assert rerun.plan(*command) == {}
    calls = [json.loads(line) for line in rerun.calls.read_text().splitlines()]
    used = {name: options["--model"] for name, options in calls if name in ("fit", "evaluate", "predict")}
    folder = "results/small/runs/default"
    assert used == {"fit": f"{folder}/model.safetensors"} | dict.fromkeys(
        ("evaluate", "predict"), f"{folder}/fitted.safetensors"
    )
    earlier.write_text("others")
    assert rerun.plan(*command) == {"fit": 1, "evaluate": 1, "predict_batch": BATCHES, "predict": 1, "report": 1}
    assert rerun.plan(*command[:3], "refinement={fit: true, epochs: 1}", command[-1])["fit"] == 1
    assert "fits nothing" in rerun.snakemake("-n", "--config", "refinement={fit: true, epochs: 0}").stdout
    assert rerun.run("ensemble", "--config", "ensemble={seeds: [6]}", "refinement={fit: true}") == {
        "train": 1, "join": 1, "fit": 1, "evaluate": 1,
    }  # fmt: skip


def test_a_changed_split_is_carried_out(rerun: Clone) -> None:
    override = ("--config", "split={seed: 1}")
    assert rerun.run(*override) == {stage: EVERYTHING[stage] for stage in f"split {AFTER_SHARDS}".split()}
    assert rerun.plan(*override) == {}


def test_a_new_complex_touches_one_batch(rerun: Clone) -> None:
    rerun.add_complex("7abc")
    # What the new index says is known only when it is there.
    assert rerun.plan() == {"index": 1}
    assert rerun.run() == dict.fromkeys(EVERYTHING, 1)
    assert rerun.plan() == {}


def test_a_new_complex_and_a_changed_setting_together(rerun: Clone) -> None:
    override = ("--config", "pocket={sigma_angstrom: 3.0}")
    rerun.add_complex("7abc")
    called = rerun.run(*override)
    assert called == {**dict.fromkeys(EVERYTHING, 1), **dict.fromkeys(("pocket", "tokens", "shards"), BATCHES)}
    assert rerun.plan(*override) == {}


def test_an_unusable_complex_changes_only_the_quality_report(rerun: Clone) -> None:
    (rerun.folder / "complexes" / "8abc").mkdir()
    (rerun.folder / "complexes" / "8abc" / "8abc_protein.pdb").touch()
    assert rerun.run("all", "data") == {"index": 1, "quality": 1, "report": 1}


def test_a_file_replaced_inside_a_complex_touches_its_batch(rerun: Clone) -> None:
    """The folder of the dataset keeps its time."""
    (rerun.folder / "complexes" / "1abc" / "1abc_protein.pdb").write_text("another")
    assert rerun.plan() == {"index": 1}
    assert rerun.run() == dict.fromkeys(EVERYTHING, 1)
    assert rerun.plan() == {}


def test_a_complex_mended_inside_its_folder_comes_in(rerun: Clone) -> None:
    folder = rerun.folder / "complexes" / "8abc"
    folder.mkdir()
    (folder / "8abc_protein.pdb").touch()
    rerun.run("all", "data")
    (folder / "8abc_ligand.sdf").touch()
    assert rerun.run() == dict.fromkeys(EVERYTHING, 1)


def test_another_number_of_batches_moves_all_complexes(rerun: Clone) -> None:
    override = ("--config", "index={layout: casf2016, n_batches: 3}")
    called = rerun.run(*override)
    assert called == {stage: 3 if stage in BY_BATCH else 1 for stage in EVERYTHING}
    assert rerun.plan(*override) == {}


@pytest.mark.parametrize("name", ["pocket", "pocket_batch"])
def test_one_stage_can_be_forced(rerun: Clone, name: str) -> None:
    assert rerun.run("-R", name, "--until", name) == {"pocket": BATCHES}
    # The same bytes came out, so that nothing else has to run.
    assert rerun.plan() == {}


def test_a_failed_command_fails_the_run_and_the_next_run_goes_on(clone: Clone) -> None:
    arguments = ("shards", "--configfile", "config.yaml")
    failed = clone.snakemake(*arguments, BINDRAE_STUB_FAILS="tokens")
    assert failed.returncode != 0
    assert "tokens was told to fail" in failed.stdout
    logs = clone.folder / "results" / "small" / "data" / "logs"
    assert "tokens was told to fail" in (logs / "tokens" / "0000.log").read_text()
    assert clone.run("shards") == {"tokens": BATCHES, "shards": BATCHES}


def test_results_stay_inside_the_datasets_folder(finished: Clone) -> None:
    assert {path.name for path in finished.folder.iterdir()} == {
        ".snakemake", "calls.jsonl", "complexes", "config", "config.yaml", "results", "slurm", "workflow",
    }  # fmt: skip
    assert {path.name for path in (finished.folder / "results").iterdir()} == {"small"}
    assert {path.name for path in (finished.folder / "results" / "small").iterdir()} == {"data", "runs"}


def test_slurm_profile_works_in_a_clone(clone: Clone) -> None:
    done = clone.snakemake("--profile", "slurm", "-n")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("BINDRAE_SLURM_PARTITION is not set") == 1
    assert "slurm_partition" not in done.stdout


def test_slurm_profile_takes_partitions_from_the_environment(clone: Clone) -> None:
    names = {"BINDRAE_SLURM_PARTITION": "cpu7", "BINDRAE_SLURM_GPU_PARTITION": "gpu7", "BINDRAE_SLURM_ACCOUNT": "lab7"}
    done = clone.snakemake(
        "--profile", "slurm", "-n", "--configfile", "config.yaml", "--config", "training={device: auto}", **names
    )
    assert done.returncode == 0, done.stdout
    assert "is not set" not in done.stdout
    resources = dict.fromkeys(("clean_batch", "train", "evaluate"), "")
    for block in done.stdout.split("\nrule ")[1:]:
        rule = block.split(":")[0]
        resources[rule] = next(line for line in block.splitlines() if line.strip().startswith("resources:"))
    assert "slurm_partition=cpu7" in resources["clean_batch"]
    assert "slurm_partition=cpu7" in resources["evaluate"]
    assert "slurm_partition=gpu7" in resources["train"]
    assert "gpu=1" in resources["train"]
    assert all("slurm_account=lab7" in text for text in resources.values())


def test_an_ensemble_trains_each_seed_joins_and_evaluates_and_reruns_only_what_changed(rerun: Clone) -> None:
    command = ("ensemble", "--config", "ensemble={seeds: [0, 4]}")
    assert rerun.run(*command) == {"train": 2, "join": 1, "evaluate": 1}
    assert rerun.plan(*command) == {}
    calls = [json.loads(line) for line in rerun.calls.read_text().splitlines()][-4:]
    folder = "results/small/runs/default/ensemble"
    assert {c[1]["--run"]: json.loads(c[1]["--settings"])["seed"] for c in calls if c[0] == "train"} == {
        f"{folder}/seed-0": 0,
        f"{folder}/seed-4": 4,
    }
    joined = next(options for name, options in calls if name == "join")
    assert joined["models"] == f"{folder}/seed-0/model.safetensors {folder}/seed-4/model.safetensors"
    assert joined["--output"] == f"{folder}/model.safetensors"
    assert [options["--run"] for name, options in calls if name == "evaluate"] == [folder]
    # One more seed trains alone; sweeps change no training.
    assert rerun.run("ensemble", "--config", "ensemble={seeds: [0, 4, 5]}") == {"train": 1, "join": 1, "evaluate": 1}
    swept = ("ensemble", "--config", "ensemble={seeds: [0, 4, 5], sweeps: 1}")
    assert rerun.run(*swept) == {"join": 1, "evaluate": 1}
    assert "repeat" in rerun.snakemake("-n", "ensemble", "--config", "ensemble={seeds: [1, 1]}").stdout


def test_the_trainings_of_an_ensemble_start_from_weights_of_their_own(rerun: Clone) -> None:
    (rerun.folder / "a.safetensors").write_text("a")
    (rerun.folder / "b.safetensors").write_text("b")
    command = ("ensemble", "--config", "ensemble={seeds: [8, 9], init: [a.safetensors, b.safetensors]}")
    assert rerun.run(*command) == {"train": 2, "join": 1, "evaluate": 1}
    calls = [json.loads(line) for line in rerun.calls.read_text().splitlines()][-4:]
    settings = [json.loads(options["--settings"]) for name, options in calls if name == "train"]
    assert {own["seed"]: own["init"] for own in settings} == {8: "a.safetensors", 9: "b.safetensors"}
    (rerun.folder / "b.safetensors").write_text("other weights")
    assert rerun.run(*command) == {"train": 1, "join": 1, "evaluate": 1}


def test_a_forced_training_of_an_ensemble_starts_over_and_no_other_does(rerun: Clone) -> None:
    runs = rerun.folder / "results" / "small" / "runs" / "default"
    kept, forced = (folder / "checkpoints" / "last.pt" for folder in (runs, runs / "ensemble" / "seed-0"))
    command = ("ensemble", "--config", "ensemble={seeds: [0]}")
    rerun.run(*command)
    for checkpoint in (kept, forced):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()
    rerun.run(*command, "-R", "join")
    assert forced.exists()
    rerun.run(*command, "-R", "ensemble_train")
    assert not forced.exists()
    assert kept.exists()


def test_an_ablation_trains_each_row_with_each_seed_and_reruns_only_what_changed(rerun: Clone) -> None:
    grid = rerun.folder / "few.yaml"
    text = "seeds: [0, 1]\nrows:\n  default: {label: default}\n  other: {label: other, model: {z_rank: %d}}\n"
    grid.write_text(text % 1)
    command = ("ablation", "--config", "ablation=few.yaml")
    assert rerun.run(*command) == {"train": 4, "evaluate": 4, "ablation": 1}
    assert rerun.plan(*command) == {}
    calls = [json.loads(line) for line in rerun.calls.read_text().splitlines()][-9:]
    trained = {call[1]["--run"]: call[1] for call in calls if call[0] == "train"}
    assert set(trained) == {f"results/small/runs/few/{row}-{seed}" for row in ("default", "other") for seed in (0, 1)}
    other = trained["results/small/runs/few/other-1"]
    assert json.loads(other["--model"])["z_rank"] == 1
    assert json.loads(other["--settings"])["seed"] == 1
    grid.write_text(text % 3)
    assert rerun.run(*command) == {"train": 2, "evaluate": 2, "ablation": 1}
    grid.write_text("rows: {default: {label: x, model: {z_rnk: 1}}}\n")
    assert "z_rnk" in rerun.snakemake("-n", *command).stdout
