"""Verdicts on limits, and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from invariscope.checking.junit import write_junit
from invariscope.checking.limits import OUTPUT
from invariscope.checking.outcomes import Outcome, Unmeasured
from invariscope.common.cards import MOST_ROWS, Card, Table
from invariscope.common.wording import listed, visible
from invariscope.results.result import Result

_LISTED = 12


@dataclass(frozen=True)
class LimitVerdict:
    """Verdict on the limits of a model.

    Args:
        outcomes: the outcome of every limit at every layer that it applies to.
        result: result of `iv.measure`, with intervals and curves.
        seed, samples: settings that reproduce the verdict.
        unmeasured: layers that a limit's glob matches, but that have no value because of what they are.
    """

    outcomes: tuple[Outcome, ...]
    result: Result
    seed: int
    samples: int | None
    unmeasured: tuple[Unmeasured, ...] = ()

    def __repr__(self) -> str:
        """Return the summary."""
        return f"<LimitVerdict: {visible(self.summary)}>"

    def _repr_html_(self) -> str:
        columns = [("layer", "name"), ("measure", "name"), ("value", "number"), ("limit", "number")]
        order = sorted(self.outcomes, key=lambda outcome: outcome.status == "holds")  # broken first, stable
        rows = [
            (o.name, f"{o.limit.row} ({o.status})", f"{o.value:.4g}", f"{o.limit.sign} {o.limit.bound:g}")
            for o in order[:MOST_ROWS]
        ]
        more = f"{len(rows)} of " if len(rows) < len(order) else ""
        table = Table(f"{more}{len(order)} limits, broken ones first", columns, rows)
        return Card(self.summary, table=table, remarks=["`.result` holds intervals and curves."]).html()

    @cached_property
    def broken(self) -> tuple[Outcome, ...]:
        """The limits that do not hold, or whose value is missing."""
        return tuple(outcome for outcome in self.outcomes if outcome.status != "holds")

    @property
    def summary(self) -> str:
        """The verdict on one line."""
        first = f"; {self.broken[0].message} ({self.broken[0].evidence})" if self.broken else ""
        rest = reservations(self.outcomes, self.unmeasured)
        return f"{self.result.name} limits: {held(self.outcomes)}{first}{rest}"

    def message(self) -> str:
        """Return the message of a failed test."""
        first = self.broken[0]
        lines = [("model", f"{self.result.name} under {_transform(self.result)}; {_counted(self.outcomes)}")]
        lines += [(OUTPUT, prediction_of(self.result))] if any(map(_of_output, self.outcomes)) else []
        lines += [(o.status, f"{o.message} ({o.evidence})") for o in self.broken[:_LISTED]]
        more = len(self.broken) - _LISTED
        lines += [("", f"and {more} more in the exception's verdict.broken")] if more > 0 else []
        lines += [("not measured", _names(self.unmeasured))] if self.unmeasured else []
        lines += [("holds", held(self.outcomes).removesuffix(" hold"))]
        lines += [("decided by", "the value over all samples; the interval is for information")]
        lines += [("caution", o.caution) for o in self.broken[:1] if o.caution]
        lines += [("replay", self._replay())]
        shown = "\n".join(f"  {name:<12} {visible(text)}" for name, text in lines)
        return f"{visible(first.message)}\n{shown}"

    def write_junit(self, path: str | Path) -> None:
        """Write JUnit XML with one test case per limit and layer, as `invariscope check --junit` does.

        Raises:
            OSError: the folder cannot be written to.
        """
        seconds = float(self.result.provenance.get("seconds", 0.0))
        cases = (*self.outcomes, *self.unmeasured)
        write_junit(Path(path), cases, model=self.result.name, seconds=seconds)

    def _replay(self) -> str:
        samples = "" if self.samples is None else f", samples={self.samples}"
        option = "" if self.samples is None else f" --invariscope-samples {self.samples}"
        return f"seed={self.seed}{samples}, or pytest --invariscope-seed {self.seed}{option}"


class LimitError(AssertionError):
    """Raised if a model does not stay within its limits; `verdict` holds the values."""

    def __init__(self, verdict: LimitVerdict) -> None:
        super().__init__(verdict.message())
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[Self], tuple[LimitVerdict]]:
        """Return how to make the error again, so that it can be raised in another process."""
        return type(self), (self.verdict,)


def held(outcomes: Sequence[Outcome]) -> str:
    """Return how many limits hold."""
    return f"{sum(outcome.status == 'holds' for outcome in outcomes)} of {len(outcomes)} limits hold"


def reservations(outcomes: Sequence[Outcome], unmeasured: Sequence[Unmeasured]) -> str:
    """Return the end of a summary: the layers with a caution, and what it is, and those without a value."""
    doubtful: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.caution:
            doubtful.setdefault(outcome.caution, []).append(outcome)
    each = "; ".join(f"{_names(several)} ({caution})" for caution, several in doubtful.items())
    missing = f"; not measured: {_names(unmeasured)}" if unmeasured else ""
    return (f"; with cautions: {each}" if each else "") + missing


def _names(several: Sequence[Outcome] | Sequence[Unmeasured]) -> str:
    return listed(dict.fromkeys(one.name for one in several))


def prediction_of(result: Result) -> str:
    """Return a phrase that says what `output` stands for in limits.

    It is the model's prediction: all that the model returns, or the part that `output=` selects.
    """
    model, part = result.provenance.get("model", {}), result.provenance.get("options", {}).get("output")
    name = str(model.get("name") or "the model")
    returned = f"what {name} returns" if part is None else f"{part!r} of what {name} returns"
    return f"the model's prediction, {returned}; its class is the index of the largest number"


def _of_output(outcome: Outcome) -> bool:
    return outcome.limit.measure.scope == OUTPUT


def _transform(result: Result) -> str:
    return str(result.provenance.get("transform", {}).get("family", "the transform"))


def _counted(outcomes: Sequence[Outcome]) -> str:
    count = max(outcome.samples for outcome in outcomes)
    return f"{count:,} samples" if count else "no samples"
