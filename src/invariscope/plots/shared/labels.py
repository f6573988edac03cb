"""Names of measures, layers, classes and models in figures, and the rows of results that figures show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.registry import unknown
from invariscope.common.symbols import HEADLINE, first_of, full_name
from invariscope.common.wording import shorten_all

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

NOT_A_CLASS = ("all", "mean")
_NO_RESULTS = "plots take one Result, or a list of them (from iv.measure or iv.load); got {}"
FREQUENCY = "frequency_cpp"
RADIUS = "radius"
_UNITS = {"deg": "degrees", "px": "pixels", "db": "dB", "cpp": "cycles per position"}


def as_results(results: Result | Iterable[Result]) -> tuple[Result, ...]:
    """Return one or several results as a tuple.

    Raises:
        ValueError: no results.
        TypeError: something else.
    """
    if isinstance(results, str | bytes | Mapping) or not (
        hasattr(results, "provenance") or hasattr(results, "__iter__")
    ):
        raise TypeError(_NO_RESULTS.format(type(results).__name__))
    several = (results,) if hasattr(results, "provenance") else tuple(results)  # type: ignore[arg-type]
    wrong = [type(entry).__name__ for entry in several if not hasattr(entry, "provenance")]
    if wrong:
        raise TypeError(_NO_RESULTS.format(wrong[0]))
    if not several:
        raise ValueError("no results: give one Result, or a list with at least one")
    return several  # type: ignore[return-value]


def model_names(results: Sequence[Result]) -> list[str]:
    """Return the models' names, numbered if they repeat: "net (1)", "net (2)"."""
    names = [result.name for result in results]
    return [
        f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def headline_first(measures: Iterable[str]) -> list[str]:
    """Return the distinct measures, with the main measure of invariance first, in whatever convention.

    >>> headline_first(["sample_variance", "normalized_variance", "sample_variance"])
    ['normalized_variance', 'sample_variance']
    """
    distinct = list(dict.fromkeys(measures))
    first = first_of(HEADLINE, distinct)
    return distinct if first is None else [first, *(name for name in distinct if name != first)]


def table_measures(results: Sequence[Result], *, column: str = "value") -> list[str]:
    """Return measures with at least one finite entry in `column` of any table, headline measures first."""
    names = []
    for result in results:
        table = result.table
        names += list(dict.fromkeys(table["measure"][table[column].notna()].tolist()))
    return headline_first(names)


def layered_measures(results: Sequence[Result], *, column: str = "value") -> list[str]:
    """Return measures with values in at least two layers or, if there are none, those of single layers.

    Values of the output alone, such as an accuracy, have no layer profile. Measures that are meaningful only
    per unit are left out.
    """
    apart = unit_only(results)
    found = [name for name in table_measures(results, column=column) if name not in apart]
    layers = {name: [len(rows_of(result, name)) for result in results] for name in found}
    return [name for name in found if max(layers[name]) > 1] or found


def positions(results: Sequence[Result]) -> set[str]:
    """Return measures whose values are positions in a list, which are shown as integers."""
    return _declared(results, "positions")


def unit_only(results: Sequence[Result]) -> set[str]:
    """Return measures that are meaningful only per unit; tables and profiles omit their layer means."""
    return _declared(results, "unit_only")


def for_tables(rows: pd.DataFrame, results: Sequence[Result]) -> pd.DataFrame:
    """Return the rows to show in tables: all except those of measures that are meaningful only per unit."""
    return rows.loc[~rows["measure"].isin(list(unit_only(results)))].copy()


def _declared(results: Sequence[Result], kind: str) -> set[str]:
    """Return the measures that the provenance of a result declares to be of this kind."""
    described = (about for result in results for about in (result.provenance.get("measures") or {}).values())
    return {str(name) for about in described if isinstance(about, dict) for name in about.get(kind) or ()}


def map_measures(result: Result) -> list[str]:
    """Return measures with per-unit maps over all samples and a value per layer, headline measures first.

    Curves of channels, such as spectra, are stored as maps too, but are not values of units.
    """
    valued = {row.measure for row in result.rows}
    return headline_first(m for m, _, stratum, _ in result.maps if stratum == "all" and m in valued)


def choose(kind: str, name: str | None, candidates: Sequence[str]) -> str:
    """Return `name` if it is a candidate, or the first candidate if it is None.

    Raises:
        ValueError: there are no candidates, or the name is not among them.
    """
    if not candidates:
        raise ValueError(f"the result has no {kind} to show: run a measure that provides one")
    if name is not None and kind == "measure":
        name = full_name(name)
    if name is not None and name not in candidates:
        raise unknown(kind, name, candidates)
    return candidates[0] if name is None else name


_PUBLICATION = re.compile(r"([a-z]+)(\d{4})")
# Curves whose names say less than what they show.
_CURVES = {
    "prediction.flips": "Predictions that change class",
    "consistency.by_element": "Predictions that keep their class",
}
# Outputs whose names say less than the titles that their measures give them.
_OUTPUTS = {"probability_true": "probability of the true class"}
_INITIALISM = re.compile(r"\b(anova|cka|psnr)\b")


def titled(measure: str, stratum: str) -> str:
    """Return a measure's title with the class whose samples are shown, if it is not that of all samples.

    >>> titled("cka", "all"), titled("cka", "mean"), titled("cka", "cat")
    ('CKA', 'CKA, mean over classes', 'CKA, class cat')
    """
    of = {"all": "", "mean": ", mean over classes"}.get(stratum, f", class {stratum}")
    return measure_title(measure) + of


def measure_title(name: str) -> str:
    """Return a measure's name for display.

    >>> measure_title("normalized_variance"), measure_title("anova.share_transform"), measure_title("cka")
    ('Normalized variance', 'ANOVA: share transform', 'CKA')
    >>> measure_title("stability.petrini2021.R")
    'Stability: R (Petrini 2021)'
    """
    parts = name.split(".")
    published = [found for part in parts if (found := _PUBLICATION.fullmatch(part))]
    own = ": ".join(_OUTPUTS.get(part, part) for part in parts if not _PUBLICATION.fullmatch(part)) or name
    text = _INITIALISM.sub(lambda word: word[0].upper(), own.replace("_", " "))
    source = "".join(f" ({found[1].capitalize()} {found[2]})" for found in published)
    return text[:1].upper() + text[1:] + source


def curve_title(name: str) -> str:
    """Return a curve's name without its family, or the family's name if the curve has no other name.

    >>> curve_title("prediction.flips"), curve_title("equivariance_deviation.output.by_element")
    ('Predictions that change class', 'Equivariance deviation: output')
    """
    family, _, own = name.rpartition(".")
    return _CURVES.get(name) or measure_title(family if own == "by_element" else own)


def parameter_title(name: str) -> str:
    """Return a parameter's name for an axis, with its unit in words.

    >>> parameter_title("angle_deg"), parameter_title("element")
    ('angle (degrees)', 'element')
    """
    stem, _, unit = name.rpartition("_")
    return f"{stem.replace('_', ' ')} ({_UNITS[unit]})" if stem and unit in _UNITS else name.replace("_", " ")


def layer_label(layer: str, call: int) -> str:
    """Return a layer's name, with the number of the call for later runs of a shared module.

    >>> layer_label("conv1", 0), layer_label("conv1", 1)
    ('conv1', 'conv1, call 1')
    """
    return f"{layer}, call {call}" if call else layer


def layer_labels(rows: pd.DataFrame) -> list[str]:
    """Return the label of each row's layer and call."""
    return [layer_label(*pair) for pair in zip(rows["layer"], rows["call"], strict=True)]


def where(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows whose columns have the given values."""
    for name, value in wanted.items():
        table = table.loc[table[name] == value]
    return table.copy()


def rows_of(result: Result, measure: str, stratum: str = "all") -> pd.DataFrame:
    """Return the table's rows of one measure and stratum, with a `label` per layer."""
    rows = where(result.table, measure=measure, stratum=stratum)
    rows["label"] = [layer_label(*pair) for pair in zip(rows["layer"], rows["call"], strict=True)]
    return rows


def class_strata(result: Result, measure: str) -> list[str]:
    """Return the strata that are classes: those declared by the data in their order, then any others."""
    table = result.table
    present = list(dict.fromkeys(table["stratum"][table["measure"] == measure].tolist()))
    declared = [str(name) for name in result.provenance.get("data", {}).get("classes") or ()]
    ordered = [name for name in declared if name in present]
    return ordered + [name for name in present if name not in ordered and name not in NOT_A_CLASS]


def of_model(title: str, model: str, models: int) -> str:
    """Return a menu entry: the title, followed by the model's name if there are several models."""
    return f"{title} · {model}" if models > 1 else title


def evenly(layers: Sequence[str], most: int) -> list[str]:
    """Return at most `most` layers, evenly spaced from the first to the last.

    >>> evenly(["a", "b", "c", "d", "e"], 3), evenly([], 3)
    (['a', 'c', 'e'], [])
    """
    places = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    return [layers[int(place)] for place in np.unique(places)]


def axis_labels(names: Sequence[str], length: int = 26) -> list[str]:
    """Return names for an axis, without the dotted prefix shared by all.

    Long names are cut at the end or, if more of them then differ, in the middle; if names still agree, they
    keep the characters in which they differ.

    >>> axis_labels(["net.block1.conv", "net.block2.conv"])
    ['block1.conv', 'block2.conv']
    >>> axis_labels(["a.activation", "b.activation"], 8), axis_labels(["activation1", "activation2"], 8)
    (['a.activ…', 'b.activ…'], ['acti…on1', 'acti…on2'])
    """
    own = without_prefix(names)
    heads = [name if len(name) <= length else f"{name[: length - 1]}…" for name in own]
    middles = shorten_all(own, length)
    return max((heads, middles), key=lambda texts: len(set(texts)))


def without_prefix(names: Sequence[str]) -> list[str]:
    """Return names without the dotted prefix shared by all.

    >>> without_prefix(["net.a", "net.b.c"]), without_prefix(["a.b"])
    (['a', 'b.c'], ['a.b'])
    """
    parts = [name.split(".") for name in names]
    while len(parts) > 1 and all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    return [".".join(p) for p in parts]


def modules_of(label: str) -> list[str]:
    """Return the names of the modules around a layer, outermost first, and its own name.

    A slash precedes the name of an operation that is not a module.

    >>> modules_of("block1.0.conv, call 1"), modules_of("block1.0/add")
    (['block1', '0', 'conv'], ['block1', '0', 'add'])
    """
    return re.split(r"[./]", label.partition(", call ")[0])


def shared_prefix(names: Sequence[str]) -> str:
    """Return the dotted prefix that `axis_labels` leaves out.

    >>> shared_prefix(["net.block1.conv", "net.block2.conv"]), shared_prefix(["conv1", "conv2"])
    ('net', '')
    """
    if not names:
        return ""
    left, own = without_prefix(names)[0], names[0]
    return own[: len(own) - len(left)].rstrip(".")


def layer_axis(names: Sequence[str]) -> str:
    """Return the title of an axis of layers, including the prefix that labels leave out.

    >>> layer_axis(["features.2", "features.6"]), layer_axis(["conv1", "conv2"])
    ('layer of features', 'layer')
    """
    prefix = shared_prefix(names)
    return f"layer of {prefix}" if prefix else "layer"


def number(value: float, *, digits: int = 4) -> str:
    """Return a number with four significant digits, or a dash for NaN.

    >>> number(0.412491), number(float("nan")), number(1234567.0), number(0.0), number(-0.0762, digits=2)
    ('0.4125', '–', '1.235e+06', '0', '−0.076')
    """
    value = float(value)
    if math.isnan(value):
        return "–"
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else ("∞" if value > 0 else "−∞")
    magnitude = abs(value)
    if 1e-3 <= magnitude < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(magnitude)))
        return f"{value:.{places}f}".replace("-", "−")
    return f"{value:.{digits - 1}e}".replace("-", "−")


def with_names(note: str, a: str, b: str) -> str:
    """Return the note of a comparison with the names of both results in place of their columns.

    >>> with_names("value_b: no interval: few samples", "plain", "rotated")
    'rotated: no interval: few samples'
    """
    return note.replace("value_a: ", f"{a}: ").replace("value_b: ", f"{b}: ")


OUTSIDE = (
    "A number before an interval is the bias-corrected estimate at its centre. It is shown if the value lies "
    "outside the interval; with more samples, value and estimate converge."
)


def outside(value: float, low: float, high: float) -> bool:
    """Return whether a value lies outside its own interval, by more than rounding.

    >>> outside(0.2, 0.25, 0.5), outside(0.3, 0.25, 0.5), outside(0.2, math.nan, math.nan)
    (True, False, False)
    """
    slack = 1e-9 * max(abs(value), abs(low), abs(high))
    return value < low - slack or value > high + slack


def interval(
    low: float,
    high: float,
    *,
    value: float = math.nan,
    corrected: float = math.nan,
    show: Callable[[float], str] = number,
) -> str:
    """Return an interval as text, or a dash if there is none.

    The bias-corrected estimate precedes it if the value lies outside the interval.

    >>> interval(0.25, 0.5), interval(float("nan"), 1.0)
    ('0.2500 to 0.5000', '–')
    >>> interval(0.25, 0.5, value=0.2, corrected=0.375), interval(0.25, 0.5, value=0.3, corrected=0.375)
    ('0.3750; 0.2500 to 0.5000', '0.2500 to 0.5000')
    """
    if math.isnan(low) or math.isnan(high):
        return "–"
    ends = f"{show(low)} to {show(high)}"
    return f"{show(corrected)}; {ends}" if outside(value, low, high) and not math.isnan(corrected) else ends


def intervals(low: Iterable[float], high: Iterable[float]) -> list[str]:
    """Return one text per interval."""
    return [interval(*ends) for ends in zip(low, high, strict=True)]


def row_interval(
    row: Mapping[str, Any], *, value: str = "value", show: Callable[[float], str] = number
) -> str:
    """Return the interval of a row of a result or a comparison as text.

    Args:
        value: the column of the value.
        show: function that formats a number.
    """
    corrected = row.get("corrected", math.nan)
    return interval(row["ci_low"], row["ci_high"], value=row[value], corrected=corrected, show=show)


def outside_note(rows: Iterable[Mapping[str, Any]], *, value: str = "value") -> list[str]:
    """Return the line that explains corrected estimates, if any of the rows shows one."""
    return [OUTSIDE] if any(outside(row[value], row["ci_low"], row["ci_high"]) for row in rows) else []
