"""Paired comparisons of results measured on the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot, inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.differences import differences, flat, in_words
from invariscope.common.wording import alike
from invariscope.intervals import MISSING, Interval, holm, jackknife
from invariscope.results.result import Result
from invariscope.results.rows import PLACE, Row, framed
from invariscope.unit_draw import MIN_LIVE, DrawingError

if TYPE_CHECKING:
    import pandas as pd

_UNKNOWN = "no interval: the reason was not recorded"
_GROUP_DECIDES = "no interval: the difference is undefined without one of the groups"


def compare(*results: Result | Sequence[Result]) -> pd.DataFrame:
    """Compare each result with the first one by paired differences on the same samples.

    Variation shared by both results cancels, so the interval of a difference is narrower than the two
    separate intervals suggest.

    Args:
        results: two or more results, as separate arguments or as a list.
    Returns:
        A data frame, which notebooks display as a card, with one row per measure × layer × stratum that both
        results have, in the order of the first result: `value_a` (first), `value_b`, `difference` = b − a,
        its 95 % interval with the bias-corrected difference `corrected` at the centre, the two-sided p-value
        `p` of no difference, `p_holm`, which is `p` adjusted by Holm's procedure, and `note`, which says why
        an interval is missing. Each adjustment covers all returned rows of one measure output and one
        stratum: all layers and all pairs of results. Intervals and `p` are not adjusted.
    Raises:
        ValueError: fewer than two results, different samples or transforms, or no layer in common.
    """
    from invariscope.results.comparison import Comparison

    several = _several(results)
    rows = [row for other in several[1:] for row in _paired_rows(several[0], other)]
    table = framed({name: [row[name] for row in rows] for name in rows[0]})
    families = table.groupby(["measure", "stratum"], sort=False)["p"]
    adjusted = families.transform(lambda p: holm(p.to_numpy()))
    table = table.assign(p_holm=adjusted, note=table.pop("note"))
    family = (several[0].provenance.get("transform") or {}).get("family")
    return Comparison.of(table, str(family or "transformation"))


def _several(results: Sequence[Any]) -> Sequence[Result]:
    """Return the arguments of `compare` as one sequence, after checking that they are results."""
    given = results[0] if len(results) == 1 and isinstance(results[0], (list, tuple)) else results
    wrong = [type(one).__name__ for one in given if not isinstance(one, Result)]
    if wrong:
        raise TypeError(f"compare takes results, as separate arguments or as a list; got {wrong[0]}")
    for one in given:
        if one.shard is not None:
            one.shard.refuse("rows to compare")
    if len(given) < 2:
        raise ValueError(f"compare needs at least two results, got {len(given)}")
    return given


def _paired_rows(first: Result, other: Result) -> list[dict[str, Any]]:
    _refuse_unpaired(first, other)
    partner = {row.place: row for row in other.rows}
    rows = [
        _difference(row, partner[row.place], first.name, other.name)
        for row in first.rows
        if row.place in partner
    ]
    if not rows:
        raise ValueError(f"{first.name} and {other.name} have no measure and layer in common")
    return rows


def _difference(a: Row, b: Row, name_a: str, name_b: str) -> dict[str, Any]:
    interval, reason = _interval(a, b)
    return {
        **dict(zip(PLACE, a.place, strict=True)),
        "a": name_a,
        "b": name_b,
        "value_a": a.value,
        "value_b": b.value,
        "difference": b.value - a.value,
        **interval.columns,
        "p": interval.p,
        "note": "" if isfinite(interval.low) else _reason_of(a, b) or reason,
    }


def _interval(a: Row, b: Row) -> tuple[Interval, str]:
    """Return the interval of a difference; if there is none, also why, although both values have one."""
    if not (a.replicates and b.replicates):
        return MISSING, _UNKNOWN
    omitted = np.subtract(b.replicates, a.replicates)
    interval = jackknife(b.value - a.value, omitted.tolist(), a.group_sizes, reach=max(a.reach, b.reach))
    interval, reason = _with_drawing(interval, a, b)
    return interval, reason or _GROUP_DECIDES


def _reason_of(a: Row, b: Row) -> str:
    """Return why a or b has no interval; "" if both have one. Its column precedes the reason of one alone."""
    lacking = {name: row.note for name, row in (("value_a", a), ("value_b", b)) if not isfinite(row.ci_low)}
    known = {name: note for name, note in lacking.items() if note}
    kinds = alike(known.values())
    if len(known) == 2 and len(kinds) == 1:
        return kinds[0][0]
    return "; ".join(f"{name}: {note}" for name, note in known.items())


def _with_drawing(interval: Interval, a: Row, b: Row) -> tuple[Interval, str]:
    """Return the interval of a difference, widened by the sampling error of the units if they were drawn.

    Both results draw the same units from layers with the same number of units, so part of this error cancels.
    If a few units decide the difference, there is no interval, and the second part of the answer says so.
    """
    errors = [row.drawing_error for row in (a, b) if isfinite(row.drawing_error) and row.drawing_error > 0]
    if not errors:
        return interval, ""
    contrasts = [row.contrasts.astype(float) for row in (a, b) if row.contrasts is not None]
    if len(contrasts) < len(errors):  # a result was loaded without its maps
        return interval.with_drawing(hypot(*errors), inf), ""
    shared = len(contrasts) == 2 and a.units_total == b.units_total
    if shared and len(contrasts[0]) != len(contrasts[1]):
        raise ValueError(
            f"different numbers of units were drawn from layer {a.layer!r}: {a.units:g} and {b.units:g} of "
            f"{a.units_total:g}; measure both results with the same units="
        )
    error = DrawingError(contrasts[1] - contrasts[0] if shared else np.concatenate(contrasts), MIN_LIVE)
    if few := error.too_few_units(interval.error**2):
        return MISSING, few
    return interval.with_drawing(error.variance**0.5, error.freedom), ""


def _refuse_unpaired(first: Result, other: Result) -> None:
    seeds = [result.provenance.get("seed") for result in (first, other)]
    if seeds[0] != seeds[1]:
        raise ValueError(
            f"{first.name} and {other.name} were measured with seeds {seeds[0]} and {seeds[1]}, so their "
            "pairs and groups of samples differ; measure both with the same seed"
        )
    names = [f"for {first.name}", f"for {other.name}"]
    if first.name == other.name:
        names = ["in the first result", "in the second"]
    for part in ("data", "transform"):
        ours, theirs = (result.provenance.get(part, {}) for result in (first, other))
        if ours.get("fingerprint") != theirs.get("fingerprint"):
            found = differences(
                *(_described(part, own) for own in (ours, theirs)), there=names[0], now=names[1]
            )
            raise ValueError(
                f"{first.name} and {other.name} were measured with different {part} "
                f"({in_words(found, _CONTENT[part])}); a paired comparison needs the same samples and the "
                "same transform"
            )
    for name in _options(first).keys() & _options(other).keys():
        ours, theirs = _options(first)[name], _options(other)[name]
        if ours != theirs:
            raise ValueError(
                f"{name} was measured with {ours} for {first.name} and with {theirs} for {other.name}; "
                "measure both with the same options"
            )


_CONTENT = {
    "data": "the values, labels, order or groups of the samples differ",
    "transform": "its draws differ",
}
_KEYS = {
    "data": ("samples", "shape", "keys", "order"),
    "transform": ("family", "options", "labels", "parameters"),
}


def _described(part: str, known: Mapping[str, Any]) -> dict[str, str]:
    return flat({name: known[name] for name in _KEYS[part] if name in known}, part)


def _options(result: Result) -> dict[str, Any]:
    return {name: known.get("options") for name, known in result.provenance.get("measures", {}).items()}
