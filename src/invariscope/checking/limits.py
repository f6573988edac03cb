"""Limits on a model's values: written as one line, and checked on a result.

The value alone decides. This is not a hypothesis test: there is no p-value, and no adjustment for the number
of layers and limits; the 95 % interval beside each value holds for this value alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invariscope.catalog.expressions import read_measures
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.measures.base import Measure
from invariscope.results.provenance import NONFINITE
from invariscope.results.result import Result

OUTPUT = "output"
_FORM = "GLOB:measure:value, such as 'conv*:normalized_variance:0.3'"

Status = Literal["holds", "broken", "no value"]


@dataclass(frozen=True)
class Limit:
    """What the values of some layers may be at most, or must be at least.

    Args:
        text: as it was written.
        pattern: a name or glob of layers; `output` for measures of the model's output.
        measure: which.
        output: of the measure, "" for its first.
        bound: the largest value that holds, or the smallest.
        upper: whether it is the largest.
    """

    text: str
    pattern: str
    measure: Measure
    output: str
    bound: float
    upper: bool

    @classmethod
    def read(cls, text: str, *, upper: bool) -> Limit:
        """A limit from its text, GLOB:measure:value.

        The measure is a registry name or an expression, with an output of it behind a dot:
        `prediction.accuracy`, `NormalizedVariance(spread='std')`.

        Raises:
            ValueError: text of another form, an unknown measure, a value that is no number.

        >>> limit = Limit.read("conv*:anova.share_transform:0.3", upper=True)
        >>> limit.pattern, limit.row, limit.bound
        ('conv*', 'anova.share_transform', 0.3)
        """
        pattern, first, rest = text.partition(":")
        named, second, value = rest.rpartition(":")
        if not (first and second and pattern.strip() and named.strip()):
            raise ValueError(f"cannot read the limit {text!r}; write {_FORM}.")
        wanted, output = _split(named.strip())
        measures = read_measures([wanted])
        if len(measures) != 1:
            raise ValueError(f"the limit {text!r} names {len(measures)} measures; write a limit for each.")
        _refuse_form(measures[0], output, text)
        return cls(text, pattern.strip(), measures[0], output, _number(value, text), upper)

    @property
    def row(self) -> str:
        """What the values are called in a result's table."""
        form = self.measure.form  # which may be written, or left out
        named = form and (self.output == form or self.output.startswith(f"{form}."))
        return self.measure.row_name(
            self.output.removeprefix(form).removeprefix(".") if named else self.output
        )

    @property
    def sign(self) -> str:
        """How a value and the bound compare."""
        return "≤" if self.upper else "≥"

    def holds(self, value: float) -> bool:
        """Whether a value keeps the limit; no value keeps none."""
        return value <= self.bound if self.upper else value >= self.bound


@dataclass(frozen=True)
class Outcome:
    """A limit at one layer.

    Args:
        limit: which.
        layer, call: where.
        value: of all samples; it decides.
        low, high: its 95 % interval, which does not.
        note: why there is no value.
    """

    limit: Limit
    layer: str
    call: int
    value: float
    low: float
    high: float
    note: str = ""

    @property
    def status(self) -> Status:
        """ "holds", "broken", or "no value", as of a layer that is dead."""
        if math.isnan(self.value):
            return "no value"
        return "holds" if self.limit.holds(self.value) else "broken"

    @property
    def name(self) -> str:
        """The layer, and which call of it if it has several."""
        return self.layer if self.call == 0 else f"{self.layer} (call {self.call})"

    @property
    def message(self) -> str:
        """What is wrong, in a line."""
        if self.status == "no value":
            return f"{self.name}: {self.limit.row} has no value ({self.note or 'no unit responds'})"
        wanted = f"{self.limit.sign} {self.limit.bound:g}"
        return f"{self.name}: {self.limit.row} is {self.value:.6g}, must be {wanted}"


def read_limits(most: Sequence[str], least: Sequence[str]) -> tuple[Limit, ...]:
    """Upper and lower limits.

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    found = [Limit.read(text, upper=True) for text in most]
    found += [Limit.read(text, upper=False) for text in least]
    if not found:
        raise ValueError(f"nothing to check: give --max or --min {_FORM}.")
    for limit in found:
        if limit.measure.scope == OUTPUT and not matches(limit.pattern, OUTPUT):
            raise ValueError(
                f"{limit.measure.name} is of the model's output, and {limit.pattern!r} is not: write "
                f"'{OUTPUT}:{limit.row}:{limit.bound:g}'."
            )
    return tuple(found)


def needed(limits: Sequence[Limit]) -> dict[str, Any]:
    """The options of `iv.measure` by which everything that is limited gets a value."""
    measures = [limit.measure for limit in limits]
    patterns = dict.fromkeys(limit.pattern for limit in limits if limit.measure.scope != OUTPUT)
    layers = None if "*" in patterns or not patterns else list(patterns)
    distinct = [m for n, m in enumerate(measures) if m not in measures[:n]]
    return {"measures": distinct, "layers": layers}


def judged(limits: Sequence[Limit], result: Result) -> list[Outcome]:
    """Every limit at every layer that it speaks of, in the order in which they run.

    Raises:
        ValueError: a limit speaks of no layer, or of an output that the measure does not have.
    """
    return [outcome for limit in limits for outcome in _judged(limit, result)]


def _judged(limit: Limit, result: Result) -> list[Outcome]:
    rows = [row for row in result.rows if row["measure"] == limit.row and row["stratum"] == "all"]
    if not rows:
        raise _no_rows(limit, result)
    chosen = [row for row in rows if matches(limit.pattern, row["layer"])]
    if not chosen:
        raise _no_layer(limit, result, [row["layer"] for row in rows])
    columns = ("layer", "call", "value", "ci_low", "ci_high")
    found = [Outcome(limit, *(row[name] for name in columns), note=row.get("note", "")) for row in chosen]
    return found + [_lost(limit, *key) for key in _nonfinite(limit, result)]


def _nonfinite(limit: Limit, result: Result) -> list[tuple[str, int]]:
    """Layers that lost all of their samples, so that no row speaks of them."""
    lost = [entry for entry in result.provenance["skipped"] if entry.get("kind") == NONFINITE]
    keys = ((str(entry["layer"]), int(entry["call"])) for entry in lost)
    return [key for key in keys if matches(limit.pattern, key[0])]


def _lost(limit: Limit, layer: str, call: int) -> Outcome:
    return Outcome(limit, layer, call, math.nan, math.nan, math.nan, note="no sample has finite responses")


def _no_rows(limit: Limit, result: Result) -> ValueError:
    own = dict.fromkeys(row["measure"] for row in result.rows if limit.measure.owns(row["measure"]))
    if own and not limit.output:
        return ValueError(
            f"{limit.measure.name} has several outputs; add the one that the limit {limit.text!r} is of: "
            f"{', '.join(map(repr, own))}."
        )
    labelled = result.provenance.get("data", {}).get("labelled", True)
    hint = "" if labelled else "Some outputs need labels, and the data have none."
    return unknown(f"output of {limit.measure.name}", limit.row, own, hint=hint)


def _no_layer(limit: Limit, result: Result, layers: list[str]) -> ValueError:
    reasons = (e for e in result.provenance["skipped"] if matches(limit.pattern, str(e["layer"])))
    for entry in reasons:
        return ValueError(
            f"{limit.measure.name} has no value for the layers {limit.pattern!r}: {entry['layer']}: "
            f"{entry['reason']}"
        )
    return unknown("layer", limit.pattern, dict.fromkeys(layers))


def _split(text: str) -> tuple[str, str]:
    """A measure and its output: dots inside brackets are those of an expression."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "." and depth == 0:
            return text[:place], text[place + 1 :]
    return text, ""


def _refuse_form(measure: Measure, output: str, text: str) -> None:
    """Raises for an option in the place of an output, such as the kind of a deviation."""
    head, dot, rest = output.partition(".")
    if head in ("", measure.form):
        return
    for option in dataclasses.fields(measure):  # type: ignore[arg-type]
        if meant := _called(measure, option.name, head):
            raise ValueError(
                f"{head!r} in the limit {text!r} is no output of {measure.name} but its option "
                f'{option.name!r}: write "{meant}{dot}{rest}" there.'
            )


def _called(measure: Measure, option: str, value: str) -> str:
    """The measure with that value of an option, as it is written, if it is called after the value."""
    given = {name: getattr(measure, name) for name in sorted(measure.named_options)} | {option: value}
    try:
        named = type(measure)(**given).form == value
    except (TypeError, ValueError):
        return ""
    written = ", ".join(f"{name}={entry!r}" for name, entry in given.items())
    return f"{type(measure).__name__}({written})" if named else ""


def _number(text: str, limit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"the limit {limit!r} ends in {text!r}, which is no number; write {_FORM}.")
    return value
