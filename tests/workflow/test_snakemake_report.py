"""What `snakemake --report` shows: the pages with their captions and labels."""

from __future__ import annotations

import json
import re

from workflow_clone import Clone


def test_the_pages_stand_in_the_report_of_snakemake(rerun: Clone) -> None:
    done = rerun.snakemake("--report", "all.html", "--configfile", "config.yaml")
    assert done.returncode == 0, done.stdout
    page = (rerun.folder / "all.html").read_text()
    labels = [json.loads(found) for found in re.findall(r'"labels": (\{[^}]*\})', page)]
    assert {"dataset": "small", "run": "default", "page": "report"} in labels
    assert {"dataset": "small", "page": "data quality"} in labels
    assert {"report.html", "quality.html"} <= set(re.findall(r"filename=([a-z]+\.html);base64", page))
    for caption in ("four figures against targets", "every rejection with its reason", "rebuilds the side chains"):
        assert caption in page
