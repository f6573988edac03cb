"""The report's findings from stability curves, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared import labels as names
from invariscope.report import words
from invariscope.report.predictions import FEW

if TYPE_CHECKING:
    from invariscope.results.result import Result

FAMILY, OUTPUT = "stability_curve", "output"
# Ways to change an input, by the suffix of a curve's name.
WAYS = {"": "smooth deformations", "_noise": "noise", "_toward": "steps toward another sample"}

Points = list[Mapping[str, Any]]


def has_curves(result: Result) -> bool:
    """Return whether the result has stability curves of the network's output."""
    return bool(_points(result, "D"))


def radii(result: Result) -> str:
    """Return the range of radii of the stability curves as text."""
    known = [point["x"] for point in _points(result, "D")]
    return f"{_brief(min(known))} … {_brief(max(known))}"


def headline(results: Sequence[Result]) -> str:
    """Return one sentence on the radii at which the networks' predictions flip; "" if unknown."""
    if len(results) == 1:
        text = _flips(results[0])
        return text[:1].upper() + text[1:]
    named = list(zip(names.model_names(results), results, strict=True))
    way = main_way(results)
    flipped = [(name, row) for name, result in named if (row := bump(result, way)) is not None]
    shares = {name: _highest(result, way) for name, result in named if _points(result, f"flips{way}")}
    never = {name: share for name, share in shares.items() if name not in dict(flipped)}
    if not shares:
        return ""
    largest = _brief(max(_largest(result, f"flips{way}") for _, result in named))
    if not flipped:
        most = f"at most {_each(never)}" if len(never) <= FEW else f"at most {_percent(max(never.values()))}"
        return (
            f"Up to a radius of {largest}, fewer than half of the predictions flip under {WAYS[way]}: {most}."
        )
    who = words.join(list(never)) if len(never) <= FEW else f"{len(never)} networks"
    rest = f"; for {who}, fewer than half flip up to a radius of {largest}" if never else ""
    return f"Under {WAYS[way]}, half of the predictions have flipped at {_radii_of(flipped)}{rest}."


def sentences(result: Result, *, without: Sequence[str] = ()) -> list[str]:
    """Return sentences on flips, on deformations compared with noise, and on the final accuracy.

    Args:
        without: suffixes of the ways to change inputs that the sentence on flips leaves out.
    """
    found = _flips(result, without=without), _beside_noise(result), _accuracy(result)
    return [sentence for sentence in found if sentence]


def in_headline(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the suffixes of the ways to change inputs that the headline is about."""
    return tuple(WAYS) if len(results) == 1 else (main_way(results),)


def main_way(results: Sequence[Result]) -> str:
    """Return the suffix of the way under which half of the predictions flip for most networks."""
    return max(WAYS, key=lambda way: sum(bump(result, way) is not None for result in results))


def bump(result: Result, way: str) -> Mapping[str, Any] | None:
    """Return the row of the radius at which half of the predictions have flipped; None if they never do."""
    rows = (row for row in result.rows if row["measure"] == f"{FAMILY}.bump{way}" and row["stratum"] == "all")
    return next((row for row in rows if math.isfinite(row["value"])), None)


def _points(result: Result, curve: str) -> Points:
    """Return the points of the output over all samples, by increasing radius `x`."""
    rows = (row for row in result.curve_rows if row["measure"] == f"{FAMILY}.{curve}")
    own = (row for row in rows if row["stratum"] == "all" and row["parameter"] == names.RADIUS)
    return sorted((row for row in own if math.isfinite(row["value"])), key=lambda row: row["x"])


def _highest(result: Result, way: str) -> float:
    """Return the largest share of predictions that flip."""
    return max(point["value"] for point in _points(result, f"flips{way}"))


def _largest(result: Result, curve: str) -> float:
    """Return the largest radius of a curve; 0 without points."""
    return max((point["x"] for point in _points(result, curve)), default=0.0)


def _radii_of(flipped: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the radius of each network or, if there are many, the smallest and the largest."""
    if len(flipped) <= FEW:
        texts = [f"{_with_interval(row)} for {name}" for name, row in flipped]
        return words.interval_once(f"a radius of {words.join(texts)}")
    low, high = (pick(flipped, key=lambda entry: entry[1]["value"]) for pick in (min, max))
    return " to ".join(
        f"{lead}{_brief(row['value'])} ({name})"
        for lead, (name, row) in zip(("radii from ", ""), (low, high), strict=True)
    )


def _each(shares: Mapping[str, float]) -> str:
    return words.join([f"{_percent(share)} for {name}" for name, share in shares.items()])


def _flips(result: Result, *, without: Sequence[str] = ()) -> str:
    ways = {way: WAYS[way] for way in WAYS if way not in without and _points(result, f"flips{way}")}
    if not ways:
        return ""
    bumps = {way: row for way in ways if (row := bump(result, way)) is not None}
    never = [
        f"at most {_percent(_highest(result, way))} under {name}"
        for way, name in ways.items()
        if way not in bumps
    ]
    largest = _brief(max(_largest(result, f"flips{way}") for way in ways))
    if not bumps:
        return f"up to a radius of {largest}, fewer than half of the predictions flip: {', '.join(never)}."
    reached = ", ".join(f"{_with_interval(row)} under {WAYS[way]}" for way, row in bumps.items())
    rest = f"; up to {largest}, fewer than half flip: {', '.join(never)}" if never else ""
    text = words.interval_once(f"half of the predictions have flipped at a radius of {reached}")
    return f"{text}{rest}."


def _with_interval(row: Mapping[str, Any]) -> str:
    """Return a value with two significant digits, and its interval in parentheses if it has one."""
    low, high = row["ci_low"], row["ci_high"]
    if not words.known_interval(low, high) or names.outside(row["value"], low, high):
        return _brief(row["value"])
    value, *bounds = words.briefs(row["value"], low, high, digits=2)
    return f"{value} (95{words.NBSP}% interval {' to '.join(bounds)})"


def _beside_noise(result: Result) -> str:
    points = _points(result, "R")
    if not points:
        return ""
    low, high = (pick(points, key=lambda point: point["value"]) for pick in (min, max))
    ends = [f"{_brief(point['value'])} (radius {_brief(point['x'])})" for point in (low, high)]
    return (
        f"the squared change of the output under deformations is between {ends[0]} and {ends[1]} times that "
        "under noise of the same size (R = D/G)."
    )


def _accuracy(result: Result) -> str:
    ends = {WAYS[way]: points[-1] for way in WAYS if (points := _points(result, f"accuracy{way}"))}
    if not ends:
        return ""
    radius = _brief(next(iter(ends.values()))["x"])
    listed = ", ".join(f"{_percent(point['value'])} under {way}" for way, point in ends.items())
    return f"at the largest radius, {radius}, the accuracy is {listed}."


def _brief(value: float) -> str:
    return words.briefs(value, digits=2)[0]


def _percent(share: float) -> str:
    return words.percents(share)[0]
