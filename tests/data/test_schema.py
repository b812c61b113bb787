"""Tables and rows: what goes in comes out, whole, sliced, in pieces or empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bindrae.data import schema
from bindrae.data.schema import SHAPES, iterate_rows, rows_to_table
from bindrae.data.storage import read_table, write_table

TABLES = {name: getattr(schema, name) for name in ("ENTRIES", "CLEAN", "POCKET", "TORSIONS", "TOKENS", "SPLIT")}


def random_rows(table: pa.Schema, seed: int, n: int = 5) -> list[dict[str, Any]]:
    """Rows of lists of different lengths, one of them empty."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        length = 0 if i == 2 else int(rng.integers(1, 7))
        row: dict[str, Any] = {}
        for field in table:
            kind = field.type
            if pa.types.is_map(kind):
                row[field.name] = [(f"note{k}", int(k)) for k in range(length)]
            elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
                row[field.name] = [f"s{k}" for k in range(length)]
            elif pa.types.is_list(kind):
                values = rng.integers(-100, 100, (length, *SHAPES.get(field.name, ())))
                row[field.name] = (
                    (values > 0)
                    if pa.types.is_boolean(kind.value_type)
                    else values.astype(kind.value_type.to_pandas_dtype())
                )
            else:
                row[field.name] = f"{field.name}-{i}" if pa.types.is_string(kind) else int(rng.integers(0, 99))
        rows.append(row)
    return rows


def assert_same(got: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert list(a) == list(b)
        for key, value in b.items():
            if isinstance(value, np.ndarray):
                assert a[key].dtype == value.dtype, key
                assert a[key].shape == value.shape, key
                assert np.array_equal(a[key], value), key
            else:
                assert a[key] == value, key


@pytest.mark.parametrize("name", TABLES)
def test_rows_survive_a_file(name: str, tmp_path: Any) -> None:
    rows = random_rows(TABLES[name], seed=1)
    table = rows_to_table(rows, TABLES[name])
    assert table.schema == TABLES[name]
    write_table(table, tmp_path / "t.parquet")
    assert_same(list(iterate_rows(read_table(tmp_path / "t.parquet"))), rows)


@pytest.mark.parametrize("name", TABLES)
def test_slices_and_pieces_give_their_own_rows(name: str) -> None:
    rows = random_rows(TABLES[name], seed=2, n=7)
    table = rows_to_table(rows, TABLES[name])
    for start, length in ((0, 7), (3, 2), (6, 1), (2, 5), (4, 0)):
        assert_same(list(iterate_rows(table.slice(start, length))), rows[start : start + length])
    pieces = pa.concat_tables([table.slice(5), table.slice(0, 2), table.slice(3, 0)])
    assert_same(list(iterate_rows(pieces)), [*rows[5:], *rows[:2]])
    chosen = table.filter(pa.array([i in (1, 4) for i in range(7)]))
    assert_same(list(iterate_rows(chosen)), [rows[1], rows[4]])


@pytest.mark.parametrize("name", TABLES)
def test_empty_tables_are_tables(name: str, tmp_path: Any) -> None:
    empty = rows_to_table([], TABLES[name])
    assert empty.schema == TABLES[name]
    assert list(iterate_rows(empty)) == []
    assert list(iterate_rows(pa.Table.from_batches([], schema=TABLES[name]))) == []
    write_table(empty, tmp_path / "t.parquet")
    assert list(iterate_rows(read_table(tmp_path / "t.parquet"))) == []


def test_wanted_columns_come_in_the_wanted_order() -> None:
    rows = random_rows(schema.TORSIONS, seed=3)
    table = rows_to_table(rows, schema.TORSIONS)
    assert [list(row) for row in iterate_rows(table, ["defined", "id"])] == [["defined", "id"]] * 5


def test_rows_that_do_not_fit_the_schema_are_refused() -> None:
    rows = random_rows(schema.POCKET, seed=4)
    with pytest.raises(ValueError, match=r"id-3.*w_res_backbone"):
        rows_to_table([*rows[:3], {k: v for k, v in rows[3].items() if k != "w_res_backbone"}], schema.POCKET)
    with pytest.raises(ValueError, match=r"id-0.*surplus"):
        rows_to_table([{**rows[0], "surplus": 1}], schema.POCKET)
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)):
        rows_to_table([{**random_rows(schema.CLEAN, 5)[0], "aatype": np.array([300])}], schema.CLEAN)
