"""The parts of the benchmark by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part

PARTS = {
    "fk": "torsions to atoms, beside a sequential NeRF and OpenFold",
    "attention": "one attention layer, in time and memory, beside attention over all pairs",
    "train": "a training step",
    "predict": "side chains of the same files by our model and by the packers of others",
    "loader": "the loader alone, beside what a training step takes",
    "preprocess": "from files to training data, beside gemmi and RDKit that only read them",
    "scale": "time and memory of the data stages as the dataset grows",
}
"""Names and what they measure, in the order of the pages. Each is a module of this package with a function `run`."""


def find(name: str) -> Callable[[Options], Part]:
    """The function that measures a part; its module is imported only now, so that no part needs what another does."""
    run: Callable[[Options], Part] = importlib.import_module(f"bindrae.benchmark.suite.{name}").run
    return run
