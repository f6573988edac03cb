"""Cautions about values that insensitivity or a few units may explain, by the same rules for all measures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from invariscope.common.wording import listed
from invariscope.intervals import reaches_null
from invariscope.measures.base import Measure
from invariscope.results.rows import Row

# Below this share of the response to another sample, a value counts as small and a null as perfect.
_SMALL = 0.1
# The two ratios of ordinary layers differ by a few percent; a factor of 10 allows for unequal units.
_APART = 10.0

UNPAIRED = "no better than the null, the value that unrelated samples give"
INSENSITIVE = (
    "no better than the null, which is close to perfect itself: unrelated samples give similar responses, "
    "too, so insensitivity explains the value"
)
AS_NOISE = (
    "small, but noise of equal size changes the layer as little: insensitivity may explain it, not invariance"
)
CARRIED = (
    "more than 10 times the ratio of the layer's means: a few units that hardly vary between samples "
    "dominate the value; value_ratio describes the layer as a whole"
)
OUTWEIGHED = (
    "less than a tenth of the ratio of the layer's means: the few units that vary most are less invariant "
    "than the others; value_ratio describes the layer as a whole"
)

UNMOVED = "perfect because the elements give equal inputs for all samples: it shows nothing about the model"


def with_cautions(
    rows: Sequence[Row], measures: Iterable[Measure], *, still: Collection[str] = ()
) -> tuple[list[Row], list[str]]:
    """Return the rows, with a `caution` if one applies, and all cautions as sentences.

    Only rows over all samples get cautions. Each sentence names an output of a measure, a caution, and the
    layers to which it applies.

    Args:
        still: labels of the measures that compare equal inputs for all samples.
    """
    layers: dict[tuple[str, str], list[str]] = {}
    known = {measure.label: measure for measure in measures}
    places = {row.place: row for row in rows}
    found = []
    for row in rows:
        measure = known[row.stem]
        texts = _cautions(row, measure, places) if row.stratum == "all" else []
        for text in texts:
            layers.setdefault((row.measure, text), []).append(row.layer)
        if measure.label in still and _is_perfect(row, measure):  # one note of the run says so for all rows
            texts.append(UNMOVED)
        found.append(replace(row, caution="; ".join(texts)) if texts else row)
    return found, [f"{name} of {_some(where)} is {text}" for (name, text), where in layers.items()]


_Places = Mapping[tuple[str, str, int, str], Row]


def _cautions(row: Row, measure: Measure, places: _Places) -> list[str]:
    found = (_of_null(row, measure) or _of_noise(row, measure, places), _of_ratio(row, measure))
    return [text for text in found if text]


def _is_perfect(row: Row, measure: Measure) -> bool:
    """Return whether a value over responses to the elements is that of perfect invariance."""
    return row.stratum == "all" and measure.needs_orbit and row.value == measure.output(row.output).ideal


def _of_null(row: Row, measure: Measure) -> str:
    output = measure.output(row.output)
    ideal = output.ideal
    if not reaches_null(row, ideal=ideal):
        return ""
    perfect = output.unit != "activation" and abs(row.null - ideal) <= _SMALL
    return INSENSITIVE if perfect or row.null == ideal else UNPAIRED


def _of_noise(row: Row, measure: Measure, places: _Places) -> str:
    """Return a caution if a value is small, but noise was not shown to change the layer's responses more."""
    ratio = measure.output(row.output).noise_ratio
    noise = None if not ratio else places.get((measure.row_name(ratio), *row.place[1:]))
    if noise is None or not row.value < _SMALL:
        return ""
    high = noise.ci_high if math.isfinite(noise.ci_high) else noise.value
    return AS_NOISE if high >= 1 else ""


def _of_ratio(row: Row, measure: Measure) -> str:
    """Return a caution if the mean of unit ratios and the ratio of means disagree; shares are exempt."""
    value, ratio = row.value, row.value_ratio
    bounded = math.isfinite(measure.output(row.output).range[1])
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
