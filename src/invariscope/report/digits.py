"""How many decimals each row of a table shows: those that the terminal shows for the same measure."""

from __future__ import annotations

from typing import Any

from invariscope.plots.shared.digits import Fixed

_VALUES = ("value_a", "value_b"), ("value",)


def with_places(table: dict[str, Any]) -> dict[str, Any]:
    """A table for the page's script with `places`, the decimals of each row's numbers.

    The rows over all samples decide for their measure; a measure without any decides by what it has. What
    the table calls `whole` has none.
    """
    keys = [column["key"] for column in table["columns"]]
    columns = next([keys.index(key) for key in wanted] for wanted in _VALUES if set(wanted) <= set(keys))
    of_measure: dict[Any, list[Any]] = {}
    for row in table["rows"]:
        of_measure.setdefault(_entry(row, keys, "measure"), []).append(row)
    whole = dict.fromkeys(table.get("whole", ()), Fixed(0))
    fixed = {
        measure: whole.get(measure) or _fixed(rows, columns, keys) for measure, rows in of_measure.items()
    }
    return {**table, "places": [fixed[_entry(row, keys, "measure")].places for row in table["rows"]]}


def _fixed(rows: list[list[Any]], columns: list[int], keys: list[str]) -> Fixed:
    """As many decimals as the rows of one measure need."""
    deciding = [row for row in rows if _entry(row, keys, "stratum") in (None, "all")] or rows
    values = (row[column] for row in deciding for column in columns)
    return Fixed.of(value for value in values if value is not None)


def _entry(row: list[Any], keys: list[str], key: str) -> Any:
    """A cell by its column's key; None where the table has no such column."""
    return row[keys.index(key)] if key in keys else None
