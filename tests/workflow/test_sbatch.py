"""What Slurm is asked for: the exact `sbatch` lines, without a Slurm."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from workflow_clone import Clone

SITE = {"BINDRAE_SLURM_PARTITION": "cpu7", "BINDRAE_SLURM_GPU_PARTITION": "gpu7"}


@pytest.fixture(scope="session")
def slurm_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the stand-ins for Slurm's commands."""
    folder = tmp_path_factory.mktemp("slurm-commands")
    for name in ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        command = folder / name
        command.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "slurm_stub.py").read_text())
        command.chmod(0o755)
    return folder


class Site:
    """A finished clone on a cluster that is none."""

    def __init__(self, clone: Clone, commands: Path) -> None:
        self.clone = clone
        self.lines = clone.folder.parent / "sbatch.jsonl"
        self.environment = {
            "PATH": os.pathsep.join([str(commands), str(clone.commands), os.environ["PATH"]]),
            "SLURM_STUB_LOG": str(self.lines),
        }
        self.told = ""

    def submit(self, *arguments: str, **environment: str) -> dict[str, list[str]]:
        """Run Snakemake; the arguments of `sbatch` by rule, of batch 0 where there are several."""
        polling = ("--slurm-init-seconds-before-status-checks", "1")
        options = ("--profile", "slurm", *polling, "--configfile", "config.yaml")
        done = self.clone.snakemake(*arguments, *options, **{**self.environment, **environment})
        self.told = done.stdout
        found: dict[str, list[str]] = {}
        for submitted in sorted(self.submitted(), key=comment_of):
            found.setdefault(comment_of(submitted).removeprefix("rule_").split("_wildcards_")[0], submitted)
        return found

    def submitted(self) -> list[list[str]]:
        """The arguments of every `sbatch`, in order."""
        return [json.loads(line) for line in self.lines.read_text().splitlines()] if self.lines.exists() else []


def comment_of(line: list[str]) -> str:
    """Rule and batch of a job."""
    return line[line.index("--comment") + 1]


@pytest.fixture
def site(rerun: Clone, slurm_commands: Path) -> Site:
    return Site(rerun, slurm_commands)


def asked(line: list[str]) -> list[str]:
    """What a line asks for: without the job's name, log, comment, folder and command."""
    rest = line[: next(i for i, argument in enumerate(line) if argument.startswith("--wrap="))]
    for option in ("--job-name", "--output", "--comment", "-D"):
        at = rest.index(option)
        del rest[at : at + 2]
    return rest


def test_every_stage_is_one_job_a_batch_that_asks_for_what_it_needs(site: Site) -> None:
    lines = site.submit("all", "data", "--forceall", "--config", "training={device: auto}", **SITE)
    general = ["--parsable", "--export=ALL", "-p", "cpu7"]
    assert {rule: asked(line) for rule, line in lines.items()} == {
        rule: [*general, "-t", time, "--mem", memory, "--requeue", "--ntasks=1", f"--cpus-per-task={threads}"]
        for rule, time, memory, threads in (
            ("index", "60", "2000", 1),
            ("clean_batch", "120", "4000", 4),
            ("pocket_batch", "60", "4000", 2),
            ("torsions_batch", "60", "4000", 2),
            ("tokens_batch", "60", "4000", 2),
            ("embed_batch", "30", "2000", 1),
            ("split", "120", "8000", 4),
            ("shards_batch", "60", "8000", 1),
            ("quality", "60", "8000", 1),
            ("evaluate", "240", "16000", 8),
            ("report", "30", "4000", 1),
        )
    } | {
        "train": [
            "--parsable", "--export=ALL", "-p", "gpu7", "-t", "1440", "--mem", "16000", "--nodes=1", "--requeue",
            "--cpus-per-task=8", "--signal=TERM@300", "--gpus=1",
        ]
    }  # fmt: skip
    clean = lines["clean_batch"]
    assert clean[clean.index("--job-name") + 1].startswith("bindrae_")
    assert clean[clean.index("--output") + 1].endswith("/.snakemake/slurm_logs/rule_clean_batch/0000/%j.log")
    assert Path(clean[clean.index("-D") + 1]).resolve() == site.clone.folder.resolve()
    batches = sorted(comment_of(line) for line in site.submitted() if "rule_pocket_batch" in comment_of(line))
    assert batches == ["rule_pocket_batch_wildcards_0000", "rule_pocket_batch_wildcards_0001"]


def test_the_gpu_partition_is_for_jobs_with_a_gpu_alone(site: Site) -> None:
    """The configuration of the clone trains on CPUs."""
    line = asked(site.submit("train", "-R", "train", **SITE)["train"])
    assert line[line.index("-p") + 1] == "cpu7"
    assert not [argument for argument in line if "gpu" in argument]


def test_the_gpu_model_of_the_site_is_asked_for(site: Site) -> None:
    gpu = {**SITE, "BINDRAE_SLURM_GPU_MODEL": "a100"}
    override = ("--config", "training={device: auto}")
    assert "--gpus=a100:1" in site.submit("train", "-R", "train", *override, **gpu)["train"]


def test_a_language_model_runs_on_a_gpu(site: Site) -> None:
    override = ("--config", "training={device: auto}", "embed={plm: esm2_t6_8M_UR50D, weights_dir: w}")
    line = asked(site.submit("embed", "-R", "embed_batch", *override, **SITE)["embed_batch"])
    assert "--gpus=1" in line
    assert line[line.index("-p") + 1] == "gpu7"


def test_several_gpus_are_asked_for_on_one_node_and_torchrun_starts_a_process_each(site: Site) -> None:
    override = ("--config", "training={device: auto, processes: 2, accumulate: 2}")
    line = asked(site.submit("train", "-R", "train", "-p", *override, **SITE)["train"])
    assert {"--gpus=2", "--nodes=1", "--cpus-per-task=8"} <= set(line)
    assert not [argument for argument in line if argument.startswith("--ntasks")]
    assert "torchrun --standalone --nproc-per-node 2 -m -- bindrae train --data" in site.told


def test_a_job_that_failed_asks_for_more_memory_and_time(site: Site) -> None:
    arguments = ("tokens", "-R", "tokens_batch", "--until", "tokens_batch")
    site.submit(*arguments, SLURM_STUB_FAILS="tokens_batch")
    lines = [asked(line) for line in site.submitted() if comment_of(line).endswith("_0000")]
    assert [line[line.index("--mem") + 1] for line in lines] == ["4000", "8000", "12000"]
    assert [line[line.index("-t") + 1] for line in lines] == ["60", "120", "180"]


def test_what_is_unset_is_left_to_the_cluster_and_named(site: Site) -> None:
    line = asked(site.submit("report", "-R", "report", "--until", "report")["report"])
    assert line[line.index("-p") + 1] == "common", "the default partition of the cluster"
    assert "-A" not in line
    for name in ("PARTITION", "ACCOUNT", "GPU_PARTITION"):
        assert site.told.count(f"BINDRAE_SLURM_{name} is not set, the cluster's default is used") == 1


@pytest.mark.parametrize("accounting", ["yes", "no"])
def test_an_account_is_charged_where_there_is_accounting(site: Site, accounting: str) -> None:
    told = {"BINDRAE_SLURM_ACCOUNT": "lab7", "SLURM_STUB_ACCOUNTING": accounting}
    line = asked(site.submit("report", "-R", "report", "--until", "report", **told)["report"])
    assert ("-A" in line) is (accounting == "yes")
    assert ("BINDRAE_SLURM_ACCOUNT is not used" in site.told) is (accounting == "no")


def test_jobs_left_by_a_killed_run_are_named_before_anything_is_submitted(site: Site) -> None:
    arguments = ("report", "-R", "report", "--until", "report")
    assert site.submit(*arguments, SLURM_STUB_LEFT="71 72") == {}
    assert "scancel 71 72`" in site.told
    assert "Traceback" not in site.told
    assert set(site.submit(*arguments)) == {"report"}, "the folder is not left locked"


def test_a_forced_training_starts_over_and_another_does_not(site: Site) -> None:
    checkpoint = site.clone.folder / "results" / "small" / "runs" / "default" / "checkpoints" / "last.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    site.submit("evaluate", "-R", "evaluate")
    assert checkpoint.exists()
    site.submit("train", "-R", "train", "-n")
    assert checkpoint.exists(), "a dry run changes nothing"
    site.submit("train", "-R", "train")
    assert not checkpoint.exists()
