"""Outcomes of limits on a measured result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from invariscope.checking.limits import Limit
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.results.provenance import NONFINITE
from invariscope.results.result import Result
from invariscope.results.rows import Row

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
        return self.layer if self.call == 0 else f"{self.layer} (call {self.call})"

    @property
    def message(self) -> str:
        """The problem on one line."""
        if self.status == "no value":
            return f"{self.name}: {self.limit.row} has no value ({self.note or 'no unit responds'})"
        value, bound = apart(self.value, self.limit.bound)
        beyond = f" beyond chance (minus {self.chance:.6g} due to chance)" if self.chance else ""
        return f"{self.name}: {self.limit.row} is {value}{beyond}, must be {self.limit.sign} {bound}"

    @property
    def origin(self) -> str:
        """The interval and the number of samples, as far as they are known."""
        known = not (math.isnan(self.low) or math.isnan(self.high))
        interval = f"95 % interval {self.low:.4g} to {self.high:.4g}" if known else "no interval"
        return f"{interval}, {self.samples:,} samples" if self.samples else interval


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


def _judged(limit: Limit, result: Result) -> list[Outcome]:
    rows = [row for row in result.rows if row.measure == limit.row and row.stratum == "all"]
    if not rows:
        raise _no_rows(limit, result)
    chosen = [row for row in rows if matches(limit.pattern, row.layer)]
    if not chosen:
        raise _no_layer(limit, result, [row.layer for row in rows])
    return [*(_outcome(limit, row) for row in chosen), *_nonfinite(limit, result)]


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
    for entry in result.provenance["skipped"]:
        if entry.get("kind") == NONFINITE and matches(limit.pattern, str(entry["layer"])):
            key = (str(entry["layer"]), int(entry["call"]))
            yield Outcome(limit, *key, *[math.nan] * 3, note="no sample has finite responses")


def _no_rows(limit: Limit, result: Result) -> ValueError:
    own = dict.fromkeys(row.measure for row in result.rows if limit.measure.owns(row.measure))
    labelled = result.provenance.get("data", {}).get("labelled", True)
    if not labelled and own:
        return ValueError(
            f"{limit.row} in the limit {limit.text!r} needs labels, which the data do not have: pass "
            f"(inputs, labels). Measured without labels: {', '.join(map(repr, own))}."
        )
    return unknown(f"output of {limit.measure.name}", limit.row, own)


def _no_layer(limit: Limit, result: Result, layers: list[str]) -> ValueError:
    for entry in result.provenance["skipped"]:
        if matches(limit.pattern, str(entry["layer"])):
            return ValueError(
                f"{limit.measure.name} has no value for the layers {limit.pattern!r} ({entry['layer']}: "
                f"{entry['reason']})"
            )
    return unknown("layer", limit.pattern, dict.fromkeys(layers))
