"""Detect models whose response to an input depends on chance or on the other inputs of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import (
    Inputs,
    copies_of,
    is_structured,
    nbytes_of,
    sample_digest,
    taken,
    turned_round,
)
from invariscope.readers.base import OK, Forward, LayerKey, Precision, Reader, Reading
from invariscope.readers.prediction import PredictionSelector
from invariscope.unit_draw import UnitDraw

_BATCH = 4
_OUTPUT: LayerKey = ("output", -1)
# Repeating a forward pass with the same shape repeats its rounding errors, except for parallel sums on a GPU.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 5e-2
# Batches of different sizes round differently, so responses to the same input may differ by this share of
# the spread between different inputs.
_SHARE_OF_SPREAD = 0.1
_LEAST_SPREAD = {torch.float64: 1e-2, torch.float32: 1e-2}
_LEAST_SPREAD_COARSE = 1.0
_FAR_BELOW = 1e-4  # changes below this share of the rms are negligible, whatever the spread
_BEYOND = 1e37  # values above this are masked scores
_NO_SCALE = 1e12  # changes above this share of the rms mean that the layer is zero in one pass

_NEIGHBOURS = "its response to an input depends on the other inputs of the batch, or their order"
NOT_ALWAYS = "it runs for some inputs and not for others"


@dataclass(frozen=True)
class Dependence:
    """What a model's response depends on besides the input itself; falsy if on nothing else.

    Args:
        chance: largest difference between two forward passes of the same batch, as a share of the layer's
            rms; 0 if within rounding.
        neighbours: largest change in the response to an input if the rest of its batch changes, as a share of
            the layer's rms.
        chance_layer: first layer that differs between these two passes, if any.
        neighbours_layer: first layer that changes with the rest of the batch, if any.
        output: whether the model's output depends on the rest of the batch.
        layers: layers that cannot be read, with the reason: they depend on the rest of the batch, or run only
            for some inputs.
        unrepeated: layers that do not repeat another layer in every forward pass.
    """

    chance: float = 0.0
    neighbours: float = 0.0
    chance_layer: str = ""
    neighbours_layer: str = ""
    output: bool = False
    layers: Mapping[LayerKey, str] = field(default_factory=dict)
    unrepeated: frozenset[LayerKey] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.chance or self.neighbours)

    def __str__(self) -> str:
        parts = []
        if self.chance:
            parts.append(
                f"the model's response depends on chance or on earlier inputs: the same inputs gave "
                f"different responses, first in {self.chance_layer!r} ({_amount(self.chance)})."
            )
        if self.neighbours:
            parts.append(
                f"the model's response to an input depends on the other inputs of its batch, first in "
                f"{self.neighbours_layer!r} ({_amount(self.neighbours)})."
            )
        return " ".join(parts) or "the response to an input depends on nothing but the input"


def _amount(share: float) -> str:
    """Return a difference as text, without a share if the layer is zero or changes its shape."""
    if share > _NO_SCALE:
        return "zero, not finite or of another shape in one forward pass"
    return f"by up to {share:.2g} of a layer's rms"


def depends_on_batch(
    reader: Reader,
    x: Inputs,
    *,
    device: str | None = None,
    precision: Precision = "float32",
    prediction: PredictionSelector | None = None,
) -> Dependence:
    """Check whether responses depend on chance or on the rest of the batch.

    The model runs on the batch twice in the same order and once in reverse order, then on one batch per input
    that contains only copies of this input.

    Batches have equal sizes and inputs are compared at the same position, so that rounding is the same. A
    dependence on the rest of the batch is found only if x holds different inputs; it is not checked if
    responses depend on chance.

    Args:
        reader: reader of the model.
        x: (batch, ...) inputs; four are used, distinct if possible.
        device, precision: see `Reader.open`.
        prediction: the prediction found by an inspection of such inputs; None runs an inspection.
    """
    if prediction is None:
        prediction = reader.inspect(x, device=device, precision=precision).prediction
    with reader.open(device=device, precision=precision) as forward:
        return examine(PredictingForward(forward, prediction), taken(x, distinct_rows(x)))[0]


def distinct_rows(x: Inputs) -> list[int]:
    """Return the positions of four rows spread over x, distinct if possible.

    If samples differ in size, the largest and the smallest are included, because padding to the longest
    sample of a batch must not change the others.
    """
    if is_structured(x):
        return _of_extreme_sizes(x)
    order = torch.linspace(0, len(x) - 1, min(len(x), 4 * _BATCH)).round().long().tolist()
    found: list[int] = []
    for row in order[::4] + order:
        if not any(torch.equal(x[row], x[other]) for other in found):
            found.append(row)
    return [found[k % len(found)] for k in range(_BATCH)]


def _of_extreme_sizes(x: np.ndarray) -> list[int]:
    sizes = np.array([nbytes_of(x[k : k + 1]) for k in range(len(x))])
    order = [int(sizes.argmax()), int(sizes.argmin()), *range(len(x))]
    found = list({sample_digest(x[row]): row for row in reversed(order)}.values())[::-1]
    return [found[k % len(found)] for k in range(_BATCH)]


@dataclass(frozen=True, eq=False)
class PredictingForward:
    """A model's forward function, with the position of the prediction in its output.

    Args:
        forward: runs the model.
        prediction: position of the prediction.
        padded: whether the prediction may have another shape in another batch, because samples are padded to
            the longest one of a batch and no measure uses the prediction.
    """

    forward: Forward
    prediction: PredictionSelector
    padded: bool = False

    def predicted(self, output: Any, rows: int) -> Tensor | None:
        """Return the prediction; None if there is none, so that only layers are compared."""
        with suppress(ValueError):
            return self.prediction.of(output, rows)
        return None


@dataclass
class Responses:
    """Responses of all layers and of the output in one forward pass, for some rows of the batch.

    Args:
        values: (row, unit...) by layer, in the order of the forward pass; the output has its own key.
        skipped: layers that could not be read, with the reason.
        repeats: layers that repeat another one, with the repeated layer.
    """

    values: dict[LayerKey, Tensor] = field(default_factory=dict)
    skipped: dict[LayerKey, str] = field(default_factory=dict)
    repeats: dict[LayerKey, LayerKey] = field(default_factory=dict)

    @classmethod
    def of(cls, model: PredictingForward, x: Inputs, rows: Sequence[int] | None = None) -> Responses:
        """Run a forward pass and keep the given rows, by default all."""
        found = cls()
        output = model.forward(x, lambda reading: found.add(reading, len(x), rows))
        found.add_output(model.predicted(output, len(x)), rows)
        return found

    def add(self, reading: Reading, batch: int, rows: Sequence[int] | None) -> None:
        """Keep a reading: its rows, the layer that it repeats, or why it was skipped."""
        key = reading.layer, reading.call
        if reading.values is None or reading.status != OK:
            self.skipped[key] = reading.status
        elif reading.alias_of is not None:
            self.repeats[key] = reading.alias_of
        elif reading.row_of is None and len(reading.values) == batch:
            self.values[key] = _kept(reading.values, rows)

    def add_output(self, prediction: Tensor | None, rows: Sequence[int] | None) -> None:
        """Keep the prediction, if there is one."""
        if prediction is not None:
            self.values[_OUTPUT] = _kept(prediction, rows)


def _kept(values: Tensor, rows: Sequence[int] | None) -> Tensor:
    """Return a copy of some rows; for large layers, copy only a random sample of units, to save memory."""
    values = values.detach()
    if rows is not None:
        values = values.index_select(0, torch.tensor(rows, device=values.device))
    draw = UnitDraw.of(tuple(values.shape[1:]), "auto", seed=0)
    if draw is not None:
        return draw.take(values)
    return values if rows is not None else values.clone()


def examine(model: PredictingForward, rows: Inputs) -> tuple[Dependence, Responses]:
    """Return the `Dependence` of the responses to four inputs, and the responses; see `depends_on_batch`."""
    first, again = Responses.of(model, rows), Responses.of(model, rows)
    chance, chance_layer = largest_change(first, again)
    if chance:
        return Dependence(chance=chance, chance_layer=chance_layer), first
    turned, last = Responses.of(model, turned_round(rows)), len(rows) - 1
    found, forwards = _Changes(padded=model.padded), [first, again, turned]
    for number in range(len(rows)):
        alone = Responses.of(model, copies_of(rows, number, len(rows)), (number, last - number))
        forwards.append(alone)
        found.compare(first, number, alone, 0)
        found.compare(turned, last - number, alone, 1)
    if found.any:  # blame the rest of the batch only if repeating the first pass still agrees
        chance, chance_layer = largest_change(first, Responses.of(model, rows))
        if chance:
            return Dependence(chance=chance, chance_layer=chance_layer), first
    dependence = found.dependence(_irregular(forwards), first.repeats)
    return replace(dependence, unrepeated=frozenset(key for part in forwards for key in part.values)), first


def compare_block(block: Responses, few: Responses) -> Dependence:
    """Compare the responses to some rows of a block with those to the same inputs in a separate batch."""
    found = _Changes()
    for key, values in block.values.items():
        own = few.values.get(key)
        if own is not None and own.shape == values.shape:
            found.add(key, _beyond_spread(values, own))
    return found.dependence({}, block.repeats)


@dataclass
class _Changes:
    """How much each layer's response to an input changes with the rest of the batch.

    Args:
        padded: as in `PredictingForward`.
        sizes: largest change by layer.
    """

    padded: bool = False
    sizes: dict[LayerKey, float] = field(default_factory=dict)

    def compare(self, one: Responses, row: int, other: Responses, place: int) -> None:
        for key, values in one.values.items():
            always = key == _OUTPUT and not self.padded
            if key in other.values and (always or values.shape[1:] == other.values[key].shape[1:]):
                self.add(key, _difference(values[row], other.values[key][place]))

    @property
    def any(self) -> bool:
        return any(self.sizes.values())

    def add(self, key: LayerKey, size: float) -> None:
        self.sizes[key] = max(size, self.sizes.get(key, 0.0))

    def dependence(self, uneven: dict[LayerKey, str], repeats: Mapping[LayerKey, LayerKey]) -> Dependence:
        moved = {key: size for key, size in self.sizes.items() if size}
        layers = {key: _NEIGHBOURS for key in moved if key != _OUTPUT}
        layers |= {key: _NEIGHBOURS for key, original in repeats.items() if original in moved}
        return Dependence(
            neighbours=max(moved.values(), default=0.0),
            neighbours_layer=next((layer for layer, _ in moved), ""),
            output=_OUTPUT in moved,
            layers=layers | uneven,
        )


def _irregular(forwards: Sequence[Responses]) -> dict[LayerKey, str]:
    """Return the layers that at least one of these forward passes did not read, with the reason."""
    read = [part.values.keys() | part.repeats.keys() for part in forwards]
    found = dict.fromkeys(set().union(*read) - set.intersection(*map(set, read)), NOT_ALWAYS)
    found.pop(_OUTPUT, None)
    return found | {key: reason for part in forwards for key, reason in part.skipped.items()}


def largest_change(a: Responses, b: Responses) -> tuple[float, str]:
    """Return the largest difference beyond rounding, and the first layer that differs."""
    both = ((key[0], _difference(a.values[key], b.values[key])) for key in a.values if key in b.values)
    beyond = [(layer, size) for layer, size in both if size]
    return max((size for _, size in beyond), default=0.0), next((layer for layer, _ in beyond), "")


def _difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference relative to the rms, ignoring non-finite values; 0 if within rounding."""
    if a.shape != b.shape:
        return float("inf")
    if torch.equal(a, b):
        return 0.0
    wide, other, same = _finite_in_both(a, b)
    if not same:
        return float("inf")
    scale = wide.square().mean().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    size = float((wide - other).abs().max() / scale) if wide.numel() else 0.0
    return size if size > _TOLERANCE.get(a.dtype, _COARSE) else 0.0


def _beyond_spread(a: Tensor, b: Tensor) -> float:
    """Return the largest distance from a row of a to that of b, in rms units; 0 if far below the spread."""
    if a.numel() and bool((a - b).abs().amax() < _FAR_BELOW * torch.linalg.vector_norm(a) / a.numel() ** 0.5):
        return 0.0
    wide, other, same = _finite_in_both(a.reshape(len(a), -1), b.reshape(len(b), -1))
    if not same:
        return float("inf")
    rms = wide.square().mean(1).sqrt().max().clamp_min(torch.finfo(torch.float64).tiny)
    spread = (other - other.mean(0)).square().mean(1).sqrt().max()
    least = rms * _LEAST_SPREAD.get(a.dtype, _LEAST_SPREAD_COARSE)
    apart = (wide - other).square().mean(1).sqrt().max()
    return float(apart / rms) if apart > _SHARE_OF_SPREAD * torch.maximum(spread, least) else 0.0


def _finite_in_both(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Zero non-finite and masked values; return both in float64, and whether the same places were zeroed."""
    wide, other = a.double(), b.double()
    finite, others = wide.abs() < _BEYOND, other.abs() < _BEYOND
    return wide.where(finite, 0.0), other.where(others, 0.0), torch.equal(finite, others)
