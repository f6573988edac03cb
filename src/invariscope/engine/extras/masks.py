"""Detect masked scores: responses at -inf, or near the lowest number of their format."""

from __future__ import annotations

import torch
from torch import Tensor

# Thresholds for masked scores: below any real response, with a margin for models that add to or scale scores.
_LOWEST = {torch.float16: -65000.0}
_LOWEST_WIDE = -1e37

# Operations that write -inf at given positions, which may differ between samples.
_MASKING = frozenset(
    ["add", "index_fill", "masked_fill", "masked_scatter", "max", "maximum", "min", "minimum", "sub", "where"]
)
# Operations that turn ordinary numbers into -inf, even in layers with the shape of masked scores.
_DIVERGING = frozenset(["log", "log10", "log1p", "log2", "logit", "logsumexp", "reciprocal"])


class Masks:
    """Detector of masked scores among the responses of a run.

    Attributes:
        places: positions of -inf, for layers that count as masked only as long as all inputs share them.
        shapes: unit shapes of masked scores, by which operations on them are recognised.
    """

    def __init__(self) -> None:
        self.places: dict[tuple[str, int], Tensor] = {}
        self.shapes: set[tuple[int, ...]] = set()

    def reason(self, key: tuple[str, int], values: Tensor, shown: Tensor, *, kind: str, before: bool) -> str:
        """Return why a layer's responses count as masked scores; "" if they do not.

        Args:
            values: (row, unit...) responses to inputs.
            shown: the rows to search for the lowest response.
            kind: the module's class, or "function add".
            before: whether earlier responses were read without finding a mask.
        """
        lowest, floor = float(shown.amin()) if shown.numel() else 0.0, _LOWEST.get(values.dtype, _LOWEST_WIDE)
        if not lowest <= floor or float(values.amax()) >= -floor:  # large responses of both signs are no mask
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
        return "-inf at the same positions for all inputs, as in masked scores"

    def still_masked(self, key: tuple[str, int], values: Tensor) -> bool:
        """Return whether -inf is still at the same positions as when the layer was excluded."""
        return key not in self.places or self._same(self.places[key], values)

    @staticmethod
    def _same(places: Tensor, values: Tensor) -> bool:
        return values.shape[1:] == places.shape and bool(((values == -torch.inf) == places).all())
