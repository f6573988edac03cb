"""Number of decimals in the report's tables: for each measure, the same as in the terminal."""

from __future__ import annotations

from typing import Any

from invariscope.plots.shared.digits import Fixed

_VALUES = ("value_a", "value_b"), ("value",)


def with_places(table: dict[str, Any]) -> dict[str, Any]:
    """Add `places`, the number of decimals for each row, to a table for the page's script.

    The number depends on the measure's values over all samples, or on all its values if there are no such
    rows. Measures listed in the table's `whole` are shown without decimals.
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
    """Return the number format for the rows of one measure."""
    deciding = [row for row in rows if _entry(row, keys, "stratum") in (None, "all")] or rows
    values = (row[column] for row in deciding for column in columns)
    return Fixed.of(value for value in values if value is not None)


def _entry(row: list[Any], keys: list[str], key: str) -> Any:
    """Return the cell of a row in the column with that key; None if there is no such column."""
    return row[keys.index(key)] if key in keys else None
