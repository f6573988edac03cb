"""Limits on a model's measured values, each written on one line.

The value alone decides. This is not a hypothesis test: there is no p-value and no adjustment for the number
of layers and limits, and the 95 % interval next to each value applies to that value alone.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from invariscope.catalog.expressions import read_measures
from invariscope.common.checks import real, shown
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.measures.base import MEASURES, Measure, told_apart
from invariscope.measures.values import SHARE

OUTPUT = "output"
_FORM = "GLOB:measure:value, such as 'conv*:normalized_variance:0.3'"
_KEYS = "{'layer:measure': number}, such as {'output:consistency': 0.95}"


@dataclass(frozen=True)
class Limit:
    """An upper or lower limit on the values of some layers.

    Args:
        text: the limit as written on the command line, or its key in Python.
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
        key, separator, value = text.rpartition(":")
        if not separator:
            raise ValueError(f"cannot read the limit {text!r}; write {_FORM}.")
        limit = cls._of(key, text, _FORM, upper=upper)
        return dataclasses.replace(limit, bound=_number(value, text))

    @classmethod
    def of(cls, key: Any, bound: Any, *, upper: bool) -> Limit:
        """Return the limit of a key such as "conv*:normalized_variance".

        Raises:
            ValueError, TypeError: as for `read`.

        >>> Limit.of("output:prediction.flips", 0.02, upper=True).row
        'prediction.flips'
        """
        if not isinstance(key, str):
            raise TypeError(f"the keys of limits must be strings, {_KEYS}; got {key!r}")
        limit = cls._of(key, key, _KEYS, upper=upper)
        if not math.isfinite(real(bound)):
            raise ValueError(f"the limit of {key!r} must be a finite number; got {shown(bound)}")
        return dataclasses.replace(limit, bound=real(bound))

    @classmethod
    def _of(cls, key: str, text: str, form: str, *, upper: bool) -> Limit:
        """Return the limit of a key, without its bound."""
        pattern, separator, named = _halves(key)
        if not (separator and pattern.strip() and named.strip()):
            raise ValueError(f"cannot read the limit {text!r}; write {form}.")
        if pattern.strip().startswith("!"):
            raise ValueError(f"the limit {text!r} excludes layers; name the layers that it applies to.")
        wanted, output = _split(named.strip())
        try:
            measures = read_measures([wanted])
        except ValueError:
            if meant := _meant(wanted):
                raise ValueError(f"no measure is called {wanted!r}. Did you mean {meant}?") from None
            raise
        if len(measures) != 1:
            raise ValueError(f"the limit {text!r} names {len(measures)} measures; write one limit for each.")
        _refuse_form(measures[0], output, text)
        return cls(text, pattern.strip(), measures[0], output, math.nan, upper)

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


def read_limits(most: Sequence[str], least: Sequence[str]) -> tuple[Limit, ...]:
    """Parse upper and lower limits.

    Raises:
        ValueError: there are no limits, or one cannot be read, can never hold, or holds for every model.
    """
    found = [Limit.read(text, upper=True) for text in most]
    found += [Limit.read(text, upper=False) for text in least]
    if not found:
        raise ValueError(f"nothing to check: give --max or --min {_FORM}.")
    return _sensible(found)


def limits_of(least: Any, most: Any) -> tuple[Limit, ...]:
    """Return the limits of two mappings {"layer:measure": number}; None is an empty one.

    Raises:
        ValueError: as for `read_limits`.
        TypeError: not a mapping, or a key that is not a string.
    """
    found = []
    for name, given in (("max", most), ("min", least)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{name}= must be a mapping {_KEYS}; got {type(given).__name__}")
        found += [Limit.of(key, bound, upper=name == "max") for key, bound in (given or {}).items()]
    if not found:
        raise ValueError(f"nothing to check: give min= or max= {_KEYS}.")
    return _sensible(found)


def _sensible(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return the limits; raise ValueError if one of them makes no sense."""
    distinct = _distinct(limits)
    apart = told_apart(distinct)
    limits = [dataclasses.replace(one, measure=apart[distinct.index(one.measure)]) for one in limits]
    for limit in limits:
        if limit.measure.scope == OUTPUT and not matches(limit.pattern, OUTPUT):
            raise ValueError(
                f"{limit.measure.name} applies to the model's output, not to layers {limit.pattern!r}: write "
                f"'{OUTPUT}{limit.text.strip().removeprefix(limit.pattern)}'."
            )
        _refuse_unknown_output(limit)
        _refuse_impossible(limit)
    lowest = {(limit.pattern, limit.row): limit for limit in limits if not limit.upper}
    for limit in limits:
        below = lowest.get((limit.pattern, limit.row))
        if limit.upper and below is not None and below.bound > limit.bound:
            raise ValueError(
                f"no value of {limit.row} at {limit.pattern!r} can be at least {below.bound:g} (min) and at "
                f"most {limit.bound:g} (max). Were they swapped?"
            )
    return tuple(limits)


def _meant(output: str) -> str:
    """Return the outputs of measures that are called like this; "" if there are none."""
    found = []
    for name, measure in MEASURES.classes().items():
        with suppress(TypeError):  # some measures need an argument
            found += [f"{name}.{output}"] if output in measure().outputs() else []
    return " or ".join(map(repr, sorted(found)))


def _refuse_unknown_output(limit: Limit) -> None:
    own = [limit.measure.row_name(name) for name in limit.measure.outputs()]
    if limit.row in own:
        return
    if not limit.output:
        raise ValueError(
            f"{limit.measure.name} has several outputs; name one of them in the limit {limit.text!r}: "
            f"{', '.join(map(repr, own))}."
        )
    raise unknown(f"output of {limit.measure.name}", limit.row, own)


def _refuse_impossible(limit: Limit) -> None:
    """Raise ValueError for a bound outside the range of possible values."""
    low, high = limit.measure.output(limit.measure.output_of(limit.row)).range
    if low <= limit.bound <= high:
        return
    ends = f"between {low:g} and {high:g}" if math.isfinite(high) else f"at least {low:g}"
    effect = "holds for every model" if limit.upper == (limit.bound > high) else "never holds"
    percent = (low, high) == SHARE and high < limit.bound <= 100
    hint = f" Write {limit.bound / 100:g} for {limit.bound:g} %." if percent else ""
    raise ValueError(
        f"the limit {limit.text!r} of {limit.bound:g} {effect}: {limit.row} is always {ends}.{hint}"
    )


def needed(limits: Sequence[Limit]) -> dict[str, Any]:
    """Return the options with which `iv.measure` computes a value for every limited layer."""
    patterns = dict.fromkeys(limit.pattern for limit in limits if limit.measure.scope != OUTPUT)
    return {"measures": _distinct(limits), "layers": list(patterns) or None, "rows": "all"}


def _distinct(limits: Sequence[Limit]) -> list[Measure]:
    measures = [limit.measure for limit in limits]
    return [measure for number, measure in enumerate(measures) if measure not in measures[:number]]


def output_as_layer(limits: Sequence[Limit], error: ValueError) -> ValueError | None:
    """Return a clearer error if `output` limits a measure of layers, and no layer has this name."""
    wrong = [limit for limit in limits if limit.pattern == OUTPUT and limit.measure.scope != OUTPUT]
    if not wrong or f"no layer matches {OUTPUT!r}" not in str(error):
        return None
    measures = [name for name, one in MEASURES.classes().items() if one.scope == OUTPUT]
    return ValueError(
        f"{wrong[0].measure.name} is a measure of layers, but {OUTPUT!r} in the limit {wrong[0].text!r} is "
        f"the model's prediction, which only these measure: {', '.join(measures)}. Name the last layer "
        f"instead of {OUTPUT!r}."
    )


def _halves(key: str) -> tuple[str, str, str]:
    """Split a key at the last colon that a measure follows; names of layers may contain colons.

    >>> _halves("stem:0:twirl"), _halves("x:Stability(preset='a:b').D")
    (('stem:0', ':', 'twirl'), ('x', ':', "Stability(preset='a:b').D"))
    """
    places = [place for place, character in enumerate(key) if character == ":"][::-1]
    found = next((place for place in places if _is_expression(key[place + 1 :])), max(places, default=-1))
    return (key[:found], ":", key[found + 1 :]) if places else (key, "", "")


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


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
