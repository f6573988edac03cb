"""Masked scores: responses at -inf, or at the lowest number of their format."""

from __future__ import annotations

import torch
from torch import Tensor

# What a model adds to a masked score, or scales it by, leaves it beyond any response.
_LOWEST = {torch.float16: -65000.0}
_LOWEST_WIDE = -1e37

# They put -inf where they are told to, which may be at other places in every sample.
_MASKING = frozenset(
    ["add", "index_fill", "masked_fill", "masked_scatter", "max", "maximum", "min", "minimum", "sub", "where"]
)
# They make -inf of ordinary numbers, also in layers of the shape of masked scores.
_DIVERGING = frozenset(["log", "log10", "log1p", "log2", "logit", "logsumexp", "reciprocal"])


class Masks:
    """Finds masked scores among the responses of a run.

    Attributes:
        places: for layers that are masked scores only if all inputs have -inf at the same places: these
            places.
        shapes: unit shapes of masked scores, which later operations may divide or normalise.
    """

    def __init__(self) -> None:
        self.places: dict[tuple[str, int], Tensor] = {}
        self.shapes: set[tuple[int, ...]] = set()

    def reason(self, key: tuple[str, int], values: Tensor, shown: Tensor, *, kind: str, before: bool) -> str:
        """Why a layer is left out as masked scores; "" if it is not.

        Args:
            values: (row, unit...) responses to inputs.
            shown: those rows in which the lowest response is looked for.
            kind: the module's class, or "function add".
            before: earlier responses of the layer had no mask.
        """
        lowest, floor = float(shown.amin()) if shown.numel() else 0.0, _LOWEST.get(values.dtype, _LOWEST_WIDE)
        if not lowest <= floor or float(values.amax()) >= -floor:  # responses may be large, of either sign
            return ""
        shape, operation = tuple(values.shape[1:]), kind.removeprefix("function ")
        if lowest > -torch.inf:
            self.shapes.add(shape)
            return f"masked scores: values of {lowest:.3g} stand for -inf"
        later = shape in self.shapes and operation not in _DIVERGING
        if later or operation in _MASKING or "mask" in operation.lower():
            self.shapes.add(shape)
            return "masked scores: some are -inf"
        places = (values == -torch.inf)[0]
        if before or not self._same(places, values):
            return ""
        self.places[key] = places
        self.shapes.add(shape)
        return "-inf at the same places for all inputs, as in masked scores"

    def still(self, key: tuple[str, int], values: Tensor) -> bool:
        """Whether a layer that was left out for the places of its -inf has them there again."""
        return key not in self.places or self._same(self.places[key], values)

    @staticmethod
    def _same(places: Tensor, values: Tensor) -> bool:
        return values.shape[1:] == places.shape and bool(((values == -torch.inf) == places).all())
