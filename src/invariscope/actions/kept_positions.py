"""Find the units of a layer that return to their places if an action and then its inverse are applied."""

from __future__ import annotations

import torch
from torch import Tensor

from invariscope.block import Block

LOST = 1e-3  # tolerance for a map of ones: zero padding makes it smaller at positions that leave the image
_ASTRAY_PX = 0.5  # tolerance in pixels, for padding that fills in content from elsewhere


def kept_positions(block: Block, *, inverse_first: bool = False) -> Tensor:
    """Return a (sample, element, unit...) mask of units whose own content returns after t and then t⁻¹.

    The action and its inverse are applied to a map of ones; units whose value is 1 again are kept. If all
    units are kept, because the padding repeats or mirrors the border, maps of the row and column numbers are
    used instead; units whose numbers return to within half a pixel are kept.

    Args:
        block: block of the layer, which provides its shape and the action.
        inverse_first: apply t⁻¹ and then t, for units of t a(x).
    Returns:
        A mask that broadcasts against the responses: its sample axis has size 1 if elements are the same for
        all samples; otherwise, its channel axis does.
    Raises:
        NotApplicableError: the elements have no action, or no inverse, on this layer.
    """
    ones, *ramps = _patterns(block)
    kept = _error(block, ones, inverse_first) <= LOST
    blind = kept.flatten(1).all(1)
    if blind.any():
        for ramp in ramps:
            kept[blind] &= (_error(block, ramp, inverse_first) <= _ASTRAY_PX)[blind]
    return kept


def _error(block: Block, pattern: Tensor, inverse_first: bool) -> Tensor:
    """Return the (sample, element, unit...) change of a (unit...) map under the action and its inverse."""
    samples = slice(None) if block.per_sample else slice(1)
    count = len(block.indices[samples])
    maps = pattern.expand(count, block.elements, *pattern.shape)
    there = block.acted(maps, inverse=inverse_first, samples=samples)
    return (block.acted(there, inverse=not inverse_first, samples=samples) - maps).abs()


def _patterns(block: Block) -> list[Tensor]:
    """Return a map of ones and, for feature maps (C, H, W), maps of the row and column numbers."""
    shape, device = block.values.shape[1:], block.values.device
    dtype = torch.float64 if block.values.dtype == torch.float64 else torch.float32
    if len(shape) != 3:
        return [torch.ones(shape, dtype=dtype, device=device)]
    # Transforms that draw per sample move all channels alike, so one suffices and is much cheaper.
    ones = torch.ones((1, *shape[1:]) if block.per_sample else shape, dtype=dtype, device=device)
    rows, columns = (torch.arange(size, dtype=dtype, device=device) for size in shape[1:])
    return [ones, rows[:, None] * ones, columns * ones]
