"""Tables as plain data, which the page's script sorts, filters and draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.band import random_rows
from invariscope.report.stability import has_curves

if TYPE_CHECKING:
    from invariscope.results.result import Result

# (key, heading, kind, meaning); the meaning is the tooltip of the heading.
ROW_COLUMNS = (
    ("model", "Network", "text", "name of the network"),
    ("label", "Layer", "text", "layers in the order in which they run"),
    ("measure", "Measure", "text", "name of the measure"),
    ("stratum", "Samples of", "text", "all samples, one class, or the mean over classes"),
    ("value", "Value", "number", "mean over the layer's units, without excluded units"),
    (
        "ci",
        "95 % interval",
        "interval",
        f"interval over samples; the network and the elements are held fixed. {names.OUTSIDE}",
    ),
    ("null", "Null", "number", "the expected value if orbits consisted of unrelated samples"),
    (
        "random",
        "Random nets",
        "interval",
        "middle 95 % of the values of the same architecture with random weights",
    ),
    ("floor", "Floor", "number", "the value caused by interpolation alone"),
    ("chance", "Chance", "number", "the value caused by the model's own randomness"),
    ("value_ratio", "Ratio", "number", "ratio of the layer's means"),
    ("ratio", "Its interval", "interval", "95 % interval of the ratio"),
    ("samples", "n", "count", "samples"),
    ("units", "Units", "count", "number of units of the layer that were used"),
    ("units_total", "Drawn from", "count", "number of units of the layer, if only some were drawn"),
    ("drawing_error", "Drawing error", "number", "standard error due to the draw of units"),
    ("dead_units", "Dead", "count", "units that never respond; left out"),
    ("sparse_units", "Sparse", "count", "units that respond to too few samples; left out of the mean"),
    ("note", "Note", "text", "why a number or an interval is missing, and other remarks"),
)
_INTERVALS = {
    "ci": ("ci_low", "ci_high", "corrected"),
    "ratio": ("ratio_low", "ratio_high"),
    "random": ("random_low", "random_high"),
}


def row_table(results: Sequence[Result]) -> dict[str, Any]:
    """Return a table of every row of every result, without empty columns.

    It initially shows the main measure over all samples, or all measures if all results have curves against
    the radius. Filters show the rest.
    """
    apart = names.unit_only(results)
    records = [
        {**row, "model": name, "label": names.layer_label(row["layer"], int(row["call"]))}
        for name, result in zip(names.model_names(results), results, strict=True)
        for row in _with_random(result)
        if row["measure"] not in apart
    ]
    measures = names.layered_measures(results) or names.headline_first(row["measure"] for row in records)
    first = "" if all(map(has_curves, results)) else measures[0]
    spec = build(records, ROW_COLUMNS, {"measure": first, "stratum": "all"})
    return {**spec, "whole": sorted(names.positions(results))}


def _with_random(result: Result) -> list[dict[str, Any]]:
    """Return the rows of the table, with the limits of the band of random weights if there is one."""
    bands = random_rows(result)
    rows: list[dict[str, Any]] = result.table.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        band = bands.get((row["measure"], row["layer"], int(row["call"]), row["stratum"]))
        row |= {"random_low": band["low"], "random_high": band["high"]} if band else {}
        row |= {} if row["units_total"] > row["units"] else {"units_total": math.nan}
    return rows


def build(
    records: Sequence[dict[str, Any]],
    columns: Sequence[tuple[str, str, str, str]],
    selected: dict[str, str],
) -> dict[str, Any]:
    """Build a table for the page's script: columns, rows of cells, and filters with their initial choice.

    Args:
        records: one mapping per row.
        columns: (key, heading, kind, meaning); kinds are text, number, count, interval, p.
        selected: text columns to filter by, with their initial choice.
    """
    cells = [{key: _cell(record, key, kind) for key, _, kind, _ in columns} for record in records]
    kept = [column for column in columns if _says_something(column, cells, always=("label", "value"))]
    return {
        "columns": [dict(zip(("key", "label", "kind", "help"), column, strict=True)) for column in kept],
        "rows": [[row[column[0]] for column in kept] for row in cells],
        "filters": [
            {"column": i, "selected": selected[column[0]], "titles": _titles(column[0], cells)}
            for i, column in enumerate(kept)
            if column[0] in selected
        ],
    }


def _cell(record: dict[str, Any], key: str, kind: str) -> Any:
    if kind == "interval":
        return _interval(record, _INTERVALS[key])
    return str(record[key]) if kind == "text" else _finite(record.get(key, math.nan))


def _interval(record: dict[str, Any], columns: Sequence[str]) -> list[float] | None:
    """Return both limits, then the corrected estimate, then 1 if the value is outside the interval."""
    cell = [_finite(record.get(name, math.nan)) for name in columns]
    if cell[0] is None or cell[1] is None:
        return None
    found = [end for end in cell if end is not None]
    if len(found) > 2 and names.outside(record["value"], record[columns[0]], record[columns[1]]):
        found.append(1)
    return found


def shows_corrected(table: dict[str, Any] | None) -> bool:
    """Return whether any interval of a table shows the corrected estimate."""
    rows = table["rows"] if table else ()
    return any(isinstance(cell, list) and len(cell) > 3 for row in rows for cell in row)


def _finite(value: float) -> float | None:
    """Round to six significant digits to keep the page small; None for NaN and infinity."""
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _says_something(column: tuple, cells: Sequence[dict[str, Any]], *, always: Sequence[str]) -> bool:
    key, kind = column[0], column[2]
    values = [row[key] for row in cells]
    if kind == "text":
        return key in always or len(set(values)) > 1
    return key in always or any(value is not None and value != 0 for value in values)


def _titles(key: str, cells: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (value, menu text) for each choice of a filter, in the order of appearance."""
    known = {"all": "all samples", "mean": "mean over classes"} if key == "stratum" else {}
    values = dict.fromkeys(str(row[key]) for row in cells)
    return [(v, names.measure_title(v) if key == "measure" else known.get(v, v)) for v in values]
