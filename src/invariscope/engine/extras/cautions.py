"""Cautions about numbers that insensitivity, or a few units, may explain: one rule for all measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from invariscope.common.wording import listed
from invariscope.intervals import reaches_null
from invariscope.measures.base import Measure

# Shares of the response to another sample: below, a value counts as small and a null as perfect.
_SMALL = 0.1
# In ordinary layers both differ by a few percent; ten leaves room for units of unequal sensitivity.
_APART = 10.0

UNPAIRED = "no better than the null, the value that unrelated samples give"
INSENSITIVE = (
    "no better than the null, which is next to perfect itself: unrelated samples are answered alike too, so "
    "insensitivity explains the value"
)
AS_NOISE = (
    "small, but noise of equal size moves the layer as little: insensitivity may explain it, not invariance"
)


CARRIED = (
    "more than 10 times the ratio of the layer's means: a few units that hardly vary between samples "
    "dominate it; value_ratio describes the layer as a whole"
)
OUTWEIGHED = (
    "less than a tenth of the ratio of the layer's means: the few units that vary most move farther than the "
    "others; value_ratio describes the layer as a whole"
)


def add_cautions(rows: Sequence[dict[str, Any]], measures: Iterable[Measure]) -> list[str]:
    """Add `caution` to the rows over all samples that need one, and return the cautions as sentences.

    There is one sentence per output of a measure and caution, with the layers to which it applies.
    """
    layers: dict[tuple[str, str], list[str]] = {}
    owned = [(row, m) for row in rows if row["stratum"] == "all" for m in measures if m.owns(row["measure"])]
    places = {(row["measure"], row["layer"], row["call"]): row for row, _ in owned}
    for row, measure in owned:
        found = [_of_null(row, measure) or _of_noise(row, measure, places), _of_ratio(row, measure)]
        for text in filter(None, found):
            row["caution"] = f"{row['caution']}; {text}" if "caution" in row else text
            layers.setdefault((row["measure"], text), []).append(row["layer"])
    return [f"{name} of {_some(where)} is {text}" for (name, text), where in layers.items()]


def _of_null(row: Mapping[str, Any], measure: Measure) -> str:
    output = measure.output(measure.output_of(row["measure"]))
    ideal, null = output.ideal, row.get("null", math.nan)
    if not reaches_null(row, ideal=ideal):
        return ""
    perfect = output.unit != "activation" and abs(null - ideal) <= _SMALL
    return INSENSITIVE if perfect or null == ideal else UNPAIRED


def _of_noise(
    row: Mapping[str, Any], measure: Measure, places: Mapping[tuple[str, str, int], Mapping[str, Any]]
) -> str:
    """Of a small displacement, where noise of equal size has not been shown to move the layer farther."""
    ratio = measure.output(measure.output_of(row["measure"])).noise_ratio
    noise = None if not ratio else places.get((measure.row_name(ratio), row["layer"], row["call"]))
    if noise is None or not row["value"] < _SMALL:
        return ""
    high = noise["ci_high"] if math.isfinite(noise["ci_high"]) else noise["value"]
    return AS_NOISE if high >= 1 else ""


def _of_ratio(row: Mapping[str, Any], measure: Measure) -> str:
    """Return a caution if the mean of unit ratios and the ratio of means disagree; shares are exempt."""
    value, ratio = row["value"], row.get("value_ratio", math.nan)
    bounded = math.isfinite(measure.output(measure.output_of(row["measure"])).range[1])
    if bounded or not math.isfinite(value) or not math.isfinite(ratio) or max(value, ratio) < _SMALL:
        return ""
    if value > _APART * ratio:
        return CARRIED
    return OUTWEIGHED if ratio > _APART * value else ""


def _some(layers: Sequence[str]) -> str:
    names = list(dict.fromkeys(layers))
    if len(names) == 1:
        return names[0]
    return f"{len(names)} layers ({listed(names)})"
