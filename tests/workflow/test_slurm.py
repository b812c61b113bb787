"""The workflow on a real Slurm of one node: the demo from end to end, and what comes after each kind of accident.

Every accident is followed by what README.md tells to do; then the results are those of an undisturbed run, what was
whole is not made again, and nothing half-written is left. `make test-slurm` runs these tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_clone import SLURM, STARTED, SlurmClone, job_of, jobs, make_slurm_clone, resume_node, slurm, wait_for
from workflow_clone import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
NODE = Path(__file__).parent / "slurm_node.sh"


@pytest.fixture(scope="module", autouse=True)
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one-node Slurm, while these tests run."""
    folder = tmp_path_factory.mktemp("slurm-node")
    subprocess.run([NODE, "up", folder], check=True, timeout=600)
    yield
    subprocess.run([NODE, "down", folder], check=True, timeout=120)


@pytest.fixture(autouse=True)
def idle(node: None, tmp_path: Path) -> Iterator[None]:
    """Leave no Snakemake and no job behind, whatever a test did."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
    resume_node()
    slurm("scancel", "--user=root")
    wait_for(lambda: not jobs("RUNNING,PENDING,COMPLETING"), "the end of all jobs")
    # Without control groups, processes of a job can outlive a node that is set down.
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(tmp_path):
                os.kill(int(link.parent.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, dict[str, Any]]) -> SlurmClone:
    """The data of a run without Slurm and without accidents, to compare with."""
    clone = make_slurm_clone(tmp_path_factory.mktemp("undisturbed") / "clone", demo)
    clone.run("pocket", "--cores", "2")
    assert len(clone.digests()) > 5
    return clone


@pytest.fixture(scope="module")
def trained(undisturbed: SlurmClone) -> SlurmClone:
    """The same run to its end."""
    undisturbed.run("--cores", "2")
    assert len(undisturbed.digests()) > 20
    return undisturbed


@pytest.fixture
def clone(tmp_path: Path, demo: dict[str, dict[str, Any]]) -> SlurmClone:
    """A clone in which nothing has run."""
    return make_slurm_clone(tmp_path / "clone", demo)


@pytest.fixture
def prepared(tmp_path: Path, trained: SlurmClone) -> SlurmClone:
    """A copy of the undisturbed clone before its training."""
    shutil.copytree(trained.folder, tmp_path / "clone", symlinks=True)
    clone = SlurmClone(tmp_path / "clone")
    shutil.rmtree(clone.run_folder)
    return clone


def same_as(undisturbed: SlurmClone, clone: SlurmClone, stages: tuple[str, ...]) -> None:
    """Check that these stages left the same bytes, and nothing else."""
    wanted, found = (
        {name: digest for name, digest in one.digests().items() if any(f"/{stage}" in name for stage in stages)}
        for one in (undisturbed, clone)
    )
    # The index holds the paths of files, which differ from folder to folder.
    assert {n: d for n, d in found.items() if "/index/" not in n} == {
        n: d for n, d in wanted.items() if "/index/" not in n
    }
    assert clone.leftovers() == []


def test_demo_runs_from_end_to_end_with_a_gpu_for_training(tmp_path: Path) -> None:
    for name in ("workflow", "config", "slurm"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    before = set(jobs())
    clone = SlurmClone(tmp_path, common=())
    process = clone.start(*SLURM, "--config", "training={device: auto, max_epochs: 2}")
    number = wait_for(lambda: process.poll() is not None or job_of("rule_train"), "the training job", 600)
    assert isinstance(number, str), (tmp_path / "snakemake.log").read_text()
    granted = slurm("scontrol", "show", "job", "--details", number)
    told = clone.finish(process, 900)
    assert process.returncode == 0, told
    assert "TresPerJob=gres:gpu:1" in granted
    assert "GRES=gpu:1(IDX:" in granted
    done = {comment: number for number, comment in jobs("COMPLETED").items() if number not in before}
    assert {"rule_index", "rule_clean_batch_wildcards_0000", "rule_train", "rule_report"} <= set(done)
    assert (tmp_path / "results" / "demo" / "runs" / "default" / "report.html").stat().st_size > 10_000


def test_a_cancelled_data_job_is_submitted_again(clone: SlurmClone, undisturbed: SlurmClone) -> None:
    process = clone.start("pocket", *SLURM)
    log = clone.data / "logs" / "clean" / "0001.log"
    wait_for(log.exists, "the log of clean")
    cancelled = job_of("rule_clean_batch_wildcards_0001")
    slurm("scancel", cancelled)
    told = clone.finish(process)
    assert process.returncode == 0, told
    assert jobs("CANCELLED").get(cancelled) == "rule_clean_batch_wildcards_0001"
    same_as(undisturbed, clone, ("clean", "pocket"))


def test_after_a_kill_of_snakemake_the_run_goes_on(clone: SlurmClone, undisturbed: SlurmClone) -> None:
    process = clone.start("pocket", *SLURM)
    printed = clone.folder / "snakemake.log"
    wait_for(lambda: list((clone.data / "logs").glob("clean/*.log")), "the start of clean")
    # One batch of clean fills the node, which takes no new jobs from here on: some are left in the queue.
    host = slurm("hostname", "-s").strip()
    slurm("scontrol", "update", f"nodename={host}", "state=drain", "reason=test")
    wait_for(lambda: "(Rule: clean_batch)" in printed.read_text(), "a whole batch")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    whole = _tables(clone, "clean")
    assert whole
    left = wait_for(lambda: not jobs("RUNNING,COMPLETING") and jobs("PENDING"), "jobs left over")

    locked = clone.start("pocket", *SLURM)
    told = clone.finish(locked)
    assert locked.returncode != 0
    assert "--unlock" in told
    clone.run("--unlock")
    stopped = clone.start("pocket", *SLURM)
    told = clone.finish(stopped)
    assert stopped.returncode != 0
    assert f"scancel {' '.join(sorted(left, key=int))}`" in told
    slurm("scancel", *left)
    resume_node()
    wait_for(lambda: not jobs("PENDING,RUNNING,COMPLETING"), "the end of the jobs")
    clone.run("pocket", *SLURM)
    assert _tables(clone, "clean").items() >= whole.items(), "what was whole is kept"
    same_as(undisturbed, clone, ("clean", "pocket"))


def test_a_training_that_is_told_to_stop_goes_on_where_it_was(prepared: SlurmClone, trained: SlurmClone) -> None:
    process = prepared.start("train", *SLURM)
    log = prepared.run_folder / "logs" / "train.log"
    wait_for(lambda: log.exists() and "epoch 2/" in log.read_text(), "the second epoch", 180)
    number = job_of("rule_train")
    slurm("scancel", "--signal=TERM", number)
    wait_for(lambda: job_of("rule_train", "PENDING") == number, "the job back in the queue")
    assert "back into the queue" in log.read_text()
    slurm("scontrol", "update", f"jobid={number}", "starttime=now")  # Slurm would wait for two minutes
    told = prepared.finish(process)
    assert process.returncode == 0, told
    assert "train: resuming at epoch" in log.read_text()
    assert "Restarts=1" in slurm("scontrol", "show", "job", number)
    same_as(trained, prepared, ("model.safetensors",))


def test_a_full_disk_is_named_and_the_next_run_goes_on(clone: SlurmClone, undisturbed: SlurmClone) -> None:
    results = clone.folder / "results"
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", results], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        # Room for the index, the logs and little else.
        filler = results / "filler"
        process = clone.start("pocket", *SLURM, "--retries", "0")
        wait_for((clone.data / "index" / "batches.json").exists, "the index")
        _fill(filler, leave=30_000)
        told = clone.finish(process)
        assert process.returncode != 0
        assert "no space left" in told.lower()
        table = clone.data / "clean" / "0000.parquet"
        assert not table.exists() or table.stat().st_size > 0
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", results], check=True)
        clone.run("pocket", *SLURM)
        same_as(undisturbed, clone, ("clean", "pocket"))
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)


def test_jobs_of_a_node_that_went_down_start_again(clone: SlurmClone, undisturbed: SlurmClone) -> None:
    process = clone.start("pocket", *SLURM)
    host = slurm("hostname", "-s").strip()
    wait_for((clone.data / "logs" / "clean" / "0000.log").exists, "the log of clean")
    running = jobs("RUNNING")
    slurm("scontrol", "update", f"nodename={host}", "state=down", "reason=test")
    # A node that comes back while its old jobs are still ending holds the new ones.
    wait_for(lambda: not jobs("RUNNING,COMPLETING") and not _step_daemons(), "the end of the jobs on the node")
    resume_node()
    for number in running:
        slurm("scontrol", "update", f"jobid={number}", "starttime=now")
    told = clone.finish(process)
    assert process.returncode == 0, told
    for number in running:
        assert "Restarts=1" in slurm("scontrol", "show", "job", number)
    same_as(undisturbed, clone, ("clean", "pocket"))


def _step_daemons() -> list[str]:
    """Slurm's processes that look after jobs on this node."""
    names = (path for path in Path("/proc").glob("[0-9]*/comm"))
    return [str(name) for name in names if name.exists() and name.read_text().startswith("slurmstepd")]


def _tables(clone: SlurmClone, stage: str) -> dict[str, int]:
    """Time of each table of a stage that is there."""
    return {path.name: path.stat().st_mtime_ns for path in (clone.data / stage).glob("????.parquet")}


def _fill(path: Path, leave: int) -> None:
    """Fill the file system of `path` but for so many bytes."""
    free = os.statvfs(path.parent)
    path.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - leave))
