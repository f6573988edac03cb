"""A ranking of many networks: by the share of samples that change class or, if unknown, by the last layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.common.symbols import is_relative
from invariscope.plots.shared import labels as names
from invariscope.report import predictions as outcome
from invariscope.report import words
from invariscope.report.layers import in_words, with_value

if TYPE_CHECKING:
    from invariscope.results.result import Result


@dataclass(frozen=True)
class Entry:
    """One network in the ranking.

    Args:
        name: the network.
        place: its position among the results, which selects its colour.
        value: the value as text.
        interval: its interval as text, or why there is none.
        share, low, high: value and bounds in percent of the longest bar; bounds are None without an interval.
        further: text of the last column.
    """

    name: str
    place: int
    value: str
    interval: str
    share: float
    low: float | None
    high: float | None
    further: str


@dataclass(frozen=True)
class Ranking:
    """The ranking: a caption, the titles of the columns of values, and entries from best to worst."""

    caption: str
    title: str
    further: str
    entries: tuple[Entry, ...]


def of_results(results: Sequence[Result], measure: str | None) -> Ranking | None:
    """Return the ranking; None if the networks are few enough for sentences."""
    if len(results) <= outcome.FEW:
        return None
    known = {one.name: one for one in outcome.predictions(results)}
    named = names.model_names(results)
    if known:
        several = f"{words.subject(results)}s"
        rows = [
            (place, known[name].main, _accuracies(known[name]))
            for place, name in enumerate(named)
            if name in known
        ]
        caption = f"Networks by the share of {several} that change class, smallest first"
        return _ranking(
            caption, f"{several.capitalize()} that change class", "Accuracy", rows, named, shares=True
        )
    if measure is None:
        return None
    lasts = {place: _last(result, measure) for place, result in enumerate(results)}
    rows = [(place, outcome.Share.of(row), row["label"]) for place, row in lasts.items() if row is not None]
    title = f"{names.measure_title(measure)} of the last layer"
    return _ranking(
        f"Networks by {in_words(measure)} of the last layer, smallest first", title, "Layer", rows, named
    )


def _last(result: Result, measure: str) -> dict[str, Any] | None:
    """Return the row of the last layer that has a value of the measure."""
    rows = with_value(names.rows_of(result, measure))
    return rows[-1] if rows else None


def span(results: Sequence[Result], measure: str) -> str:
    """Return a sentence on the smallest and the largest value of the last layers of many networks."""
    named = zip(names.model_names(results), results, strict=True)
    rows = [(name, row["value"]) for name, result in named if (row := _last(result, measure)) is not None]
    if not rows:
        return ""
    low, high = (pick(rows, key=lambda entry: entry[1]) for pick in (min, max))
    ends = f"between {words.brief(low[1])} ({low[0]}) and {words.brief(high[1])} ({high[0]})"
    ends = f"{words.brief(low[1])}" if low[1] == high[1] else ends
    if not is_relative(measure):
        return f"The {in_words(measure)} of the last layer is {ends}."
    name, noun = words.transform_name(results[0]), words.subject(results)
    verb = "change" if name.endswith("s") else "changes"
    times = f"{ends} times as much as replacing the {noun} does"
    text = f"{name} {verb} the responses of the last layer {times}."
    return text[:1].upper() + text[1:]


def _accuracies(one: outcome.Predictions) -> str:
    if one.lowest is None or math.isnan(one.before):
        return ""
    before, after = words.percents(one.before, one.lowest[1])
    return f"{before} → {after} ({one.lowest[0]})" if one.falls else before


def _ranking(
    caption: str,
    title: str,
    further: str,
    rows: Sequence[tuple[int, outcome.Share, str]],
    named: Sequence[str],
    *,
    shares: bool = False,
) -> Ranking:
    """Return the ranking of rows of (place, value, further text)."""
    rows = sorted(rows, key=lambda row: row[1].value)
    longest = max((_reach(share) for _, share, _ in rows), default=1.0) or 1.0
    entries = [
        _entry(named[place], place, share, text, longest, shares=shares) for place, share, text in rows
    ]
    return Ranking(caption, title, further if any(text for _, _, text in rows) else "", tuple(entries))


def _reach(share: outcome.Share) -> float:
    """Return the upper end of the interval or, without one, the value."""
    return max(share.value, share.high if math.isfinite(share.high) else share.value, 0.0)


def _entry(name: str, place: int, share: outcome.Share, text: str, longest: float, *, shares: bool) -> Entry:
    known = words.known_interval(share.low, share.high)
    show = words.percents if shares else words.briefs
    value, *bounds = show(share.value, share.low, share.high) if known else show(share.value)
    interval = " to ".join(bounds) if known else f"none: {share.reason}" if share.reason else "none"
    ends = [100 * min(max(end / longest, 0.0), 1.0) if known else None for end in (share.low, share.high)]
    width = 100 * min(max(share.value / longest, 0.0), 1.0)
    return Entry(name, place, value, interval, width, ends[0], ends[1], text)
