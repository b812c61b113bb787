from __future__ import annotations

from bindrae.reporting.nested import MAX_ROWS, nested_tables


def test_mappings_of_mappings_and_lists_of_mappings_become_grids() -> None:
    tables = nested_tables({"train_test": {"identity": 0.25, "pairs": 1200}, "val_test": {"pairs": 0}}, "Leakage")
    assert tables == [
        (
            "Leakage",
            [("What", False), ("identity", True), ("pairs", True)],
            [["train test", "0.250", "1,200"], ["val test", "–", "0"]],
        )
    ]
    rows = [{"id": "a", "value": i} for i in range(MAX_ROWS + 5)]
    ((caption, heads, cells),) = nested_tables(rows, "Hits")
    assert caption == "Hits (the first 50 of 55)"
    assert heads == [("id", False), ("value", True)]
    assert len(cells) == MAX_ROWS


def test_plain_values_stand_together_and_deeper_ones_apart() -> None:
    tables = nested_tables({"n": 3, "rule": "cluster", "deep": {"x": {"y": {"z": 1}}}, "list": [1, 2]}, "All")
    assert [caption for caption, *_ in tables] == ["All", "All: deep: x"]
    assert tables[0][2] == [["n", "3"], ["rule", "cluster"], ["list", "[1, 2]"]]
    assert tables[1][2] == [["y", "1"]]


def test_nothing_gives_no_table_that_breaks_the_page() -> None:
    assert nested_tables({}, "Empty") == []
    assert nested_tables(5, "One")[0][2] == [["value", "5"]]
    assert nested_tables([], "Empty")[0][2] == [["values", "[]"]]
