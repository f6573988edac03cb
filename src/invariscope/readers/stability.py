"""Models whose response to an input depends on chance, or on the other inputs of the batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.readers._prediction import Prediction
from invariscope.readers.base import LayerKey, Precision, Reader, Reading

_BATCH = 4
# A repeated forward of equal shape repeats its rounding too, up to what parallel sums on a GPU do.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 5e-2


@dataclass(frozen=True)
class Dependence:
    """What the response to an input depends on besides the input; false if on nothing.

    Args:
        chance: how much a repeated forward differs, as a share of the layer's rms; 0 within rounding.
        neighbours: how much the response to an input changes with the others of its batch, likewise.
        chance_layer: the first layer that differs, if any.
        neighbours_layer: likewise.
    """

    chance: float = 0.0
    neighbours: float = 0.0
    chance_layer: str = ""
    neighbours_layer: str = ""

    def __bool__(self) -> bool:
        return bool(self.chance or self.neighbours)

    def __str__(self) -> str:
        parts = []
        if self.chance:
            parts.append(
                f"the model's response depends on chance: the same inputs gave different responses, first in "
                f"{self.chance_layer!r} (by up to {self.chance:.2g} of a layer's rms)."
            )
        if self.neighbours:
            parts.append(
                f"the model's response to an input depends on the others of its batch, first in "
                f"{self.neighbours_layer!r} (by up to {self.neighbours:.2g} of a layer's rms)."
            )
        return " ".join(parts) or "the response to an input depends on nothing but the input"


def depends_on_batch(
    reader: Reader,
    x: Tensor,
    *,
    device: str | None = None,
    precision: Precision = "float32",
    prediction: Prediction | None = None,
) -> Dependence:
    """Forwards the same inputs twice, then the first and the last of them among other neighbours.

    Batches are of equal size and the compared inputs keep their places, so that rounding is the same. A
    dependence on neighbours can only show if x holds different inputs; where chance rules, neighbours are not
    looked at.

    Args:
        reader: the model.
        x: (batch, ...) inputs; up to four are used.
        device: as in `Reader.open`.
        precision: as in `Reader.open`.
        prediction: as an inspection of such inputs found it; None: the reader inspects them.
    """
    if prediction is None:
        prediction = reader.inspect(x, device=device, precision=precision).prediction
    rows = x[torch.arange(_BATCH, device=x.device) % len(x)]
    others = rows.clone()
    others[1:-1] = _another(rows)
    with reader.open(device=device, precision=precision) as forward:
        first, again, moved = (_responses(forward, batch, prediction) for batch in (rows, rows, others))
    chance, chance_layer = _largest(first, again, lambda values: values)
    if chance:
        return Dependence(chance=chance, chance_layer=chance_layer)
    neighbours, layer = _largest(first, moved, lambda values: values[[0, -1]])
    return Dependence(neighbours=neighbours, neighbours_layer=layer)


def _another(rows: Tensor) -> Tensor:
    """A row that differs from those in the middle, if there is one."""
    middle = rows[1:-1]
    different = [row for row in rows if not any(torch.equal(row, other) for other in middle)]
    return different[0] if different else rows[0]


def _responses(forward: Callable[..., object], x: Tensor, prediction: Prediction) -> dict[LayerKey, Tensor]:
    found: dict[LayerKey, Tensor] = {}

    def keep(reading: Reading) -> None:
        if reading.values is not None and reading.alias_of is None:
            found[reading.layer, reading.call] = reading.values.detach().clone()

    returned = forward(x, keep)
    with suppress(ValueError):  # without a prediction, the layers alone are compared
        found["output", -1] = prediction.of(returned, len(x)).detach().clone()
    return found


def _largest(
    a: dict[LayerKey, Tensor], b: dict[LayerKey, Tensor], rows: Callable[[Tensor], Tensor]
) -> tuple[float, str]:
    """The largest difference beyond rounding, and the first layer that has one."""
    sizes = [(key[0], _difference(rows(a[key]), rows(b[key]))) for key in a if key in b]
    beyond = [(layer, size) for layer, size in sizes if size]
    return max((size for _, size in beyond), default=0.0), next((layer for layer, _ in beyond), "")


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the rms; 0 within rounding, or where a value is not finite in both."""
    if a.shape != b.shape:
        return float("inf")
    if torch.equal(a, b):
        return 0.0
    wide, other = a.double().nan_to_num(), b.double().nan_to_num()
    scale = wide.square().mean().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    size = float((wide - other).abs().max() / scale) if a.numel() else 0.0
    return size if size > _TOLERANCE.get(a.dtype, _COARSE) else 0.0
