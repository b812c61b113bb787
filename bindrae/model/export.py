"""Weights to ship: ``python -m bindrae.model.export MODEL OUTPUT`` halves a model file.

Weights are kept as 16-bit floats, which changes a prediction less than another order of summation in bf16 training
does, and are turned back into 32 bits at load. Settings and provenance stay; the file of the training is named by hash.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bindrae.data.storage import atomic_path, sha256_file
from bindrae.errors import BindraeError, exit_on_error
from bindrae.model.model_file import load_model


def export_model(source: Path, output: Path) -> None:
    """Write a model file with 16-bit weights.

    Parameters
    ----------
    source : Path
        Model file of a training.
    output : Path
        File to write, atomically.

    Raises
    ------
    BindraeError
        When `source` is no model, or a weight does not fit 16 bits.
    """
    settings = load_model(source).settings.model_dump(mode="json", exclude={"preset"})
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
    about = json.loads(metadata["bindrae"]) | {"settings": settings, "source_sha256": sha256_file(source)}
    metadata["bindrae"] = json.dumps(about, sort_keys=True)
    weights = {name: x.half() if x.is_floating_point() else x for name, x in load_file(source).items()}
    wide = [name for name, x in weights.items() if not torch.isfinite(x).all()]
    if wide:
        raise BindraeError(f"{source}: {', '.join(wide)} hold weights beyond 65,504", "ship the file as it is")
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as temporary:
        save_file(weights, temporary, metadata)


def rewrite_metadata(path: Path, entries: dict[str, str], output: Path) -> None:
    """Write a model file again with more entries in its metadata, atomically; `output` may be the same file."""
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
    weights = load_file(path)
    with atomic_path(output) as temporary:
        save_file(weights, temporary, metadata | entries)


def main() -> None:
    """Export, and say how large the file is."""
    parser = argparse.ArgumentParser(prog="python -m bindrae.model.export", description=__doc__)
    parser.add_argument("model", type=Path, help="model file of a training")
    parser.add_argument("output", type=Path, help="file to write")
    arguments = parser.parse_args()
    export_model(arguments.model, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB, sha256 {sha256_file(arguments.output)}")


if __name__ == "__main__":
    with exit_on_error():
        main()
