"""Datasets with known families for the tests of the split: random sequences, mutated copies, fragments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from bindrae.config import SplitSettings
from bindrae.data.layout import DataLayout
from bindrae.data.schema import CLEAN
from bindrae.data.split import run_split
from bindrae.data.storage import REJECTED_SCHEMA, read_table, rejected_path, write_json, write_table

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
Complexes = dict[str, list[str]]


def random_sequence(seed: int, length: int = 120) -> str:
    """A sequence akin to no other."""
    return "".join(np.random.default_rng(seed).choice(LETTERS, length))


def mutated(sequence: str, share: float, seed: int) -> str:
    """A copy with a share of its residues drawn anew."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(sequence))
    where = rng.random(len(letters)) < share
    letters[where] = rng.choice(LETTERS, where.sum())
    return "".join(letters)


def families(sizes: list[int], first_seed: int = 100) -> Complexes:
    """Families of one-chain complexes ``<family>-<member>``, three quarters identical to their founder."""
    return {
        f"{f:02d}-{m}": [mutated(random_sequence(first_seed + f), 0.25, 1000 * f + m)]
        for f, size in enumerate(sizes)
        for m in range(size)
    }


def write_clean(folder: Path, complexes: Complexes, smiles: dict[str, str] | None = None) -> DataLayout:
    """The index and clean tables of a dataset, in two batches."""
    layout = DataLayout(folder)
    write_json({"0": "x", "1": "y"}, layout.batches)
    write_table(pa.Table.from_pylist([], schema=REJECTED_SCHEMA), rejected_path(layout.entries))
    for number in range(2):
        rows = [
            {"id": name, "sequences": chains, "ligand_smiles": (smiles or {}).get(name, "CCO")}
            for k, (name, chains) in enumerate(sorted(complexes.items()))
            if k % 2 == number
        ]
        table = layout.batch("clean", number)
        write_table(pa.Table.from_pylist(rows, schema=CLEAN), table)
        write_table(pa.Table.from_pylist([], schema=REJECTED_SCHEMA), rejected_path(table))
    return layout


def split_of(layout: DataLayout, settings: SplitSettings | None = None, threads: int = 1) -> dict[str, str]:
    """Run the split and read the side of each complex."""
    run_split(layout, settings or SplitSettings(), 1.0, threads)
    return {row["id"]: row["split"] for row in read_table(layout.split).to_pylist()}


def clusters_of(layout: DataLayout) -> dict[str, str]:
    """Cluster of each complex, as written."""
    return {row["id"]: row["cluster"] for row in read_table(layout.split).to_pylist()}
