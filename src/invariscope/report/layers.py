"""Sentences on the layers of one network: extreme values, jumps, nulls and cautions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from invariscope.common.symbols import is_headline, is_relative
from invariscope.intervals import reaches_null
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.depth import FEW
from invariscope.plots.shared.digits import Fixed
from invariscope.plots.shared.scales import APART
from invariscope.report import words

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result


def sentence(prefix: str, text: str) -> str:
    """Return a sentence on a network, or one without a name if there is no other network."""
    return f"In {prefix}, {text}" if prefix else text[:1].upper() + text[1:]


def with_value(rows: pd.DataFrame, column: str = "value") -> list[dict[str, Any]]:
    """Return the rows whose value is finite."""
    return [row for row in rows.to_dict("records") if math.isfinite(row[column])]  # type: ignore[misc]


def in_words(measure: str) -> str:
    """Return a measure's name within a sentence, in lower case except for initialisms."""
    title = names.measure_title(measure)
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def layer_name(row: dict[str, Any], result: Result | None = None, measure: str = "") -> str:
    """Return a layer's name, preceded by "layer" if it starts with a digit and could be taken for a value.

    In networks with more than 40 layers, of which charts show the outputs of blocks, its position follows.
    """
    name = f"layer {row['label']}" if row["label"][:1].isdigit() else row["label"]
    order = [] if result is None else list(names.rows_of(result, measure)["label"])
    return f"{name} (layer {order.index(row['label']) + 1} of {len(order)})" if len(order) > FEW else name


def span(result: Result, measure: str) -> str:
    """Return a short sentence on the range of a relative measure, for the top of the page, or ""."""
    rows = with_value(names.rows_of(result, measure))
    if not is_relative(measure) or len(rows) < 2:
        return ""
    ends = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    low, high = (f"{_value(row)} times (in {layer_name(row)})" for row in ends)
    name, noun = words.transform_name(result), words.subject([result])
    changes = f"{name} {'change' if name.endswith('s') else 'changes'} responses"
    return sentence("", f"{changes} between {low} and {high} as much as replacing the {noun} does.")


def extremes(result: Result, measure: str, prefix: str) -> str:
    """Return a sentence on the layers with the smallest and the largest value."""
    rows = with_value(names.rows_of(result, measure))
    if not rows:
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    least, most = (layer_name(row, result, measure) for row in (low, high))
    if is_relative(measure):
        return sentence(prefix, _relative(result, measure, [(least, low), (most, high)][: len(rows)]))
    fixed, title = Fixed.of(row["value"] for row in rows), in_words(measure)
    if len(rows) == 1:
        return sentence(prefix, f"the {title} of {least} is {fixed(low['value'])}{_interval(low)}.")
    span = f"from {fixed(low['value'])} ({least}) to {fixed(high['value'])} ({most})"
    return sentence(prefix, f"the {title} ranges {span}{_jump(result, measure, rows)}.")


def _relative(result: Result, measure: str, ends: list[tuple[str, dict[str, Any]]]) -> str:
    """Return a sentence on the layers that the transform affects least and most, relative to new samples."""
    name, noun = words.transform_name(result), words.subject([result])
    plural = name.endswith("s")
    (least, low), *rest = ends
    times = f"{_value(low)} times as much as replacing the {noun} does"
    times += _interval(low, spread_of(result, measure))
    if not rest:
        return f"{name} {'change' if plural else 'changes'} the responses of {least} {times}."
    most, high = rest[0]
    affects = f"{name} {'affect' if plural else 'affects'} {least} least"
    tail = f"{most} most: {_value(high)} times as much{_interval(high)}"
    return f"{affects}, changing its responses {times}, and {tail}."


def _value(row: dict[str, Any]) -> str:
    return words.briefs(row["value"], *_bounds(row))[0]


def _bounds(row: dict[str, Any]) -> tuple[float, ...]:
    """Return the limits of the interval; empty if there is none, or if it does not contain the value."""
    low, high = (float(row.get(name, math.nan)) for name in ("ci_low", "ci_high"))
    known = words.known_interval(low, high) and not names.outside(row["value"], low, high)
    return (low, high) if known else ()


def _interval(row: dict[str, Any], *further: str) -> str:
    """Return remarks and the interval in parentheses, or "" if there is neither.

    An interval that does not contain its own value is left to the tables, which explain it.
    """
    _, *ends = words.briefs(row["value"], *_bounds(row))
    bounds = f"95{words.NBSP}% interval {' to '.join(ends)}" if ends else ""
    parts = [part for part in (*further, bounds) if part]
    return f" ({', '.join(parts)})" if parts else ""


def spread_of(result: Result, measure: str) -> str:
    """Return whether a ratio is one of variances or of standard deviations, or ""."""
    about = (result.provenance.get("measures") or {}).get(measure) or {}
    kinds = {"variance": "variance ratio", "std": "ratio of standard deviations"}
    return kinds.get(str((about.get("options") or {}).get("spread")), "")


def _jump(result: Result, measure: str, rows: list[dict[str, Any]]) -> str:
    """Return a clause on the first layer whose value far exceeds those of all earlier layers, or "".

    A symmetry breaks at such a layer. For negated similarities, which cluster at −1, the clause is about one
    plus the value.
    """
    lead = ""
    if min(row["value"] for row in rows) < 0:
        rows, lead = with_value(names.rows_of(result, f"{measure}.one_plus")), "one plus this value "
    fixed = Fixed.of(row["value"] for row in rows)
    for place, row in enumerate(rows):
        before = max((abs(earlier["value"]) for earlier in rows[:place]), default=0.0)
        if before > 0 and row["value"] > APART * before:
            rise = f"{fixed(row['value'])}, compared with at most {fixed(before)} in earlier layers"
            return f", and {lead}jumps at {layer_name(row, result, measure)}: {rise}"
    return ""


def nulls(result: Result, measure: str, prefix: str) -> str:
    """Return a sentence on the layers whose interval reaches the null."""
    if not is_headline(measure):
        return ""
    rows = [row for row in with_value(names.rows_of(result, measure)) if math.isfinite(row["null"])]
    reached = [row for row in rows if reaches_null(row)]
    if not reached:
        return ""
    count = count_of(len(reached), len(rows))
    text = f"the interval reaches the null, the value for unrelated samples, in {count} layers."
    return sentence(prefix, text)


def cautions(result: Result, main: str, prefix: str) -> list[str]:
    """Return a sentence per caution, except for those of the main measure if `nulls` covers it."""
    rows = result.cautions
    rows = rows[~((rows["measure"] == main) & is_headline(main))]
    found = []
    groups: Any = rows.groupby(["measure", "caution"], sort=False)
    for (measure, caution), own in groups:
        count = len(own)
        where = layer_name({"label": own["layer"].iloc[0]}) if count == 1 else f"{count} layers"
        found.append(sentence(prefix, f"the {in_words(measure)} of {where} is {caution}."))
    return found


def count_of(part: int, total: int) -> str:
    """Return a count among a total: "all 3" or "2 of 3"."""
    return f"all {total}" if part == total else f"{part} of {total}"
