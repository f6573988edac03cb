"""Limits on a model's measured values, each written on one line.

The value alone decides. This is not a hypothesis test: there is no p-value and no adjustment for the number
of layers and limits, and the 95 % interval next to each value applies to that value alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invariscope.catalog.expressions import read_measures
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.measures.base import Measure
from invariscope.results.provenance import NONFINITE
from invariscope.results.result import Result
from invariscope.results.rows import Row

OUTPUT = "output"
_FORM = "GLOB:measure:value, such as 'conv*:normalized_variance:0.3'"

Status = Literal["holds", "broken", "no value"]


@dataclass(frozen=True)
class Limit:
    """An upper or lower limit on the values of some layers.

    Args:
        text: the limit as written.
        pattern: layer name or glob; `output` for measures of the model's output.
        measure: the measure that the limit applies to.
        output: output of the measure; "" means the first.
        bound: the largest or smallest allowed value.
        upper: whether `bound` is the largest allowed value.
    """

    text: str
    pattern: str
    measure: Measure
    output: str
    bound: float
    upper: bool

    @classmethod
    def read(cls, text: str, *, upper: bool) -> Limit:
        """Parse a limit of the form GLOB:measure:value.

        The measure is a registry name or an expression, optionally followed by a dot and an output, such as
        `prediction.accuracy` or `NormalizedVariance(spread='std')`.

        Raises:
            ValueError: text of another form, an unknown measure, or a value that is not a number.

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
            raise ValueError(f"the limit {text!r} names {len(measures)} measures; write one limit for each.")
        _refuse_form(measures[0], output, text)
        return cls(text, pattern.strip(), measures[0], output, _number(value, text), upper)

    @property
    def row(self) -> str:
        """Name under which a result's table lists the limited values."""
        form = self.measure.form  # optional in the text
        named = form and (self.output == form or self.output.startswith(f"{form}."))
        return self.measure.row_name(
            self.output.removeprefix(form).removeprefix(".") if named else self.output
        )

    @property
    def sign(self) -> str:
        """Relation between an allowed value and the bound."""
        return "≤" if self.upper else "≥"

    def holds(self, value: float) -> bool:
        """Return whether a value is within the limit; NaN never is."""
        return value <= self.bound if self.upper else value >= self.bound


@dataclass(frozen=True)
class Outcome:
    """Outcome of a limit at one layer.

    Args:
        limit: the limit.
        layer, call: the layer, and the number of its call.
        value: value over all samples, which decides.
        low, high: 95 % interval, for information only.
        note: why there is no value; "" if there is one.
        chance: the part that the model's own randomness causes, already subtracted from value and interval; 0
            without `repeats`.
    """

    limit: Limit
    layer: str
    call: int
    value: float
    low: float
    high: float
    note: str = ""
    chance: float = 0.0

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
        wanted = f"{self.limit.sign} {self.limit.bound:g}"
        beyond = f" beyond chance (minus {self.chance:.6g} due to chance)" if self.chance else ""
        return f"{self.name}: {self.limit.row} is {self.value:.6g}{beyond}, must be {wanted}"


def read_limits(most: Sequence[str], least: Sequence[str]) -> tuple[Limit, ...]:
    """Parse upper and lower limits.

    Raises:
        ValueError: there are no limits, or one cannot be read.
    """
    found = [Limit.read(text, upper=True) for text in most]
    found += [Limit.read(text, upper=False) for text in least]
    if not found:
        raise ValueError(f"nothing to check: give --max or --min {_FORM}.")
    for limit in found:
        if limit.measure.scope == OUTPUT and not matches(limit.pattern, OUTPUT):
            raise ValueError(
                f"{limit.measure.name} applies to the model's output, not to layers {limit.pattern!r}: write "
                f"'{OUTPUT}:{limit.row}:{limit.bound:g}'."
            )
    return tuple(found)


def needed(limits: Sequence[Limit]) -> dict[str, Any]:
    """Return the options with which `iv.measure` computes a value for every limited layer."""
    measures = [limit.measure for limit in limits]
    patterns = dict.fromkeys(limit.pattern for limit in limits if limit.measure.scope != OUTPUT)
    layers = None if "*" in patterns or not patterns else list(patterns)
    distinct = [m for n, m in enumerate(measures) if m not in measures[:n]]
    return {"measures": distinct, "layers": layers, "rows": "all"}


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
    return Outcome(limit, *row.key, *numbers, row.note, chance)


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
    if own and not limit.output:
        return ValueError(
            f"{limit.measure.name} has several outputs; name one of them in the limit {limit.text!r}: "
            f"{', '.join(map(repr, own))}."
        )
    labelled = result.provenance.get("data", {}).get("labelled", True)
    hint = "" if labelled else "Some outputs need labels, which the data do not have."
    return unknown(f"output of {limit.measure.name}", limit.row, own, hint=hint)


def _no_layer(limit: Limit, result: Result, layers: list[str]) -> ValueError:
    for entry in result.provenance["skipped"]:
        if matches(limit.pattern, str(entry["layer"])):
            return ValueError(
                f"{limit.measure.name} has no value for the layers {limit.pattern!r} ({entry['layer']}: "
                f"{entry['reason']})"
            )
    return unknown("layer", limit.pattern, dict.fromkeys(layers))


def _split(text: str) -> tuple[str, str]:
    """Split a measure from its output at the first dot outside parentheses."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "." and depth == 0:
            return text[:place], text[place + 1 :]
    return text, ""


def _refuse_form(measure: Measure, output: str, text: str) -> None:
    """Raise ValueError if a limit names an option, or its value, in place of an output."""
    head, dot, rest = output.partition(".")
    if head in ("", measure.form):
        return
    for option in dataclasses.fields(measure):  # type: ignore[arg-type]
        if meant := _called(measure, option.name, head):
            raise ValueError(
                f"{head!r} in the limit {text!r} is not an output of {measure.name}; set its option "
                f'{option.name!r}: write "{meant}{dot}{rest}" instead.'
            )


def _called(measure: Measure, option: str, value: str) -> str:
    """Return the measure with this option value as an expression; "" unless the value names a form."""
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
        raise ValueError(f"the limit {limit!r} ends in {text!r}, which is not a number; write {_FORM}.")
    return value
