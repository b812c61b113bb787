"""The workflow as a module of another one, as the workflow catalog deploys it."""

from __future__ import annotations

import re

from test_dag import EVERYTHING, jobs
from workflow_clone import REPOSITORY, Clone

USER = """
configfile: "config.yaml"

module bindrae:
    snakefile: "{repository}/workflow/Snakefile"
    config: config

use rule * from bindrae
"""


def test_another_workflow_takes_all_rules_with_a_configuration_of_its_own(clone: Clone) -> None:
    for name in ("workflow", "config", "slurm"):
        (clone.folder / name).unlink()  # nothing of the repository lies in the user's folder
    (clone.folder / "Snakefile").write_text(USER.format(repository=REPOSITORY))
    assert clone.plan("--cores", "1") == jobs(" ".join(EVERYTHING))
    assert clone.run("--cores", "1") == EVERYTHING
    assert clone.plan("--cores", "1") == {}
    shown = clone.snakemake("-n", "-p", "--cores", "1", "--forcerun", "train").stdout
    (script,) = re.findall(r"exec bash (\S+) ", shown)
    assert (clone.folder / script).resolve() == (REPOSITORY / "workflow/scripts/resumable.sh").resolve()
