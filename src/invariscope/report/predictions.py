"""What happens to a classifier's predictions: the share of samples that change class, and the accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.report import words

if TYPE_CHECKING:
    from invariscope.results.result import Result

ACCURACY, FLIPS = "prediction.accuracy", "prediction.flips"
KEPT, KEPT_BY_ELEMENT = "consistency.untransformed", "consistency.by_element"
# Curves that show what happens to predictions, in the order of the page, with titles for samples of a kind.
CURVES = {
    FLIPS: "{} that change class (flips)",
    KEPT_BY_ELEMENT: "{} that keep their class",
    ACCURACY: "Accuracy",
    "prediction.probability_true": "Probability of the true class",
}
# Sentences name at most this many networks one by one; a ranking shows more.
FEW = 3
_LEVEL = 0.05


@dataclass(frozen=True)
class Share:
    """A share of samples with its interval; the bounds are NaN if there is none, and `reason` says why."""

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""

    @classmethod
    def of(cls, row: dict[str, Any], *, opposite: bool = False) -> Share:
        """Return the share of a row or point, or the opposite share, such as changed for kept predictions."""
        value, low, high = (float(row[name]) for name in ("value", "ci_low", "ci_high"))
        if opposite:
            value, low, high = 1 - value, 1 - high, 1 - low
        return cls(value, low, high, _why(str(row.get("note") or "")))

    @property
    def texts(self) -> tuple[str, str]:
        """The share as a percentage, and its interval in parentheses (or why there is none)."""
        if not words.known_interval(self.low, self.high):
            return words.percents(self.value)[0], f" (no interval: {self.reason})" if self.reason else ""
        value, low, high = words.percents(self.value, self.low, self.high)
        bare = low.removesuffix(f"{words.NBSP}%")
        return value, f" (95{words.NBSP}% interval {bare} to {high})"


def _why(note: str) -> str:
    """Return the reason for a missing interval, from the notes of a row."""
    for line in note.replace("\n", "; ").split("no interval")[1:2]:
        reason = line.partition(": ")[2].split("; ")[0].rstrip(".")
        return reason.replace(" (", ", ").replace(")", "")  # the sentence has its own parentheses
    return ""


@dataclass(frozen=True)
class Predictions:
    """What happens to the predictions of one network.

    Args:
        name: the network.
        samples: number of samples; 0 if it is unknown.
        changed: share of samples that change class, as a mean over elements other than the identity; None if
            unknown.
        by_element: (label, share that changes class) of each of these elements.
        before: accuracy without a transformation; NaN if unknown.
        lowest: the lowest accuracy with its element's label; None if unknown.
        lowest_high: upper end of the interval of the lowest accuracy; NaN if it has none.
        constant: whether all samples get the same class.
    """

    name: str
    samples: int
    changed: Share | None
    by_element: tuple[tuple[str, Share], ...]
    before: float = math.nan
    lowest: tuple[str, float] | None = None
    lowest_high: float = math.nan
    constant: bool = False

    @property
    def worst(self) -> tuple[str, Share]:
        """The element at which most samples change class, and their share."""
        return max(self.by_element, key=lambda entry: entry[1].value)

    @property
    def main(self) -> Share:
        """The share for sentences: the mean over elements or, if it is unknown, that of the worst element."""
        return self.changed or self.worst[1]

    @property
    def falls(self) -> bool:
        """Whether the accuracy is lower with some element, by more than the samples explain."""
        return (
            self.lowest is not None and self.lowest[1] < self.before and not self.before <= self.lowest_high
        )


def predictions(results: Sequence[Result]) -> list[Predictions]:
    """Return what happens to the predictions of each network for which this was measured."""
    named = zip(names.model_names(results), results, strict=True)
    return [found for name, result in named if (found := _of(result, name)) is not None]


def _of(result: Result, name: str) -> Predictions | None:
    """Return what happens to the predictions of a network; None if there is no curve of changes."""
    opposite = not _points(result, FLIPS)
    points = _points(result, KEPT_BY_ELEMENT if opposite else FLIPS)
    shares = [(str(point["label"]), Share.of(point, opposite=opposite)) for point in points]
    still = next((i for i, (_, share) in enumerate(shares) if share.value == 0), None)
    moving = tuple(entry for i, entry in enumerate(shares) if i != still)
    if not moving:
        return None
    row = next((r for r in result.rows if _is(r, KEPT if opposite else FLIPS)), None)
    known = row is not None and math.isfinite(row.value)
    accuracies = _points(result, ACCURACY)
    lowest = min(accuracies, key=lambda point: point["value"], default=None)
    first = None if still is None else points[still]["element"]
    before = next((point["value"] for point in accuracies if point["element"] == first), math.nan)
    return Predictions(
        name,
        int(np.nan_to_num(points[0]["samples"])),
        Share.of(_columns(row), opposite=opposite) if known else None,
        moving,
        before,
        (str(lowest["label"]), float(lowest["value"])) if lowest else None,
        float(lowest["ci_high"]) if lowest else math.nan,
        row is not None and row.null == (1.0 if opposite else 0.0),
    )


def _is(row: Any, measure: str) -> bool:
    return row.measure == measure and row.stratum == "all"


def _columns(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("value", "ci_low", "ci_high", "note")}


def _points(result: Result, measure: str) -> list[dict[str, Any]]:
    """Return the finite points of a curve over all samples, one per element."""
    found: dict[int, dict[str, Any]] = {}
    for point in result.curve_rows:
        if _is(point, measure) and math.isfinite(point.value):
            columns = ("element", "label", "value", "ci_low", "ci_high", "samples")
            found.setdefault(point.element, {name: getattr(point, name) for name in columns})
    return list(found.values())


def headline(results: Sequence[Result]) -> str:
    """Return one sentence on the predictions of all networks; "" if they were not measured."""
    known = predictions(results)
    if not known:
        return ""
    if len(known) == 1 and len(results) == 1:
        return _one(known[0], results)
    several = f"{words.subject(results)}s"
    lead = f"{_lead(known, results)}, "
    if len(known) > FEW:
        return f"{lead}{_span(known, several)}."
    first, *others = known
    shares = [_share_of(first, f" of {several} change class"), *(_share_of(one) for one in others)]
    return f"{lead}{words.interval_once(words.join(shares))}."


def _lead(known: Sequence[Predictions], results: Sequence[Result]) -> str:
    """Return the clause that says over which elements shares are means."""
    elements = {tuple(label for label, _ in one.by_element) for one in known}
    if len(elements) > 1:
        return "On average over all transformations"
    labels = elements.pop()
    if len(labels) == 1:
        return f"When {words.moved_by(results, labels[0])}"
    if any(one.changed is None for one in known):
        return f"At the worst of {len(labels)} {words.elements_name(results)}"
    return f"On average over {len(labels)} {words.elements_name(results)}"


def _share_of(one: Predictions, what: str = "") -> str:
    value, interval = one.main.texts
    return f"{value}{what} for {one.name}{interval}"


def _span(known: Sequence[Predictions], several: str) -> str:
    """Return a clause on the smallest and the largest share of many networks."""
    low, high = (pick(known, key=lambda one: one.main.value) for pick in (min, max))
    if low.main.value == high.main.value:
        return f"{words.percents(low.main.value)[0]} of {several} change class for all {len(known)} networks"
    least, most = words.percents(low.main.value, high.main.value)
    return f"between {least} ({low.name}) and {most} ({high.name}) of {several} change class"


def _one(found: Predictions, results: Sequence[Result]) -> str:
    """Return the sentence on the only network."""
    several, count = f"{words.subject(results)}s", len(found.by_element)
    elements = words.elements_name(results)
    label, worst = found.worst
    if worst.value == 0:
        return f"{_nothing(found, results)}{_accuracy(found)}."
    value, interval = found.main.texts
    changes = f"{value} of {several} change class"
    if count == 1:
        return f"{changes} when {words.moved_by(results, label)}{interval}{_accuracy(found)}."
    if found.changed is None:
        most = f"when {words.moved_by(results, label)}, the most of {count} {elements}"
        return f"{changes} {most}{interval}{_accuracy(found)}."
    return f"On average over {count} {elements}, {changes}{interval}{_accuracy(found)}."


def _nothing(found: Predictions, results: Sequence[Result]) -> str:
    """Return the clause for predictions that never change, with an upper bound of the share that does."""
    bound = 1 - _LEVEL ** (1 / max(found.samples, 1))
    noun, count = words.subject(results), len(found.by_element)
    under = f"any of {count} {words.elements_name(results)}" if count > 1 else found.by_element[0][0]
    most = f"{100 * bound:.2g}{words.NBSP}%"
    return (
        f"None of {found.samples:,} {noun}s changes class under {under} (at 95{words.NBSP}% confidence, "
        f"fewer than {most} of all {noun}s do)"
    )


def _accuracy(found: Predictions) -> str:
    """Return a clause on the accuracy of the only network; "" if it is unknown."""
    if found.lowest is None or math.isnan(found.before):
        return ""
    label, lowest = found.lowest
    if not found.falls and lowest < found.before:
        before, after = words.percents(found.before, lowest)
        return f"; the accuracy does not clearly fall ({before} without a transformation, {after} at {label})"
    if not found.falls:
        before = words.percents(found.before)[0]
        return f"; the accuracy never falls below {before}, its value without a transformation"
    before, after = words.percents(found.before, lowest)
    at = f" at {label}" if len(found.by_element) > 1 else ""
    return f", and the accuracy falls from {before} to {after}{at}"


def details(results: Sequence[Result]) -> list[str]:
    """Return further sentences on the predictions: the worst element, and the accuracies of few networks."""
    known = predictions(results)
    constant = [one.name for one in known if one.constant]
    found = [_same_class(constant, words.subject(results))] if constant else []
    if len(results) == 1 and known:
        worst = known[0].changed and len(known[0].by_element) > 1
        return [_worst(known[0], results), *found] if worst else found
    if len(known) > FEW:
        return found
    falls = [_fall(one) for one in known if one.falls]
    stays = [_stay(one) for one in known if not one.falls and not math.isnan(one.before)]
    rest = f", and stays at {words.join(stays)}" if stays else ""
    return [f"The accuracy falls {words.join(falls)}{rest}.", *found] if falls else found


def _worst(found: Predictions, results: Sequence[Result]) -> str:
    label, share = found.worst
    value, interval = share.texts
    if share.value == 0:
        return ""
    return f"The largest share, {value}{interval}, changes class when {words.moved_by(results, label)}."


def _same_class(names: Sequence[str], noun: str) -> str:
    verb, shares = ("predicts", "this share") if len(names) == 1 else ("predict", "these shares")
    return (
        f"{words.join(names)} {verb} the same class for every {noun}, so {shares} of 0{words.NBSP}% "
        f"{'says' if len(names) == 1 else 'say'} nothing about invariance."
    )


def _fall(found: Predictions) -> str:
    assert found.lowest is not None
    before, after = words.percents(found.before, found.lowest[1])
    return f"from {before} to {after} at {found.lowest[0]} for {found.name}"


def _stay(found: Predictions) -> str:
    return f"{words.percents(found.before)[0]} for {found.name}"
