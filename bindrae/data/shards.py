"""Shards: what training reads, one parquet of facts and one file of plain tensors for each batch and side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from bindrae.config import ShardSettings
from bindrae.data.axes import AXES
from bindrae.data.embeddings import read_store
from bindrae.data.layout import EXCLUDED, SIDES, DataLayout
from bindrae.data.schema import SHAPES, iterate_rows
from bindrae.data.stages import VERSIONS, check_same_ids
from bindrae.data.storage import read_table, sha256_text, write_sidecar, write_table
from bindrae.data.tensors import write_tensors
from bindrae.errors import BindraeError

SHARD = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("n_residues", pa.int32()),
        ("n_tokens", pa.int32()),
        ("n_ligand_atoms", pa.int32()),
        ("n_context_atoms", pa.int32()),
        ("n_contact", pa.int32()),
    ]
)

# Columns of the clean table that a shard needs; the others come from pocket, torsions and tokens.
_CLEAN_COLUMNS = [
    "id", "sequences", "aatype", "chain_index", "linked", "atom14", "atom14_mask", "bfactor", "ligand_xyz",
    "ligand_element", "context_xyz", "context_element",
]  # fmt: skip


def shard_tensors_path(shard: Path) -> Path:
    """The tensors beside a shard's parquet file."""
    return shard.with_suffix(".pt")


def run_shards(layout: DataLayout, number: int, settings: ShardSettings) -> None:
    """Join the stages of one batch and write its train, val and test shards; excluded complexes are only counted.

    Raises
    ------
    BindraeError
        When the stages hold different complexes, or a chain has no embedding.
    """
    start = time.monotonic()
    paths = {stage: layout.batch(stage, number) for stage in ("clean", "pocket", "torsions", "tokens")}
    tables = {
        "clean": read_table(paths["clean"], _CLEAN_COLUMNS),
        "pocket": read_table(paths["pocket"], ["id", "w_res", "contact"]),
        "torsions": read_table(paths["torsions"]),
        "tokens": read_table(paths["tokens"]),
    }
    check_same_ids({str(paths[stage]): table.column("id").to_pylist() for stage, table in tables.items()})
    split = read_table(layout.split)
    split = split.filter(pc.is_in(split["id"], tables["clean"]["id"].combine_chunks()))
    side_of = {row["id"]: (row["split"], row["cluster"]) for row in split.to_pylist()}
    store = read_store(layout.batch("embed", number))
    rows_of: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    n_excluded = 0
    for parts in zip(*(iterate_rows(table) for table in tables.values()), strict=True):
        row: dict[str, Any] = {}
        for part in parts:
            row |= part
        if row["id"] not in side_of:
            raise BindraeError(f"{row['id']} is not in {layout.split}", "rerun the split")
        side, row["cluster"] = side_of[row["id"]]
        if side == EXCLUDED:
            n_excluded += 1
            continue
        row["plm"] = _embedding(row, store)
        rows_of[side].append(row)
    for side, rows in rows_of.items():
        shard = layout.shard(side, number)
        write_tensors(_tensors(rows, int(store["width"]), getattr(torch, settings.dtype)), shard_tensors_path(shard))
        write_table(pa.Table.from_pylist([_facts(row) for row in rows], schema=SHARD), shard)
    counts = {**{side: len(rows) for side, rows in rows_of.items()}, EXCLUDED: n_excluded}
    inputs = {**paths, "embed": layout.batch("embed", number), "split": layout.split}
    write_sidecar(
        layout.batch("shards", number),
        "shards",
        VERSIONS["shards"],
        settings.model_dump(mode="json"),
        inputs,
        counts,
        time.monotonic() - start,
    )


def _embedding(row: dict[str, Any], store: dict[str, Any]) -> torch.Tensor:
    """Embeddings of a complex's residues, chain by chain in the table's order."""
    if store["plm"] == "none":
        return torch.zeros(len(row["aatype"]), 0)
    parts = []
    for sequence in row["sequences"]:
        key = sha256_text(sequence)
        if key not in store["embeddings"]:
            raise BindraeError(f"{row['id']}: no embedding for chain {sequence[:20]}...", "rerun the embed stage")
        parts.append(store["embeddings"][key])
    joined = torch.cat(parts)
    if len(joined) != len(row["aatype"]):
        raise BindraeError(
            f"{row['id']}: {len(joined)} embeddings for {len(row['aatype'])} residues", "rerun clean and embed"
        )
    return joined


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "cluster": row["cluster"],
        "n_residues": len(row["aatype"]),
        "n_tokens": len(row["xyz"]),
        "n_ligand_atoms": len(row["ligand_element"]),
        "n_context_atoms": len(row["context_element"]),
        "n_contact": int(row["contact"].sum()),
    }


def _tensors(rows: list[dict[str, Any]], width: int, plm_dtype: torch.dtype) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for axis, columns in AXES.items():
        for name, (column, dtype) in columns.items():
            shape = (0, *SHAPES.get(column, ()))
            arrays = [row[column] for row in rows]
            joined = np.concatenate([np.zeros(shape, dtype=arrays[0].dtype), *arrays]) if arrays else np.zeros(shape)
            tensors[name] = torch.from_numpy(np.ascontiguousarray(joined)).to(dtype)
        first = next(iter(columns.values()))[0]
        lengths = torch.tensor([0] + [len(row[first]) for row in rows])
        tensors[f"{axis}_offsets"] = torch.cumsum(lengths, 0)
    tensors["plm"] = torch.cat([torch.zeros(0, width), *(row["plm"] for row in rows)]).to(plm_dtype)
    return tensors
