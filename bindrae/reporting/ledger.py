"""The books of the stages over all batches: what went in, came out and was rejected, and the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bindrae.data.storage import read_json, read_table, rejected_path, sidecar_path
from bindrae.errors import BindraeError


class Ledger:
    """Sums over the sidecars and rejected tables of a dataset's stages.

    Parameters
    ----------
    max_examples : int
        Rejected complexes kept by name for each stage and reason.
    """

    def __init__(self, max_examples: int) -> None:
        self.max_examples = max_examples
        self.n_rejected = 0
        self._stages: dict[str, dict[str, Any]] = {}
        self._settings: dict[str, set[str]] = {}
        self._rejections: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, stage: str, output: Path, required: bool = True) -> None:
        """Enter one output of a stage.

        Parameters
        ----------
        stage : str
        output : Path
            The table; its sidecar and its rejected table stand beside it.
        required : bool
            False for a stage that need not have run: only its time and settings are entered.

        Raises
        ------
        BindraeError
            When a required sidecar or rejected table is missing.
        """
        sidecar = sidecar_path(output)
        if not required and not sidecar.is_file():
            return
        record = read_json(sidecar)
        entry = self._stages.setdefault(stage, {"batches": 0, "seconds": 0.0, "slowest": 0.0, "versions": []})
        if required:
            counts = {
                "in": record["counts"]["in"],
                "out": read_table(output, ["id"]).num_rows,
                "rejected": self._add_rejected(rejected_path(output)),
            }
            for name, count in counts.items():
                entry[name] = entry.get(name, 0) + count
        seconds = float(record["seconds"])
        entry["batches"] += 1
        entry["seconds"] = round(entry["seconds"] + seconds, 3)
        entry["slowest"] = max(entry["slowest"], seconds)
        entry["versions"] = sorted({*entry["versions"], record["version"]})
        self._settings.setdefault(stage, set()).add(json.dumps(record["settings"], sort_keys=True))

    def _add_rejected(self, path: Path) -> int:
        table = read_table(path)
        for row in table.to_pylist():
            entry = self._rejections.setdefault(
                (row["stage"], row["code"]),
                {"stage": row["stage"], "code": row["code"], "hint": row["hint"], "count": 0, "examples": []},
            )
            entry["count"] += 1
            if len(entry["examples"]) < self.max_examples:
                entry["examples"].append({"id": row["id"], "message": row["message"]})
        self.n_rejected += table.num_rows
        return int(table.num_rows)

    def check(self, sources: dict[str, str]) -> None:
        """Check that no complex was lost inside a stage or between two.

        Parameters
        ----------
        sources : dict of str to str
            Stage to the stage whose output it read.

        Raises
        ------
        BindraeError
            Naming the stage and the numbers.
        """
        for stage, entry in self._stages.items():
            if "in" in entry and entry["in"] != entry["out"] + entry["rejected"]:
                raise BindraeError(
                    f"{stage}: {entry['in']} complexes went in, {entry['out']} came out, "
                    f"{entry['rejected']} were rejected",
                    f"a table of this stage is damaged or of another run; rerun {stage}",
                )
        for stage, source in sources.items():
            went_in, came_out = self._stages[stage]["in"], self._stages[source]["out"]
            if went_in != came_out:
                raise BindraeError(
                    f"{source} gave {came_out} complexes, {stage} took {went_in}",
                    f"files of two runs are mixed; rerun {stage}",
                )

    def summary(self) -> dict[str, dict[str, Any]]:
        """Stage to its sums, with the settings (the first in text order) and whether all batches agree."""
        return {
            stage: {
                **entry,
                "settings": json.loads(min(self._settings[stage])),
                "settings_agree": len(self._settings[stage]) == 1,
            }
            for stage, entry in self._stages.items()
        }

    def rejections(self) -> list[dict[str, Any]]:
        """Rejections by stage (in the order they ran), the most frequent reason first."""
        order = {stage: i for i, stage in enumerate(self._stages)}
        return sorted(
            self._rejections.values(),
            key=lambda r: (order.get(r["stage"], len(order)), -r["count"], r["code"]),
        )
