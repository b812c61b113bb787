"""Where everything of a dataset and of a training run stands: the only place that knows file names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bindrae.data.storage import read_json

Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")
# Stands for a side in split.parquet: complexes that neither train nor score, because they have kin where they must not.
EXCLUDED = "excluded"


@dataclass(frozen=True)
class DataLayout:
    """Files of one dataset, under ``results/<dataset>/data``."""

    root: Path

    @property
    def entries(self) -> Path:
        """All complexes that the index found."""
        return self.root / "index" / "entries.parquet"

    @property
    def batches(self) -> Path:
        """Batch number to fingerprint of its entries; tells which batches a changed index touches."""
        return self.root / "index" / "batches.json"

    @property
    def split(self) -> Path:
        """Side and cluster of each complex."""
        return self.root / "split.parquet"

    @property
    def pins(self) -> Path:
        """The side each complex was first given; never a declared output, because Snakemake deletes those."""
        return self.root / "split.pins.parquet"

    @property
    def quality(self) -> Path:
        """The data quality figures; ``quality.html`` stands beside them."""
        return self.root / "quality.json"

    def batch(self, stage: str, number: int) -> Path:
        """Output of a per-batch stage."""
        suffix = ".pt" if stage == "embed" else ".parquet"
        return self.root / stage / f"{number:04d}{suffix}"

    def shard(self, side: str, number: int) -> Path:
        """Metadata of one shard; the tensors stand beside it as ``.pt``."""
        return self.root / "shards" / f"{side}-{number:04d}.parquet"

    def batch_numbers(self) -> list[int]:
        """The batches that the index made.

        Raises
        ------
        BindraeError
            When the index has not been made.
        """
        return [int(number) for number in read_json(self.batches)]


SHIPPED = Path(__file__).parents[1] / "weights" / "stage1.safetensors"
"""The trained weights inside the package; see the model card beside them."""
SHIPPED_NAME = "shipped"


def weights_file(name: str) -> Path:
    """Model file that a setting names: a path, or `SHIPPED_NAME` for the package's own."""
    return SHIPPED if name == SHIPPED_NAME else Path(name).expanduser()


@dataclass(frozen=True)
class RunLayout:
    """Files of one training run, under ``results/<dataset>/runs/<run>``."""

    root: Path

    @property
    def model(self) -> Path:
        """Best weights with the model's settings."""
        return self.root / "model.safetensors"

    @property
    def fitted(self) -> Path:
        """The same model with networks of refinement and a calibrated confidence fitted to it."""
        return self.root / "fitted.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: the record of the training."""
        return self.root / "metrics.jsonl"

    @property
    def training(self) -> Path:
        """Sidecar of the training: settings, hashes, counts, seconds."""
        return self.root / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Resumable states; never a declared output, because Snakemake deletes those."""
        return self.root / "checkpoints"

    @property
    def ensemble(self) -> RunLayout:
        """Files of the ensemble of trainings that differ in their seed alone."""
        return RunLayout(self.root / "ensemble")

    def member(self, seed: int | str) -> RunLayout:
        """Files of one training of an ensemble."""
        return RunLayout(self.root / f"seed-{seed}")

    @property
    def evaluation(self) -> Path:
        """Metrics of the best model on the held-out side."""
        return self.root / "evaluation.json"

    @property
    def residues(self) -> Path:
        """The evaluation residue by residue."""
        return self.root / "residues.parquet"

    @property
    def report(self) -> Path:
        """The self-contained report."""
        return self.root / "report.html"

    @property
    def peers(self) -> Path:
        """Optional folder of other programs' figures on the same complexes: ``NAME.json`` by `bindrae score --json`."""
        return self.root / "peers"

    @property
    def predictions(self) -> Path:
        """Folder of all predicted structures, one folder a batch."""
        return self.root / "predicted"

    def predicted(self, batch: int) -> Path:
        """Folder with the predicted structures of a batch and their ``summary.json``."""
        return self.predictions / f"{batch:04d}"
