"""Outcomes of limits on a measured result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invariscope.checking.limits import OUTPUT, Limit
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.data.labels import NO_ACCURACY
from invariscope.results.provenance import NONFINITE
from invariscope.results.result import Result
from invariscope.results.rows import Row

NEVER_RAN = "the forward pass never ran it"
Status = Literal["holds", "broken", "no value"]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a limit at one layer.

    Args:
        limit: the limit.
        layer, call: the layer, and the number of its call.
        value: value over all samples, which decides.
        low, high: 95 % interval, for information only.
        note: why there is no value or no interval; "" if there are both.
        chance: the part that the model's own randomness causes, already subtracted from value and interval; 0
            without `repeats`.
        samples: number of samples that the value comes from.
        caution: an alternative explanation of a value that looks invariant; "" if there is none.
    """

    limit: Limit
    layer: str
    call: int
    value: float
    low: float
    high: float
    note: str = ""
    chance: float = 0.0
    samples: int = 0
    caution: str = ""

    @property
    def status(self) -> Status:
        """ "holds", "broken", or "no value", such as for a dead layer."""
        if math.isnan(self.value):
            return "no value"
        return "holds" if self.limit.holds(self.value) else "broken"

    @property
    def name(self) -> str:
        """Name of the layer, with its call if it is not the first."""
        return called(self.layer, self.call)

    @property
    def message(self) -> str:
        """The problem on one line."""
        if self.status == "no value":
            return f"{self.name}: {self.limit.row} has no value ({self.note or 'no unit responds'})"
        value, bound = apart(self.value, self.limit.bound)
        beyond = f" beyond chance (minus {self.chance:.6g} due to chance)" if self.chance else ""
        return f"{self.name}: {self.limit.row} is {value}{beyond}, must be {self.limit.sign} {bound}"

    @property
    def evidence(self) -> str:
        """The interval and the number of samples, as far as they are known."""
        known = not (math.isnan(self.low) or math.isnan(self.high))
        interval = f"95 % interval {self.low:.4g} to {self.high:.4g}" if known else "no interval"
        return f"{interval}, {self.samples:,} samples" if self.samples else interval


@dataclass(frozen=True)
class Unmeasured:
    """A layer that a limit's glob matches, but that has no value because of what the layer is.

    It neither meets nor breaks the limit, unlike a layer whose values are missing.

    Args:
        limit: the limit.
        layer, call: the layer, and the number of its call.
        reason: why it was not measured.
    """

    limit: Limit
    layer: str
    call: int
    reason: str

    @property
    def name(self) -> str:
        """Name of the layer, with its call if it is not the first."""
        return called(self.layer, self.call)

    @property
    def message(self) -> str:
        """The reason on one line."""
        return f"{self.name}: {self.limit.row} was not measured ({self.reason})"


def called(layer: str, call: int) -> str:
    """Return the name of a layer, with its call if it is not the first."""
    return layer if call == 0 else f"{layer} (call {call})"


def apart(value: float, bound: float) -> tuple[str, str]:
    """Return both numbers with six digits, or as many as it takes to tell them apart.

    >>> apart(0.25, 0.02), apart(0.30000001, 0.3)
    (('0.25', '0.02'), ('0.30000001', '0.3'))
    """
    texts = ("", "")
    for digits in range(6, 18):
        texts = f"{value:.{digits}g}", f"{bound:.{digits}g}"
        if texts[0] != texts[1] or value == bound:
            break
    return texts


def judged(limits: Sequence[Limit], result: Result) -> list[Outcome]:
    """Return the outcome of every limit at every matching layer, with layers in execution order.

    Raises:
        ValueError: a limit matches no layer, or names an output that the measure does not have.
    """
    return [outcome for limit in limits for outcome in _judged(limit, result)]


def unmeasured(limits: Sequence[Limit], result: Result) -> list[Unmeasured]:
    """Return the layers that a limit matches but that were not measured, because of what they are."""
    return [one for limit in limits if limit.measure.scope != OUTPUT for one in _unmeasured(limit, result)]


def _unmeasured(limit: Limit, result: Result) -> Iterator[Unmeasured]:
    for entry in _skipped(limit, result):
        if entry.get("kind") != NONFINITE:
            reason = str(entry["reason"]).removeprefix(f"{limit.measure.label}: ")
            yield Unmeasured(limit, str(entry["layer"]), int(entry.get("call", 0)), reason)
    for layer in result.provenance.get("unused", []):
        if matches(limit.pattern, str(layer)):
            yield Unmeasured(limit, str(layer), 0, NEVER_RAN)
    own = [row for row in result.rows if limit.measure.owns(row.measure) and row.stratum == "all"]
    valued = {row.key for row in own if row.measure == limit.row}
    for layer, call in dict.fromkeys(row.key for row in own if valued):
        if (layer, call) not in valued and matches(limit.pattern, layer):
            yield Unmeasured(limit, layer, call, f"{limit.measure.name} has no such value there")


def _skipped(limit: Limit, result: Result) -> Iterator[Mapping[str, Any]]:
    """Yield the entries on skipped layers that a limit matches."""
    for entry in result.provenance.get("skipped", []):
        own = entry.get("measure") in (None, "", limit.measure.label)
        if own and matches(limit.pattern, str(entry["layer"])):
            yield entry


def _judged(limit: Limit, result: Result) -> list[Outcome]:
    rows = [row for row in result.rows if row.measure == limit.row and row.stratum == "all"]
    found = [_outcome(limit, row) for row in rows if matches(limit.pattern, row.layer)]
    found += _nonfinite(limit, result)
    if not found:
        raise _no_value(limit, result)
    return found


def _outcome(limit: Limit, row: Row) -> Outcome:
    chance = _by_chance(limit, row)
    numbers = (row.value - chance, row.ci_low - chance, row.ci_high - chance)
    about = {
        "chance": chance,
        "samples": 0 if math.isnan(row.samples) else int(row.samples),
        "caution": row.caution,
    }
    return Outcome(limit, *row.key, *numbers, row.note, **about)


def _by_chance(limit: Limit, row: Row) -> float:
    """Return by how much chance alone raises a value above its ideal; 0 if that is not known.

    This applies only to upper limits on values whose ideal is the smallest possible value. The accuracy on
    untransformed inputs, for instance, is not an effect of chance.
    """
    about = limit.measure.output(row.output)
    depends = about.floor and about.kind != "position"
    if not (limit.upper and depends and about.ideal == about.range[0]) or math.isnan(row.chance):
        return 0.0
    return row.chance - about.ideal


def _nonfinite(limit: Limit, result: Result) -> Iterator[Outcome]:
    """Yield outcomes for layers without rows because no sample has finite responses."""
    for entry in _skipped(limit, result):
        if entry.get("kind") == NONFINITE:
            key = (str(entry["layer"]), int(entry["call"]))
            yield Outcome(limit, *key, *[math.nan] * 3, note="no sample has finite responses")


def _no_value(limit: Limit, result: Result) -> ValueError:
    """Return the error for a limit that applies to no value at all."""
    for one in _unmeasured(limit, result):
        return ValueError(
            f"{limit.measure.name} has no value for the layers {limit.pattern!r} ({one.name}: {one.reason})"
        )
    own = [row for row in result.rows if limit.measure.owns(row.measure)]
    there = dict.fromkeys(row.measure for row in own if matches(limit.pattern, row.layer))
    if not there:
        return unknown("layer", limit.pattern, dict.fromkeys(row.layer for row in own))
    listed = ", ".join(map(repr, there))
    if limit.measure.scope == OUTPUT and not result.provenance.get("data", {}).get("labelled", True):
        return ValueError(
            f"{limit.row} in the limit {limit.text!r} needs labels, which the data do not have: pass "
            f"(inputs, labels). Measured without labels: {listed}."
        )
    if without := [note for note in result.provenance.get("notes", []) if note.startswith(NO_ACCURACY)]:
        return ValueError(f"{limit.row} in the limit {limit.text!r} was not measured: {without[0]}.")
    return ValueError(
        f"{limit.row} in the limit {limit.text!r} has no single value at the layers {limit.pattern!r}. "
        f"Values there: {listed}."
    )
