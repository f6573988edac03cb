"""The report's findings from stability curves, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared import labels as names

if TYPE_CHECKING:
    from invariscope.results.result import Result

FAMILY, OUTPUT = "stability_curve", "output"
# Ways to change an input, by the suffix of a curve's name.
WAYS = {"": "smooth deformations", "_noise": "noise", "_toward": "steps toward another sample"}

Points = list[tuple[float, float]]


def has_curves(result: Result) -> bool:
    """Return whether the result has stability curves of the network's output."""
    return bool(_points(result, "D"))


def radii(result: Result) -> str:
    """Return the range of radii of the stability curves as text."""
    known = [radius for radius, _ in _points(result, "D")]
    return f"{names.number(min(known))} … {names.number(max(known))}"


def sentences(result: Result) -> list[str]:
    """Return sentences on flips, on deformations compared with noise, and on the final accuracy."""
    found = _flips(result), _beside_noise(result), _accuracy(result)
    return [sentence for sentence in found if sentence]


def _points(result: Result, curve: str) -> Points:
    """Return (radius, value) of the output over all samples, by increasing radius."""
    rows = (row for row in result.curve_rows if row["measure"] == f"{FAMILY}.{curve}")
    own = (row for row in rows if row["stratum"] == "all" and row["parameter"] == names.RADIUS)
    return sorted((row["x"], row["value"]) for row in own if math.isfinite(row["value"]))


def _flips(result: Result) -> str:
    rows = {row["measure"]: row for row in result.rows if row["stratum"] == "all"}
    shares = {s: points for s in WAYS if (points := _points(result, f"flips{s}"))}
    bumps = {s: row for s in shares if (row := rows.get(f"{FAMILY}.bump{s}")) and math.isfinite(row["value"])}
    if not shares:
        return ""
    highest = {s: max(share for _, share in points) for s, points in shares.items() if s not in bumps}
    never = [f"at most {_percent(share)} under {WAYS[s]}" for s, share in highest.items()]
    largest = names.number(max(points[-1][0] for points in shares.values()))
    if not bumps:
        return f"up to a radius of {largest}, fewer than half of the predictions flip: {', '.join(never)}."
    reached = ", ".join(f"{_radius(row)} under {WAYS[s]}" for s, row in bumps.items())
    rest = f"; up to {largest}, fewer than half flip: {', '.join(never)}" if never else ""
    return f"half of the predictions have flipped at a radius of {reached}{rest}."


def _radius(row: Mapping[str, Any]) -> str:
    bounds = names.row_interval(row)
    return names.number(row["value"]) + (f" (95\u00a0% interval {bounds})" if bounds != "–" else "")


def _beside_noise(result: Result) -> str:
    points = _points(result, "R")
    if not points:
        return ""
    (low_at, low), (high_at, high) = (pick(points, key=lambda point: point[1]) for pick in (min, max))
    span = f"between {names.number(low)} (radius {names.number(low_at)}) and {names.number(high)} "
    return (
        f"the squared change of the output under deformations is {span}(radius {names.number(high_at)}) "
        "times that under noise of the same size (R = D/G)."
    )


def _accuracy(result: Result) -> str:
    ends = {way: points[-1] for s, way in WAYS.items() if (points := _points(result, f"accuracy{s}"))}
    if not ends:
        return ""
    radius = names.number(next(iter(ends.values()))[0])
    listed = ", ".join(f"{_percent(value)} under {way}" for way, (_, value) in ends.items())
    return f"at the largest radius, {radius}, the accuracy is {listed}."


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", "\u00a0%")
