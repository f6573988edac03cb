"""Rows of a result: layer values, points of curves, and baselines from random weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Marks columns that do not apply to a row. Compared by identity, because an undefined value is also NaN.
ABSENT = float("nan")
PLACE = ("measure", "layer", "call", "stratum")
_USUAL = {"call": 0, "stratum": "all", "element": 0, "label": "", "parameter": ""}
_UNSAVED = frozenset({"output", "pending", "contrasts"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow(Mapping[str, Any]):
    """A row whose fields can also be read as `row["value"]`; columns that do not apply are not keys.

    Args:
        measure: name of the measure with its form and output, such as "stability.petrini2021.D".
        layer, call: the layer, and the index of its run within one forward pass.
        stratum: "all", the name of a class, or "mean" over the classes.
        output: the measure's output, such as "D"; "" for most measures. Not saved.
    """

    measure: str
    layer: str
    call: int
    stratum: str
    output: str = ""

    @classmethod
    def of(cls, columns: Mapping[str, Any], measures: Iterable[str] = ()) -> Self:
        """Convert a mapping of columns to a row; a row is returned unchanged.

        Args:
            columns: the columns that apply to the row; call 0 and stratum "all" may be omitted.
            measures: names that the measure may have, without the output.
        Raises:
            TypeError: an unknown column, or the measure or layer is missing.
        """
        if isinstance(columns, cls):
            return columns
        name = str(columns.get("measure", ""))
        stem = max((m for m in measures if name.startswith(f"{m}.")), key=len, default=name)
        found: dict[str, Any] = _usual(cls) | {"output": name[len(stem) + 1 :]}
        return cls(**found | {**columns})

    @property
    def place(self) -> tuple[str, str, int, str]:
        """Measure, layer, call and stratum, which identify a row of a table."""
        return self.measure, self.layer, self.call, self.stratum

    @property
    def stem(self) -> str:
        """Name of the measure with its form, without the output."""
        return self.measure[: -len(self.output) - 1] if self.output else self.measure

    @property
    def key(self) -> tuple[str, int]:
        """Layer and call."""
        return self.layer, self.call

    def __getitem__(self, name: str) -> Any:
        default = _defaults(type(self))[name]
        value = getattr(self, name)
        if name in _UNSAVED or value is default or value == default:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _defaults(type(self)) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _defaults(kind: type[ResultRow]) -> dict[str, Any]:
    """Return the default of each field by name; None for a field without one."""
    return {one.name: None if one.default is MISSING else one.default for one in fields(kind)}


@cache
def _usual(kind: type[ResultRow]) -> dict[str, Any]:
    return {one.name: _USUAL[one.name] for one in fields(kind) if one.name in _USUAL}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(ResultRow):
    """The value of one output of a measure at one layer, over one stratum of the samples.

    Args:
        value, ci_low, ci_high, corrected: the value, its interval, and the bias-corrected centre of the
            interval.
        null: expected value if the pairing of samples or elements is destroyed.
        floor: value for inputs that were transformed and transformed back.
        value_ratio, ratio_low, ratio_high: ratio of the layer's means and its interval.
        chance: the value that the model's own randomness causes.
        samples, elements, units: numbers of samples, elements, and units reduced.
        units_total: number of units of the layer; more than `units` if only some were drawn.
        drawing_error: standard error of the value due to the draw of units; 0 if all units were used, NaN if
            unknown.
        dead_units, sparse_units, infinite_units, masked_units: numbers of excluded units by reason.
        counted_units: number of units over which the value is a mean.
        undefined: number of terms excluded because they have no value.
        note: why a number or an interval is missing, and other remarks.
        caution: an alternative explanation of a value that looks invariant.
        grid: why no action can be exact on the layer's grid; also part of the note.
        probe_error: standard error of the value due to the draw of random directions.
        replicates, ratio_replicates: value and ratio with each group of samples left out in turn.
        group_sizes: samples in each group.
        reach: factor by which the interval is wider than the jackknife interval.
        contrasts: (bin,) numbers whose squares sum to the square of `drawing_error`, for paired comparisons.
            Saved with the maps.
        pending: whether more samples would give the value an interval. Not saved.
    """

    value: float = ABSENT
    ci_low: float = ABSENT
    ci_high: float = ABSENT
    corrected: float = ABSENT
    null: float = ABSENT
    floor: float = ABSENT
    value_ratio: float = ABSENT
    ratio_low: float = ABSENT
    ratio_high: float = ABSENT
    chance: float = ABSENT
    samples: float = ABSENT
    elements: float = ABSENT
    units: float = ABSENT
    units_total: float = ABSENT
    drawing_error: float = ABSENT
    dead_units: float = ABSENT
    sparse_units: float = ABSENT
    infinite_units: float = ABSENT
    masked_units: float = ABSENT
    counted_units: float = ABSENT
    undefined: float = ABSENT
    probe_error: float = ABSENT
    note: str = ""
    caution: str = ""
    grid: str = ""
    replicates: Sequence[float] = ()
    ratio_replicates: Sequence[float] = ()
    group_sizes: Sequence[int] = ()
    reach: float = 1.0
    contrasts: np.ndarray | None = field(default=None, compare=False, repr=False)
    pending: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Point(ResultRow):
    """A point of a curve.

    Args:
        element: index of the transform's element, or of the point.
        label, parameter, x: name of the element, name of the axis, and position on the axis.
        value, ci_low, ci_high, corrected, floor, samples, replicates, group_sizes: as in `Row`.
    """

    element: int
    label: str
    parameter: str
    x: float = ABSENT
    value: float = ABSENT
    ci_low: float = ABSENT
    ci_high: float = ABSENT
    corrected: float = ABSENT
    floor: float = ABSENT
    samples: float = ABSENT
    replicates: Sequence[float] = ()
    group_sizes: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineRow(ResultRow):
    """Mean and central 95 % of a value over `draws` networks with random weights."""

    mean: float = ABSENT
    low: float = ABSENT
    high: float = ABSENT
    draws: float = ABSENT


def frame_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return a data frame with these columns; missing numbers are NaN, and missing notes are ""."""
    import pandas as pd

    rows = list(rows)
    if not rows:
        return pd.DataFrame([], columns=list(columns))
    kinds = {type(row) for row in rows}
    if (
        len(kinds) == 1
        and issubclass(kind := kinds.pop(), ResultRow)
        and _defaults(kind).keys() >= {*columns}
    ):
        cells = zip(*map(attrgetter(*columns), rows), strict=True)
        return framed(dict(zip(columns, map(list, cells), strict=True)))
    return framed({name: [_cell(row, name) for row in rows] for name in columns})


def framed(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return a data frame of these columns; pandas cannot store texts that UTF-8 cannot encode."""
    import pandas as pd

    return pd.DataFrame({name: list(map(encodable, cells)) for name, cells in columns.items()})


def encodable(cell: Any) -> Any:
    """Return the cell; surrogates in texts are escaped, as in `\\ud800`."""
    if not isinstance(cell, str) or cell.isascii():
        return cell
    return cell.encode("utf-8", "backslashreplace").decode()


def _cell(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row shows in a column; columns that do not apply hold their default."""
    absent = "" if name == "note" else np.nan
    return getattr(row, name, absent) if isinstance(row, ResultRow) else row.get(name, absent)


def layer_keys(rows: Iterable[ResultRow]) -> list[tuple[str, int]]:
    """Return the layers (name, call) of rows, in order.

    The network's output counts as a layer only if a measure has it among other layers, or if there is nothing
    else: an accuracy beside the values of five layers does not make six.
    """
    of_measure: dict[str, set[tuple[str, int]]] = {}
    found: dict[tuple[str, int], None] = {}
    for row in rows:
        found[row.key] = None
        of_measure.setdefault(row.measure, set()).add(row.key)
    among = {key for own in of_measure.values() if len(own) > 1 for key in own}
    return [key for key in found if key != ("output", 0) or key in among] or list(found)
