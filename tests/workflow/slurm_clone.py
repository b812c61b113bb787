"""A working folder with two real complexes, in which Snakemake submits to the one-node Slurm and can be disturbed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from workflow_clone import REPOSITORY

# One thread: with more, torch adds in an order that differs from run to run.
COMMON = ("--configfile", "config.yaml", "--set-threads", "train=1", "evaluate=2", "split=2")
SLURM = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "4")
CONFIG = """\
dataset: two
root: complexes
index: {layout: casf2016, n_batches: 2}
clean: {chains_within_angstrom: 8.0}
split: {fractions: [0.75, 0.25, 0.0]}
quality: {floor_complexes: 0}
model: {preset: config/model/tiny.yaml, c_s: 32, depth: 1, local_hidden: 16}
training: {max_epochs: 6, batch_size: 1, max_residues: 64, warmup_steps: 5, device: auto}
evaluation: {side: val, bootstrap: 100}
"""
STARTED: list[subprocess.Popen[bytes]] = []
"""Every Snakemake that a test started."""
# What a run leaves that is compared; the JSON beside it also says how long it took.
COMPARED = ("*.parquet", "*.pt", "*.safetensors")


@dataclass
class SlurmClone:
    """A folder like a clone's; the real `bindrae` of this environment runs in it."""

    folder: Path
    common: tuple[str, ...] = COMMON

    @property
    def data(self) -> Path:
        """Data folder of the dataset."""
        return self.folder / "results" / "two" / "data"

    @property
    def run_folder(self) -> Path:
        """Folder of the training run."""
        return self.folder / "results" / "two" / "runs" / "default"

    def start(self, *arguments: str, log: str = "snakemake.log") -> subprocess.Popen[bytes]:
        """Start Snakemake; what it prints goes to a file in the folder."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BINDRAE_", "SNAKEMAKE_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with (self.folder / log).open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments, *self.common],
                cwd=self.folder,
                env={**inherited, "PATH": path},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        STARTED.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], seconds: float = 600, log: str = "snakemake.log") -> str:
        """Wait for Snakemake to end and return what it printed."""
        process.wait(seconds)
        return (self.folder / log).read_text()

    def run(self, *arguments: str, seconds: float = 600) -> str:
        """Run Snakemake; it must succeed."""
        process = self.start(*arguments)
        told = self.finish(process, seconds)
        assert process.returncode == 0, told
        return told

    def digests(self) -> dict[str, str]:
        """Hash of every table and tensor file under results/, by its path there; checkpoints left out."""
        root = self.folder / "results"
        files = sorted(path for pattern in COMPARED for path in root.rglob(pattern) if "checkpoints" not in path.parts)
        return {str(path.relative_to(root)): _digest(path) for path in files}

    def leftovers(self) -> list[str]:
        """Temporary files of killed jobs that nothing removed."""
        return [str(path) for path in (self.folder / "results").rglob("*.tmp")]


def _digest(path: Path) -> str:
    """Hash of a file; of a model its tensors alone, because the order of the texts in its header is left to chance."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        content = b"".join(name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(load_file(path).items()))
    return hashlib.sha256(content).hexdigest()


def make_slurm_clone(folder: Path, complexes: dict[str, dict[str, Any]]) -> SlurmClone:
    """A clone with two complexes of the demo in two batches, one three times over, nothing run yet.

    The copies are of one cluster, hence of one side: an epoch of the training has three steps.
    """
    folder.mkdir(exist_ok=True)
    for name in ("workflow", "config", "slurm"):
        (folder / name).symlink_to(REPOSITORY / name)
    for identifier in ("1of6", "1of6-A", "1of6-B", "1s3v-A"):  # the last alone falls into batch 1
        target = folder / "complexes" / identifier
        target.mkdir(parents=True)
        entry = complexes[identifier.split("-")[0]]
        shutil.copyfile(entry["protein"], target / f"{identifier}_protein.pdb")
        shutil.copyfile(entry["ligand"][0], target / f"{identifier}_ligand.sdf")
    (folder / "config.yaml").write_text(CONFIG)
    return SlurmClone(folder)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Wait until the condition holds and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def slurm(*command: str) -> str:
    """Run one of Slurm's commands."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def resume_node() -> None:
    """Let the node take jobs again, whatever was done to it."""
    host = slurm("hostname", "-s").strip()
    for _ in range(100):
        if slurm("sinfo", "--noheader", "--Node", "--format=%T").split()[0] in ("idle", "mixed", "allocated"):
            return
        # Refused when the node has come back by itself in the meantime.
        subprocess.run(["scontrol", "update", f"nodename={host}", "state=resume"], check=False, timeout=60)
        time.sleep(0.2)
    raise AssertionError(slurm("sinfo", "--Node", "--long"))


def jobs(state: str = "all") -> dict[str, str]:
    """Comment (rule and wildcards) of each job in that state, by its number."""
    lines = slurm("squeue", "--noheader", f"--states={state}", "--format=%i|%k").splitlines()
    return {number: comment.strip() for number, comment in (line.split("|") for line in lines)}


def job_of(comment: str, state: str = "RUNNING") -> str:
    """Number of the job of this rule and batch in that state, or nothing."""
    return next((number for number, text in jobs(state).items() if text == comment), "")
