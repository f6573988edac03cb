"""Captions of charts and tables: what a chart shows in a sentence, and why values have no interval."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.wording import alike, listed
from invariscope.plots.shared import labels as names
from invariscope.report import words
from invariscope.report.predictions import FLIPS, KEPT_BY_ELEMENT

if TYPE_CHECKING:
    from invariscope.plots import Plot
    from invariscope.results.result import Result

_UNKNOWN = "the reason was not recorded"
_FEW_EVENTS = "it needs 5 samples for which the event occurs, and 5 for which it does not"
_MOST_REASONS = 3
UNITS = "Single units have no intervals; those of layers are in the table of all values."

Gap = tuple[str, str]  # the place that lacks an interval, and the reason


def described(plot: Plot, label: str) -> str:
    """Return what a chart shows, in a sentence for readers who cannot see it."""
    title = f"{plot.title}: {label}" if label else plot.title
    series = [one for one in getattr(plot, "series", ()) if hasattr(one, "value") and _places(one)]
    points = [
        (value, f"{place}, {one.name}" if len(series) > 1 else place)
        for one in series
        for place, value in zip(_places(one), np.asarray(one.value, float), strict=True)
        if np.isfinite(value)
    ]
    if not points:
        return f"{title}."
    (low, least), (high, most) = min(points), max(points)
    kind = "layers" if hasattr(series[0], "layers") else "points"
    shown = f"{len(_places(series[0]))} {kind}"
    whose = f" of {len(series)} networks" if len(series) > 1 else ""
    ends = f"from {words.brief(low)} ({least}) to {words.brief(high)} ({most})"
    return f"{title}. Values of {shown}{whose} range {ends}."


def _places(series: Any) -> Sequence[str]:
    return series.layers if hasattr(series, "layers") else getattr(series, "labels", ())


def without_interval(plot: Plot, results: Sequence[Result]) -> str:
    """Return a sentence that counts the values of a chart without an interval, and says why; "" if none."""
    series = [one for one in getattr(plot, "series", ()) if hasattr(one, "low") and _places(one)]
    measure = getattr(plot, "measure", "")
    if not series and measure and hasattr(plot, "model"):
        return _of_map(plot, results)
    if not series or getattr(plot, "column", "value") != "value" or not isinstance(measure, str):
        return ""
    layered = hasattr(series[0], "layers")
    reasons = _reasons(results, measure)
    gaps: list[Gap] = []
    for one in series:
        value, low = np.asarray(one.value, float), np.asarray(one.low, float)
        for i in np.flatnonzero(np.isfinite(value) & ~np.isfinite(low) & ~_fixed(measure, value)):
            place = str(_places(one)[int(i)])
            known = reasons.get((one.name, place)) if layered else reasons.get((one.name, ""))
            gaps.append(
                (_of_series(place, one.name, series), known or (_UNKNOWN if layered else _FEW_EVENTS))
            )
    total = sum(int(np.isfinite(np.asarray(one.value, float)).sum()) for one in series)
    return counted(gaps, total, "layers" if layered else "points")


def _of_map(plot: Any, results: Sequence[Result]) -> str:
    """Return the sentence of a map of layers, or of units, which have no intervals of their own."""
    if not hasattr(plot, "layers") or hasattr(plot, "quantiles"):
        return UNITS
    named = zip(names.model_names(results), results, strict=True)
    own = [result for name, result in named if name == plot.model] or results
    classes = hasattr(plot, "classes")
    rows = [
        row
        for result in own
        for row in result.rows
        if row.measure == plot.measure and np.isfinite(row.value)
        and (row.stratum not in names.NOT_A_CLASS if classes else row.stratum == plot.stratum)
    ]  # fmt: skip
    gaps = [_gap(row) for row in rows if not np.isfinite(row.ci_low)]
    said = [counted(gaps, len(rows), "values of classes" if classes else "values")]
    said += [UNITS] if getattr(plot, "by_unit", ()) else []
    return " ".join(text for text in said if text)


def of_differences(rows: Any) -> str:
    """Return a sentence that counts the differences without an interval, and says why; "" if none.

    Args:
        rows: rows of one measure and pair of networks from a comparison, with a `label` per layer.
    """
    known = rows.loc[rows["difference"].notna()]
    missing = known.loc[known["ci_low"].isna()].to_dict("records")
    gaps = [(str(row["label"]), reason_of(row["note"]) or _UNKNOWN) for row in missing]
    return counted(gaps, len(known), "differences")


def _fixed(measure: str, value: np.ndarray) -> np.ndarray:
    """Return a mask of the first point at which no prediction can change: the untransformed input."""
    still = {FLIPS: 0.0, KEPT_BY_ELEMENT: 1.0}.get(measure)
    found = np.zeros(len(value), bool)
    found[np.flatnonzero(value == still)[:1]] = True
    return found


def _of_series(place: str, name: str, series: Sequence[Any]) -> str:
    return f"{place} of {name}" if len(series) > 1 else place


def _reasons(results: Sequence[Result], measure: str) -> dict[tuple[str, str], str]:
    """Return why values of a measure have no interval, by network and layer; by network alone under ""."""
    found: dict[tuple[str, str], str] = {}
    for name, result in zip(names.model_names(results), results, strict=True):
        for row in result.rows:
            if row.measure == measure and row.stratum == "all" and (reason := reason_of(row.note)):
                found[name, names.layer_label(row.layer, int(row.call))] = reason
                found[name, ""] = reason
    return found


@lru_cache(maxsize=1024)
def reason_of(note: str) -> str:
    """Return why a value has no interval, from the note of its row; "" if the note does not say.

    >>> reason_of("12 dead units; no interval yet: 2.9 samples decide the value; 5 are needed")
    '2.9 samples decide the value; 5 are needed'
    >>> reason_of("12 dead units")
    ''
    """
    _, found, rest = note.partition("no interval")
    return rest.partition(": ")[2].split("\n")[0].strip().rstrip(".") if found else ""


def counted(gaps: Sequence[Gap], total: int, what: str) -> str:
    """Return a sentence that counts gaps among all values, and gives each reason with its first places.

    Reasons that differ only in their numbers are counted together.

    >>> counted([("a", "3 samples decide"), ("b", "4 samples decide")], 10, "layers")
    'No interval for 2 of 10 layers: 3 to 4 samples decide (a, b).'
    >>> counted([("a", "few samples")], 1, "layers")
    'No interval: few samples.'
    """
    if not gaps:
        return ""
    largest = sorted(alike(reason for _, reason in gaps), key=lambda kind: -len(kind[1]))
    several = len(gaps) < total or len(largest) > 1
    said = [
        f"{reason} ({listed(dict.fromkeys(gaps[i][0] for i in own), limit=3)})" if several else reason
        for reason, own in largest[:_MOST_REASONS]
    ]
    more = len(largest) - _MOST_REASONS
    rest = f"; and {more} more reasons, under Provenance" if more > 0 else ""
    count = f" for {len(gaps):,} of {total:,} {what}" if len(gaps) < total else ""
    whole = f" for any of {total:,} {what}" if not count and total > 1 else count
    return f"No interval{whole}: {'; '.join(said)}{rest}."


def of_tables(results: Sequence[Result]) -> list[str]:
    """Return sentences on the values of the table without an interval: of all samples, then of classes."""
    apart = names.unit_only(results)
    found = []
    for what, wanted in (("values over all samples", ("all",)), ("values of classes and their means", None)):
        rows = [
            row
            for result in results
            for row in result.rows
            if row.measure not in apart and (row.stratum == "all") == (wanted is not None)
        ]
        valued = [row for row in rows if np.isfinite(row.value)]
        gaps = [_gap(row) for row in valued if not np.isfinite(row.ci_low)]
        found.append(counted(gaps, len(valued), what))
    return [text for text in found if text]


def _gap(row: Any) -> Gap:
    place = names.layer_label(row.layer, int(row.call))
    return place, reason_of(row.note) or _UNKNOWN
