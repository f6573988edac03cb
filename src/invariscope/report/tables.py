"""Tables by columns, which the page's script sorts, filters and draws."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.digits import Fixed
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
    ("floor", "Floor", "number", "the value that inexact elements alone cause"),
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


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table, with an entry per row.

    Args:
        key, label, kind, help: name, heading, kind (text, number, count, interval or p), and tooltip.
        texts, codes: of a text column: its distinct texts, and the number of each row's text.
        parts: of any other column: its numbers, NaN if missing. An interval has its limits and, if there are
            corrected estimates, these, and 1 for rows whose value is outside the interval.
    """

    key: str
    label: str
    kind: str
    help: str
    texts: tuple[str, ...] = ()
    codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    parts: tuple[np.ndarray, ...] = ()

    @property
    def heading(self) -> dict[str, str]:
        """What the page shows of the column itself."""
        return {"key": self.key, "label": self.label, "kind": self.kind, "help": self.help}

    def entry(self, row: int) -> Any:
        """Return a cell: a text, a number, an interval as a list, or None."""
        if self.kind == "text":
            return self.texts[self.codes[row]]
        numbers = [_number(part[row]) for part in self.parts]
        if self.kind != "interval":
            return numbers[0]
        if numbers[0] is None:
            return None
        return [end for end in numbers[:3] if end is not None] + [1] * bool(numbers[3:] == [1])


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, filters with their initial choice, and the number of decimals.

    Args:
        columns: without those that say nothing.
        filters: per filter, the number of its column, the selected text ("" for any), and its
            (text, title) pairs.
        places: decimals for each text of the column "measure", or one number without that column.
    """

    columns: tuple[Column, ...]
    filters: tuple[dict[str, Any], ...]
    places: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._lengths[0]

    @cached_property
    def _lengths(self) -> list[int]:
        return [len(c.codes) if c.kind == "text" else len(c.parts[0]) for c in self.columns]

    @property
    def keys(self) -> list[str]:
        """Names of the columns."""
        return [column.key for column in self.columns]

    @property
    def rows(self) -> list[list[Any]]:
        """All cells, row by row; slow for large tables."""
        return [[column.entry(row) for column in self.columns] for row in range(len(self))]

    @property
    def shows_corrected(self) -> bool:
        """Whether any interval shows the corrected estimate."""
        return any(c.kind == "interval" and len(c.parts) > 3 and c.parts[3].any() for c in self.columns)


def row_table(results: Sequence[Result]) -> Table:
    """Return a table of every row of every result, without empty columns.

    It initially shows the main measure over all samples, or all measures if all results have curves against
    the radius. Filters show the rest.
    """
    apart = names.unit_only(results)
    parts = [
        _with_random(result).assign(model=name)
        for name, result in zip(names.model_names(results), results, strict=True)
    ]
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    frame = frame.loc[~frame["measure"].isin(list(apart))]
    measures = names.layered_measures(results) or names.headline_first(frame["measure"])
    first = "" if all(map(has_curves, results)) else measures[0]
    return build(frame, ROW_COLUMNS, {"measure": first, "stratum": "all"}, whole=names.positions(results))


def _with_random(result: Result) -> pd.DataFrame:
    """Return the rows of the table, with the limits of the band of random weights if there is one."""
    rows = result.table
    rows["label"] = names.layer_labels(rows)
    rows.loc[~(rows["units_total"] > rows["units"]), "units_total"] = np.nan
    place = ["measure", "layer", "call", "stratum"]
    bands = result.baseline
    if len(bands):
        bands = bands.rename(columns={"low": "random_low", "high": "random_high"})
        rows = rows.merge(bands[[*place, "random_low", "random_high"]], on=place, how="left")
    return rows


def build(
    frame: pd.DataFrame,
    columns: Sequence[tuple[str, str, str, str]],
    selected: dict[str, str],
    *,
    whole: Set[str] = frozenset(),
) -> Table:
    """Build a table for the page's script.

    Args:
        frame: the rows.
        columns: (key, heading, kind, meaning); kinds are text, number, count, interval, p.
        selected: text columns to filter by, with their initial choice.
        whole: measures that are shown without decimals.
    """
    made = [_column(frame, *column) for column in columns]
    kept = tuple(column for column in made if _says_something(column, always=("label", "value")))
    filters = tuple(
        {"column": i, "selected": selected[column.key], "titles": _titles(column)}
        for i, column in enumerate(kept)
        if column.key in selected
    )
    return Table(kept, filters, _places(frame, kept, whole))


def _column(frame: pd.DataFrame, key: str, label: str, kind: str, meaning: str) -> Column:
    if kind == "text":
        codes, texts = pd.factorize(frame[key].astype(str))
        return Column(key, label, kind, meaning, tuple(map(str, texts)), codes)
    wanted = _INTERVALS[key] if kind == "interval" else (key,)
    parts = [_finite(frame, name) for name in wanted]
    if kind == "interval":
        parts = _interval(parts, _finite(frame, "value"))
    return Column(key, label, kind, meaning, parts=tuple(parts))


def _finite(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column of numbers; NaN if it is missing, and for infinite values."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    values = frame[name].to_numpy(float)
    return np.where(np.isfinite(values), values, np.nan)


def _interval(parts: list[np.ndarray], value: np.ndarray) -> list[np.ndarray]:
    """Return both limits, then the corrected estimate, then 1 where the value is outside the interval."""
    missing = np.isnan(parts[0]) | np.isnan(parts[1])
    parts = [np.where(missing, np.nan, part) for part in parts]
    if len(parts) < 3 or np.isnan(parts[2]).all():
        return parts[:2]
    low, high, corrected = parts
    slack = 1e-9 * np.fmax.reduce([np.abs(value), np.abs(low), np.abs(high)])
    with np.errstate(invalid="ignore"):
        outside = ((value < low - slack) | (value > high + slack)) & ~np.isnan(corrected)
    return [*parts, outside.astype(float)]


def _number(value: float) -> float | None:
    """Round to seven significant digits, as the page does; None for NaN."""
    return None if np.isnan(value) else float(f"{value:.7g}")


def _says_something(column: Column, *, always: Sequence[str]) -> bool:
    if column.key in always:
        return True
    if column.kind == "text":
        return len(column.texts) > 1 or (column.key == "note" and any(column.texts))
    present = ~np.isnan(column.parts[0])
    return bool((present if column.kind == "interval" else present & (column.parts[0] != 0)).any())


def _titles(column: Column) -> list[tuple[str, str]]:
    """Return (value, menu text) for each choice of a filter, in the order of appearance."""
    usual = {"all": "all samples", "mean": "mean over classes"} if column.key == "stratum" else {}
    of_measure = column.key == "measure"
    return [(v, names.measure_title(v) if of_measure else usual.get(v, v)) for v in column.texts]


def _places(frame: pd.DataFrame, columns: Sequence[Column], whole: Set[str]) -> tuple[int, ...]:
    """Return the number of decimals of each measure, which is the same as in the terminal.

    It depends on the measure's values over all samples, or on all its values if there are no such rows.
    """
    keys = {column.key: column for column in columns}
    valued = ["value_a", "value_b"] if "value_a" in keys else ["value"]
    values = np.stack([keys[name].parts[0] for name in valued], axis=1)
    general = (frame["stratum"] == "all").to_numpy()
    if "measure" not in keys:
        return (_decimals(values, general),)
    measure = keys["measure"]
    own = (measure.codes == code for code in range(len(measure.texts)))
    return tuple(
        0 if name in whole else _decimals(values[rows], general[rows])
        for name, rows in zip(measure.texts, own, strict=True)
    )


def _decimals(values: np.ndarray, general: np.ndarray) -> int:
    deciding = values[general] if general.any() else values
    return Fixed.of(deciding[~np.isnan(deciding)].tolist()).places
