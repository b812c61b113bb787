"""A working folder like a clone's, in which Snakemake runs with a stand-in for the command `bindrae`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMPLEXES = ("1abc", "2abc", "3abc", "4abc", "5abc", "6abc")


@dataclass
class Clone:
    """A folder with workflow/, config/ and a dataset of empty files; `bindrae` on its PATH is the stand-in."""

    folder: Path
    commands: Path

    @property
    def calls(self) -> Path:
        """One JSON line for each command that ran."""
        return self.folder / "calls.jsonl"

    def snakemake(
        self, *arguments: str, versions: dict[str, int] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake, if asked with other versions of stages."""
        code = (
            "import json, sys\nfrom bindrae.data.stages import VERSIONS\nfrom snakemake.cli import main\n"
            "VERSIONS.update(json.loads(sys.argv.pop(1)))\nmain()"
        )
        path = os.pathsep.join([str(self.commands), os.environ["PATH"]])
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BINDRAE_", "SNAKEMAKE_"))}
        return subprocess.run(
            [sys.executable, "-c", code, json.dumps(versions or {}), *arguments],
            cwd=self.folder,
            env={**inherited, "PATH": path, "BINDRAE_STUB_LOG": str(self.calls), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, *arguments: str, **environment: str) -> dict[str, int]:
        """Run the workflow and count the commands that it called."""
        self.calls.unlink(missing_ok=True)
        done = self.snakemake(*arguments, "--configfile", "config.yaml", **environment)
        assert done.returncode == 0, done.stdout
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return dict(Counter(json.loads(line)[0] for line in lines))

    def plan(self, *arguments: str, versions: dict[str, int] | None = None) -> dict[str, int]:
        """Jobs that a dry run announces, counted by rule; targets left out."""
        done = self.snakemake("-n", *arguments, "--configfile", "config.yaml", versions=versions)
        assert done.returncode == 0, done.stdout
        _, found, stats = done.stdout.partition("Job stats:")
        if not found:
            assert "Nothing to be done" in done.stdout, done.stdout
            return {}
        jobs = {name: int(count) for name, count in re.findall(r"^([a-z_]+) +(\d+)$", stats, re.MULTILINE)}
        return {name: count for name, count in jobs.items() if name not in ("all", "total")}

    def add_complex(self, name: str) -> None:
        """Put one more complex into the dataset."""
        folder = self.folder / "complexes" / name
        folder.mkdir()
        (folder / f"{name}_protein.pdb").touch()
        (folder / f"{name}_ligand.sdf").touch()


def make_clone(folder: Path, commands: Path) -> Clone:
    """A clone with six complexes in two batches, nothing run yet."""
    clone = Clone(folder, commands)
    for name in ("workflow", "config", "slurm"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "complexes").mkdir()
    for name in COMPLEXES:
        clone.add_complex(name)
    (folder / "config.yaml").write_text(
        "dataset: small\nroot: complexes\nindex: {layout: casf2016, n_batches: 2}\ntraining: {device: cpu}\n"
    )
    return clone
