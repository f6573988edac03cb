"""What an assertion found, layer by layer, and how it says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from invariscope.common.wording import listed
from invariscope.readers.base import LayerKey
from invariscope.results.result import Result

_LISTED = 6


@dataclass(frozen=True)
class Worst:
    """The pair of a sample and an element that comes closest to its tolerance, or exceeds it the most.

    Args:
        error: ‖a(t x) − t a(x)‖ / ‖t a(x)‖.
        allowed: the tolerance of this element.
        element: its position among the transform's.
        label: its name, with its parameters.
        sample: its position in the data.
        reason: the tolerance in words, and what it consists of.
    """

    error: float
    allowed: float
    element: int
    label: str
    sample: int
    reason: str

    @property
    def share(self) -> float:
        """How much of the tolerance the error takes up: more than 1 is too much."""
        if self.allowed > 0:
            return self.error / self.allowed
        return math.inf if self.error > 0 else 0.0

    def __str__(self) -> str:
        error, allowed = _apart(self.error, self.allowed)
        return f"{error}, {allowed} allowed"


@dataclass(frozen=True)
class LayerVerdict:
    """One layer: what was expected of it, and what it did.

    Args:
        layer, call: which.
        action: what the elements should do to it.
        mean: the error on average.
        null: the same with the response to another sample.
        worst: the decisive pair; None where the response is 0 for every sample.
        grid: why positions on it cannot follow exactly, such as strides that left it off the image's centre.
        kind: the module's class, "" for what is no module.
        tried: the actions any one of which would have done; of these `action` fits best.
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

    @property
    def holds(self) -> bool:
        """Whether every pair is within its tolerance; a layer that is dead shows nothing, and does not."""
        return self.worst is not None and self.worst.error <= self.worst.allowed

    @property
    def blind(self) -> bool:
        """Whether the tolerance would let the response to another sample pass too."""
        return self.worst is not None and self.null <= self.worst.allowed

    @property
    def name(self) -> str:
        """The layer, what kind of module it is, and which call of it if it has several."""
        about = (self.kind, f"call {self.call}" if self.call else "")
        said = ", ".join(part for part in about if part)
        return f"{self.layer} ({said})" if said else self.layer

    @property
    def expected(self) -> str:
        """The action, or the actions, and which of several fits best."""
        if len(self.tried) < 2:
            return f"action {self.action!r}"
        return f"by any of the actions {', '.join(map(repr, self.tried))}; {self.action!r} fits best"

    @property
    def short(self) -> str:
        """The name with the error."""
        return f"{self.name} " + ("no response" if self.worst is None else f"{self.worst.error:.2g}")


@dataclass(frozen=True)
class Verdict:
    """What an assertion found.

    Args:
        what: "equivariant" or "invariant".
        layers: in the order in which they run.
        order: every layer of the model in that order, those that were not checked included.
        seed, samples: with which the same is found again.
        result: of `iv.measure`, with curves by element.
        keys: (sample,) by which elements were drawn, by position in the data; None: the elements are the same
            for all samples.
    """

    what: str
    layers: tuple[LayerVerdict, ...]
    order: tuple[LayerKey, ...]
    seed: int
    samples: int | None
    result: Result
    keys: np.ndarray | None = field(default=None, compare=False, repr=False)

    @cached_property
    def broken(self) -> tuple[LayerVerdict, ...]:
        """The layers that are not as they should be, the first of them first."""
        return tuple(layer for layer in self.layers if not layer.holds)

    @property
    def summary(self) -> str:
        """One line."""
        name, count = self.result.name, len(self.layers)
        ended = "holds" if not self.broken else f"broken at {self.broken[0].name}"
        worst = self.broken[0] if self.broken else max(self.layers, key=_closeness)
        layers = "1 layer" if count == 1 else f"{count} layers"
        said = "no response" if worst.worst is None else str(worst.worst)
        blind = [layer.name for layer in self.layers if layer.blind]
        names = listed(blind, limit=_LISTED)
        unseen = f"; tolerance above the null, so nothing shown: {names}" if blind else ""
        return f"{name} {self.what} ({layers}): {ended}; {worst.name} {said}{unseen}"

    def message(self) -> str:
        """What a failed test shows."""
        first = self.broken[0]
        lines = {"model": self._place(first), "expected": f"{self.what}, {first.expected}"}
        lines |= _details(first.worst)
        lines |= {"null": f"{first.null:.3g}, the mean error against another sample's response"}
        lines |= {"positions": first.grid} if first.grid else {}
        if len(self.broken) > 1:
            lines["also broken"] = listed([layer.short for layer in self.broken[1:]], limit=_LISTED)
        lines["replay"] = self._replay(first.worst)
        shown = "\n".join(f"  {name:<12} {text}" for name, text in lines.items())
        return f"{_headline(first, self.what, alone=len(self.layers) == 1)}\n{shown}"

    def _place(self, first: LayerVerdict) -> str:
        """Where the first broken layer stands, and how well those before it do."""
        before = [layer for layer in self.layers[: self.layers.index(first)] if layer.worst is not None]
        place = self.order.index((first.layer, first.call)) if (first.layer, first.call) in self.order else -1
        number = f", layer {place + 1} of {len(self.order)}" if place >= 0 else ""
        counts = f"{len(self.broken)} of {len(self.layers)} checked layers break"
        said = f"{self.result.name}{number}; {counts}"
        if before:
            best = max(before, key=lambda layer: layer.worst.error if layer.worst else 0.0)
            said += f"; before it all hold, at most {best.short}"
        return said

    def _replay(self, worst: Worst | None) -> str:
        samples = "" if self.samples is None else f", samples={self.samples}"
        option = "" if self.samples is None else f" --invariscope-samples {self.samples}"
        said = f"seed={self.seed}{samples}, or pytest --invariscope-seed {self.seed}{option}"
        if worst is None:
            return said
        i, j = worst.sample, worst.element
        own = "" if self.keys is None else f", keys=[{self.keys[i]}]"
        input_ = f"transform.orbit(inputs[{i}:{i + 1}], indices=[{i}]{own}, seed={self.seed})[0, {j}]"
        return f"{said}; the input is {input_}"


class SymmetryError(AssertionError):
    """A model is not as symmetric as it should be; `verdict` says where and by how much."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message())
        self.verdict = verdict


def _apart(error: float, allowed: float) -> tuple[str, str]:
    """Both with as many digits as show which is the larger."""
    texts = ("", "")
    for digits in range(3, 18):
        texts = f"{error:.{digits}g}", f"{allowed:.{digits - 1}g}"
        shown = float(texts[0]) - float(texts[1])
        if (shown > 0, shown < 0) == (error > allowed, error < allowed):
            break
    return texts


def _closeness(layer: LayerVerdict) -> float:
    return math.inf if layer.worst is None else layer.worst.share


def _headline(first: LayerVerdict, what: str, *, alone: bool) -> str:
    name = first.name.replace(first.layer, f"layer {first.layer!r}", 1)
    if first.worst is None:
        return f"{name} gives 0 for every input: nothing shows whether it is {what}"
    which = "is" if alone else "is the first that is"
    return f"{name} {which} not {what}: relative error {first.worst}"


def _details(worst: Worst | None) -> dict[str, str]:
    if worst is None:
        return {}
    return {
        "element": f"{worst.element}, {worst.label}",
        "sample": f"{worst.sample}",
        "tolerance": worst.reason,
    }
