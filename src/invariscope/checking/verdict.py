"""Verdicts of assertions, layer by layer, and their messages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from invariscope.common.cards import MOST_ROWS, Card, Table
from invariscope.common.wording import listed, visible
from invariscope.readers.base import LayerKey
from invariscope.results.result import Result

_LISTED = 6
_CHANNELS = (1, 2, 3, 4)
OUTPUT = "output"


@dataclass(frozen=True)
class Worst:
    """The decisive pair of sample and element, whose error is the largest share of its tolerance.

    Args:
        error: ‖a(t x) − t a(x)‖ / ‖t a(x)‖.
        allowed: tolerance for this element.
        element: position of the element in the transform.
        label: name of the element with its parameters.
        sample: position of the sample in the data; None if the error is the mean over samples.
        reason: the tolerance in words, with its parts.
        chance: the mean error that chance alone causes, already subtracted; 0 without `repeats`.
    """

    error: float
    allowed: float
    element: int
    label: str
    sample: int | None
    reason: str
    chance: float = 0.0

    @property
    def share(self) -> float:
        """Error as a share of the tolerance; above 1, the symmetry is broken."""
        if self.allowed > 0:
            return self.error / self.allowed
        return math.inf if self.error > 0 else 0.0

    def __str__(self) -> str:
        error, allowed = _apart(self.error, self.allowed)
        if self.sample is None:
            error += f" beyond chance (mean {self.error + self.chance:.3g} - {self.chance:.3g} due to chance)"
        return f"{error}, {allowed} allowed"


@dataclass(frozen=True)
class LayerVerdict:
    """Verdict on one layer.

    Args:
        layer, call: the layer, and the number of its call.
        action: expected action of the elements on the layer.
        mean: mean error.
        null: mean error against the response to another sample.
        worst: the decisive pair; None if the response is 0 for every sample.
        grid: why the layer's grid rules out exact equivariance, such as strides that shift it off-centre.
        kind: class of the module; "" if the layer is not a module.
        tried: the accepted actions, among which `action` fits best.
        elements: which elements break the symmetry, if others do not; "" otherwise.
    """

    layer: str
    call: int
    action: str
    mean: float
    null: float
    worst: Worst | None
    grid: str = ""
    kind: str = ""
    tried: tuple[str, ...] = ()
    elements: str = ""

    @property
    def holds(self) -> bool:
        """Whether every pair is within its tolerance; False for a dead layer."""
        return self.worst is not None and self.worst.error <= self.worst.allowed

    @property
    def inconclusive(self) -> bool:
        """Whether another sample's response would also be within the tolerance, on average."""
        return self.worst is not None and self.null - self.worst.chance <= self.worst.allowed

    @property
    def name(self) -> str:
        """Name of the layer with its class, and its call if it is not the first."""
        about = (self.kind, f"call {self.call}" if self.call else "")
        details = ", ".join(part for part in about if part)
        return f"{self.layer} ({details})" if details else self.layer

    @property
    def expected(self) -> str:
        """The expected action, or the accepted ones and the best fit."""
        if len(self.tried) < 2:
            return f"action {self.action!r}"
        return f"by any of the actions {', '.join(map(repr, self.tried))}; {self.action!r} fits best"

    @property
    def error(self) -> str:
        """The largest error as text."""
        return "no response" if self.worst is None else f"{self.worst.error:.2g}"

    @property
    def short(self) -> str:
        """Name of the layer and its error, for a summary."""
        return f"{self.name} {self.error}"


@dataclass(frozen=True)
class Verdict:
    """Verdict of an assertion.

    Args:
        claim: "equivariant" or "invariant".
        layers: verdicts on the checked layers, in execution order.
        order: all layers of the model in execution order, including unchecked ones.
        seed, samples: settings that reproduce the verdict.
        result: result of `iv.measure`, with curves by element.
        keys: (sample,) keys of drawn elements by position in the data; None if all samples share the
            elements.
        types: how to check the types that the model's modules declare, if these were not checked.
    """

    claim: str
    layers: tuple[LayerVerdict, ...]
    order: tuple[LayerKey, ...]
    seed: int
    samples: int | None
    result: Result
    keys: np.ndarray | None = field(default=None, compare=False, repr=False)
    types: str = ""

    def __repr__(self) -> str:
        """Return the summary."""
        return f"<Verdict: {visible(self.summary)}>"

    def _repr_html_(self) -> str:
        columns = [("layer", "name"), ("verdict", "name"), ("largest error", "number"), ("null", "number")]
        order = sorted(self.layers, key=lambda layer: layer.holds)  # broken ones first, stable
        rows = [
            (layer.name, "holds" if layer.holds else "broken", layer.error, f"{layer.null:.3g}")
            for layer in order[:MOST_ROWS]
        ]
        more = f"{len(rows)} of " if len(rows) < len(order) else ""
        table = Table(f"{more}{len(order)} layers, broken ones first", columns, rows)
        return Card(self.summary, table=table, remarks=["`.result` holds errors by element."]).html()

    @cached_property
    def broken(self) -> tuple[LayerVerdict, ...]:
        """The layers that break the symmetry, in execution order."""
        return tuple(layer for layer in self.layers if not layer.holds)

    @property
    def summary(self) -> str:
        """The verdict on one line."""
        name, count = self.result.name, len(self.layers)
        ended = "holds" if not self.broken else f"broken at {self.broken[0].name}"
        worst = self.broken[0] if self.broken else max(self.layers, key=_closeness)
        layers = "1 layer" if count == 1 else f"{count} layers"
        error = "no response" if worst.worst is None else str(worst.worst)
        doubtful = [layer.name for layer in self.layers if layer.inconclusive]
        names = listed(doubtful, limit=_LISTED)
        unseen = f"; tolerance above the null, so inconclusive: {names}" if doubtful else ""
        return f"{name} {self.claim} ({layers}): {ended}; {worst.name} {error}{unseen}"

    def message(self) -> str:
        """Return the message of a failed test."""
        first = self.broken[0]
        lines = {"model": self._place(first), "expected": f"{self.claim}, {first.expected}"}
        lines |= {"types": self.types} if self.types else {}
        lines |= _details(first.worst)
        lines |= {"elements": first.elements} if first.elements else {}
        lines |= {"null": f"{first.null:.3g}, the mean error against another sample's response"}
        lines |= {"positions": first.grid} if first.grid else {}
        if len(self.broken) > 1:
            lines["also broken"] = listed([layer.short for layer in self.broken[1:]], limit=_LISTED)
        lines |= {"inputs": doubt} if (doubt := self._channels_last) else {}
        if (self.claim, first.layer) == ("invariant", OUTPUT):
            lines["next"] = "iv.assert_equivariant with the same model, data and transform names the layer"
        lines["replay"] = self._replay(first.worst)
        shown = "\n".join(f"  {name:<12} {text}" for name, text in lines.items())
        which = "is" if len(self.layers) == 1 else "is the first that is"
        which = which.replace("first", "first checked layer") if self._unchecked else which
        return f"{_headline(first, self.claim, which)}\n{shown}"

    def _place(self, first: LayerVerdict) -> str:
        """Return a phrase with the position of the first broken layer, and the largest earlier error."""
        before = [layer for layer in self.layers[: self.layers.index(first)] if layer.worst is not None]
        place = self.order.index((first.layer, first.call)) if (first.layer, first.call) in self.order else -1
        number = f", layer {place + 1} of {len(self.order)}" if place >= 0 else ""
        counts = f"{len(self.broken)} of {len(self.layers)} checked layers break"
        text = f"{self.result.name}{number}; {counts}"
        if before:
            largest = max(before, key=lambda layer: layer.worst.error if layer.worst else 0.0)
            ones = "checked ones" if self._unchecked else "ones"
            text += f"; all earlier {ones} hold; their largest error is {largest.short}"
        if self._unchecked:
            layers = (
                "1 earlier layer was" if self._unchecked == 1 else f"{self._unchecked} earlier layers were"
            )
            text += f"; {layers} not checked and may break it first"
        return text

    @cached_property
    def _unchecked(self) -> int:
        """Number of layers before the first broken one that were not checked.

        0 for the output, and for invariance, which layers often gain after others that lack it.
        """
        first, checked = self.broken[0], {(layer.layer, layer.call) for layer in self.layers}
        if self.claim != "equivariant" or (first.layer, first.call) not in self.order:
            return 0
        return sum(key not in checked for key in self.order[: self.order.index((first.layer, first.call))])

    @property
    def _channels_last(self) -> str:
        """Return a doubt if the last axis of the inputs looks like channels; "" if there is none."""
        shape = self.result.provenance.get("data", {}).get("shape") or ()
        if len(shape) != 3 or shape[-1] not in _CHANNELS or shape[0] <= max(_CHANNELS):
            return ""
        sizes = "(" + ", ".join(map(str, shape)) + ")"
        return f"{sizes} is read as (channel, row, column). If channels come last, pass x.movedim(-1, 1)"

    def _replay(self, worst: Worst | None) -> str:
        samples = "" if self.samples is None else f", samples={self.samples}"
        option = "" if self.samples is None else f" --invariscope-samples {self.samples}"
        text = f"seed={self.seed}{samples}, or pytest --invariscope-seed {self.seed}{option}"
        if worst is None or worst.sample is None:
            return text
        i, j = worst.sample, worst.element
        own = "" if self.keys is None else f", keys=[{self.keys[i]}]"
        input_ = f"transform.orbit(inputs[{i}:{i + 1}], indices=[{i}]{own}, seed={self.seed})[0, {j}]"
        return f"{text}; the input is {input_}"


class SymmetryError(AssertionError):
    """Raised if a model breaks an asserted symmetry; `verdict` holds where and by how much."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message())
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[Self], tuple[Verdict]]:
        """Return how to make the error again, so that it can be raised in another process."""
        return type(self), (self.verdict,)


def _apart(error: float, allowed: float) -> tuple[str, str]:
    """Return both numbers with enough digits to show which one is larger."""
    texts = ("", "")
    for digits in range(3, 18):
        texts = f"{error:.{digits}g}", f"{allowed:.{digits - 1}g}"
        shown = float(texts[0]) - float(texts[1])
        if (shown > 0, shown < 0) == (error > allowed, error < allowed):
            break
    return texts


def _closeness(layer: LayerVerdict) -> float:
    return math.inf if layer.worst is None else layer.worst.share


def _headline(first: LayerVerdict, claim: str, which: str) -> str:
    name = first.name.replace(first.layer, f"layer {first.layer!r}", 1)
    if first.worst is None:
        return f"{name} returns 0 for every input, so it cannot be shown to be {claim}"
    return f"{name} {which} not {claim}: relative error {first.worst}"


def _details(worst: Worst | None) -> dict[str, str]:
    if worst is None:
        return {}
    element = f"{worst.element}, {worst.label}"
    if worst.sample is None:
        chance = (
            f"{worst.chance:.3g}, the mean error between forward passes of the same inputs, is subtracted"
        )
        return {"element": element, "chance": chance, "tolerance": worst.reason}
    return {"element": element, "sample": f"{worst.sample}", "tolerance": worst.reason}
