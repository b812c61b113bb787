"""Columns of every table, and the way between a row and its arrays.

One row is one complex. Per-residue columns are lists of N entries, flattened row-major where an entry has a shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

_f32, _i8, _i16, _i32, _b, _s = (
    pa.list_(t) for t in (pa.float32(), pa.int8(), pa.int16(), pa.int32(), pa.bool_(), pa.string())
)

ENTRIES = pa.schema(
    [
        ("id", pa.string()),
        ("protein", pa.string()),
        ("ligand", _s),
        ("batch", pa.int32()),
        ("source", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.int64()),
    ]
)

CLEAN = pa.schema(
    [
        ("id", pa.string()),
        ("n_residues", pa.int32()),
        ("sequences", _s),
        ("chain", _s),
        ("number", _i32),
        ("insertion", _s),
        ("name", _s),
        ("aatype", _i8),
        ("chain_index", _i16),
        ("linked", _b),
        ("atom14", _f32),
        ("atom14_mask", _b),
        ("bfactor", _f32),
        ("ligand_xyz", _f32),
        ("ligand_element", _i16),
        ("ligand_charge", _i8),
        ("ligand_bonds", _i16),
        ("ligand_link", _i32),
        ("ligand_block", pa.string()),
        ("ligand_smiles", pa.string()),
        ("ligand_inchikey", pa.string()),
        ("ligand_route", pa.string()),
        ("context_xyz", _f32),
        ("context_element", _i16),
        ("context_charge", _i8),
        ("context_name", _s),
        ("notes", pa.map_(pa.string(), pa.int32())),
        ("protein_sha256", pa.string()),
        ("ligand_sha256", pa.string()),
    ]
)

POCKET = pa.schema(
    [
        ("id", pa.string()),
        ("w_res", _f32),
        ("w_res_backbone", _f32),
        ("distance", _f32),
        ("contact", _b),
        ("member", _b),
    ]
)

TORSIONS = pa.schema([("id", pa.string()), ("angles", _f32), ("defined", _b)])

TOKENS = pa.schema([("id", pa.string()), ("xyz", _f32), ("types", _f32), ("is_context", _b)])

SPLIT = pa.schema([("id", pa.string()), ("cluster", pa.string()), ("split", pa.string())])

# Shape of one entry of each flattened column; columns not listed are plain lists.
SHAPES: dict[str, tuple[int, ...]] = {
    "atom14": (14, 3),
    "atom14_mask": (14,),
    "bfactor": (14,),
    "ligand_xyz": (3,),
    "ligand_bonds": (2,),
    "ligand_link": (3,),
    "context_xyz": (3,),
    "angles": (7,),
    "defined": (7,),
    "xyz": (3,),
    "types": (12,),
}


def rows_to_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows with numpy arrays to a table; arrays are flattened and checked against the schema.

    Raises
    ------
    ValueError
        When a row lacks a column or has one too many.
    """
    for row in rows:
        if set(row) != set(schema.names):
            raise ValueError(f"row {row.get('id')}: columns differ from the schema: {set(row) ^ set(schema.names)}")
    columns = [_column([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    flat = [value.ravel() for value in values if isinstance(value, np.ndarray)]
    if not flat or len(flat) < len(values) or not pa.types.is_list(kind):
        return pa.array(values, type=kind)
    offsets = pa.array(np.cumsum([0, *map(len, flat)]), type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(flat), type=kind.value_type), type=kind)


def iterate_rows(table: pa.Table, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a table with numeric lists as numpy arrays in their shape.

    Parameters
    ----------
    table : pyarrow.Table
    columns : list of str, optional
        Columns to read; all by default.

    Yields
    ------
    dict
        Numeric list columns as arrays (read-only where they share the table's memory), the rest as Python values.
    """
    names = columns or table.column_names
    readers = [(name, _reader(table.column(name).combine_chunks(), SHAPES.get(name, ()))) for name in names]
    for i in range(table.num_rows):
        yield {name: read(i) for name, read in readers}


def _reader(column: pa.Array, shape: tuple[int, ...]) -> Any:
    if isinstance(column, pa.ChunkedArray):  # a table without rows has no chunks to combine
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    value_type = column.type.value_type if pa.types.is_list(column.type) else None
    if value_type is None or pa.types.is_string(value_type):
        return lambda i: column[i].as_py()
    offsets = column.offsets.to_numpy()
    # `values` ignores a slice's offset, as `offsets` do not: the two belong together.
    flat = column.values.to_numpy(zero_copy_only=False)
    return lambda i: flat[offsets[i] : offsets[i + 1]].reshape(-1, *shape)
