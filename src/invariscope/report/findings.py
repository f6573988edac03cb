"""What the numbers say, in plain sentences computed from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared import labels as names

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.result import Result

ACCURACY = "prediction.accuracy"
# Measures whose value is the response to the transformation in units of the response to a new sample.
RELATIVE = ("normalized_variance", "normalized_distance")


def title(results: Sequence[Result]) -> str:
    """The page's heading.

    The models where there are few, else how many, and the transform.
    """
    models = list(dict.fromkeys(names.model_names(results)))
    who = join(models) if len(models) <= 3 else f"{len(models)} networks"
    transforms = list(dict.fromkeys(transform_name(result) for result in results))
    return f"Invariance under {transforms[0] if len(transforms) == 1 else 'transformations'}: {who}"


def transform_name(result: Result) -> str:
    """The transform's family in words: "rotation", "quarter turns"."""
    family = result.provenance.get("transform", {}).get("family") or "transformation"
    return str(family).replace("_", " ")


def join(words: Sequence[str]) -> str:
    """Words as an English list.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def main_measure(results: Sequence[Result]) -> str | None:
    """The measure that the page leads with; None where no row has a value."""
    found = [name for result in results for name in names.layered_measures([result])]
    return next(iter(names.headline_first(found)), None)


def sentences(results: Sequence[Result], differences: pd.DataFrame | None) -> list[str]:
    """What is found, the most important first: comparison, extremes per model, accuracy."""
    measure = main_measure(results)
    if measure is None:
        return ["No layer has a value: see the notes for the reason."]
    found = [] if differences is None else _comparisons(differences, measure, transform_name(results[0]))
    named = (
        list(zip(names.model_names(results), results, strict=True))
        if len(results) > 1
        else [("", results[0])]
    )
    found += [_extremes(result, measure, name) for name, result in named]
    found += [_nulls(result, measure, name) for name, result in named]
    found += [_accuracy(result, name) for name, result in named]
    return [sentence for sentence in found if sentence]


def _with_value(rows: pd.DataFrame, column: str = "value") -> list[dict[str, Any]]:
    return [row for row in rows.to_dict("records") if math.isfinite(row[column])]  # type: ignore[misc]


def _extremes(result: Result, measure: str, prefix: str) -> str:
    rows = _with_value(names.rows_of(result, measure))
    if not rows:
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    least, most = names.number(low["value"]), names.number(high["value"])
    if measure not in RELATIVE:
        title = names.measure_title(measure).lower()
        span = f"from {least} ({_layer(low)}) to {most} ({_layer(high)})"
        return _sentence(prefix, f"the {title} goes {span}.")
    moves = f"{transform_name(result)} moves the units of {_layer(low)}"
    does = f"times as much as a change of sample does{_spread(result, measure)}"
    if len(rows) == 1:
        return _sentence(prefix, f"{moves} {least} {does}.")
    rest = f"and those of {_layer(high)}, the least invariant, {most} times as much"
    return _sentence(prefix, f"{moves}, the most invariant layer, {least} {does}, {rest}.")


def _layer(row: dict[str, Any]) -> str:
    """A layer's name; a bare number, as in a Sequential, would be taken for a value."""
    return f"layer {row['label']}" if row["label"][:1].isdigit() else row["label"]


def _nulls(result: Result, measure: str, prefix: str) -> str:
    """Says in how many layers the value cannot be told from that of unrelated samples."""
    rows = [row for row in _with_value(names.rows_of(result, measure)) if math.isfinite(row["null"])]
    reached = [row for row in rows if row["ci_high"] >= row["null"]]
    if not reached:
        return ""
    count = _count(len(reached), len(rows))
    text = f"the interval reaches the null, the value that unrelated samples give, in {count} layers."
    return _sentence(prefix, text)


def _sentence(prefix: str, text: str) -> str:
    return f"In {prefix}, {text}" if prefix else text[:1].upper() + text[1:]


def _spread(result: Result, measure: str) -> str:
    """A ratio of variances is the square of a ratio of deviations: say which."""
    about = (result.provenance.get("measures") or {}).get(measure) or {}
    return {"variance": " (in variance)", "std": " (in standard deviation)"}.get(
        str((about.get("options") or {}).get("spread")), ""
    )


def _comparisons(differences: pd.DataFrame, measure: str, transform: str) -> list[str]:
    rows = _with_value(names.where(differences, measure=measure, stratum="all"), "difference")
    pairs = dict.fromkeys((row["a"], row["b"]) for row in rows)
    return [
        _compared([row for row in rows if (row["a"], row["b"]) == pair], measure, *pair, transform)
        for pair in pairs
    ]


def _compared(rows: list[dict[str, Any]], measure: str, first: str, other: str, transform: str) -> str:
    lower = [row for row in rows if row["difference"] < 0]
    higher = [row for row in rows if row["difference"] > 0]
    if not lower and not higher:
        return f"Under {transform}, {other} and {first} have the same values in all {len(rows)} layers."
    fewer = len(lower) >= len(higher)
    count = max(len(lower), len(higher))
    direction = _direction(measure, first, fewer)
    text = f"Under {transform}, {other} is {direction} in {_count(count, len(rows))} layers"
    below, above = (sum(map(test, rows)) for test in (_below_zero, _above_zero))
    if not any(math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"]) for row in rows):
        return f"{text}; there are too few samples for an interval."
    sure, opposite = (below, above) if fewer else (above, below)
    text += f"; the 95\u00a0% interval of the difference excludes zero in {_of_them(sure, count)}"
    return f"{text}, and in {opposite} of the others." if opposite else f"{text}."


def _direction(measure: str, first: str, lower: bool) -> str:
    if measure in names.HEADLINE:
        return f"{'more' if lower else 'less'} invariant than {first}"
    return f"{'lower' if lower else 'higher'} than {first} in {names.measure_title(measure).lower()}"


def _count(part: int, total: int) -> str:
    return f"all {total}" if part == total else f"{part} of {total}"


def _of_them(part: int, total: int) -> str:
    return "all of them" if part == total else f"{part or 'none'} of them"


def _below_zero(row: dict[str, Any]) -> bool:
    return row["ci_high"] < 0


def _above_zero(row: dict[str, Any]) -> bool:
    return row["ci_low"] > 0


def _accuracy(result: Result, prefix: str) -> str:
    rows = _with_value(names.where(result.curves, measure=ACCURACY, stratum="all"))
    if len(rows) < 2:
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    worst, best = (f"{row['value']:.1%} ({row['label']})".replace("%", "\u00a0%") for row in (low, high))
    return _sentence(prefix, f"the accuracy lies between {worst} and {best}.")
