"""Receptive fields: the part of the input on which a unit of a layer can depend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from invariscope.anatomy.field_by_gradient import by_gradient
from invariscope.anatomy.field_of_chain import AxisWindow, of_chain
from invariscope.common.autocast import without_autocast
from invariscope.common.registry import unknown

METHODS = ("auto", "analytic", "gradient")


@dataclass(frozen=True)
class ReceptiveField:
    """The window of the input on which each unit of a layer depends, per axis of the image.

    Unit k sees the pixels first_start + k·jump to first_start + k·jump + size − 1. Pixels are counted
    from 0; those outside the image are padding.

    Args:
        size: extent of a unit's window, in pixels.
        jump: distance between the windows of adjacent units, in pixels.
        first_centre: centre of the window of unit 0.
        method: "analytic" or "gradient".
    """

    size: tuple[int, ...]
    jump: tuple[int, ...]
    first_centre: tuple[float, ...]
    method: str

    @classmethod
    def of(cls, axes: Sequence[AxisWindow], method: str) -> ReceptiveField:
        """Return the receptive field given by one window per axis."""
        sizes, jumps, centres = zip(*((a.size, a.jump, a.centre) for a in axes), strict=True)
        return cls(sizes, jumps, centres, method)

    @property
    def first_start(self) -> tuple[int, ...]:
        """First pixel of the window of unit 0; negative if it is padding."""
        return tuple(
            round(centre - (size - 1) / 2) for centre, size in zip(self.first_centre, self.size, strict=True)
        )

    def interior(self, image: Sequence[int]) -> tuple[range, ...]:
        """Return, per axis, the units whose windows lie inside an image of this size.

        >>> ReceptiveField((18,), (4,), (1.5,), "analytic").interior((32,))
        (range(2, 6),)
        """
        return tuple(
            range(max(0, math.ceil(-start / jump)), (pixels - size - start) // jump + 1)
            for start, jump, size, pixels in zip(self.first_start, self.jump, self.size, image, strict=True)
        )


@without_autocast()
def receptive_field(
    model: nn.Module, layer: str, input_shape: Sequence[int], *, method: str = "auto"
) -> ReceptiveField:
    r"""Return the size, spacing and position of the windows that the units of a layer see.

    .. math:: s' = s + (k - 1)\,d\,j, \quad c' = c + \left(\frac{(k - 1)\,d}{2} - p\right) j, \quad j' = r\,j

    along a chain of convolutions and pools with kernel k, dilation d, padding p and stride r, from s = j = 1
    and c = 0 at the input. For other models, a unit sees the pixels with a non-zero gradient, computed in a
    copy in which weights are made positive and maxima are replaced by means, so that nothing cancels.

    Caveats: the window is what a unit can depend on. Most of its response comes from the centre, and trained
    weights may ignore the rest. Only method="gradient" takes functional operations into account.

    Args:
        model: a `torch.nn.Module`.
        layer: dotted name of a module.
        input_shape: shape of one input, (C, H, W); also (C, length) or (C, D, H, W).
        method: "analytic" for chains of modules, "gradient" for any model, "auto": the first that applies.
    Raises:
        ValueError: an unknown layer or method; a layer without positions, or whose units see the whole image
            or windows of different sizes; a model that is not a chain, for "analytic".
        TypeError: the model is not a module.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    >>> receptive_field(net, "2", (1, 8, 8))
    ReceptiveField(size=(4, 4), jump=(2, 2), first_centre=(0.5, 0.5), method='analytic')
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    shape = _checked(input_shape)
    axes = None if method == "gradient" else of_chain(model, layer, shape)
    if axes is not None:
        return ReceptiveField.of(axes, "analytic")
    if method == "analytic":
        raise ValueError(
            f"the part of the model up to {layer!r} is not a chain of convolutions, pools and pointwise "
            "modules: use method='gradient'"
        )
    return ReceptiveField.of(by_gradient(model, layer, shape), "gradient")


def _checked(input_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(size) for size in input_shape)
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise ValueError(
            f"input_shape must be the shape of one input, channels first, such as (3, 32, 32); got {shape}"
        )
    return shape
