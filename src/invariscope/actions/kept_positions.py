"""Which units of a layer the action brings back to their place, and which left the image on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from invariscope.block import Block

LOST = 1e-3  # of a map of ones: what padding with zeros takes from a position that leaves
_ASTRAY_PX = 0.5  # where padding repeats the border, a position that leaves comes back with another's content


def kept_positions(block: Block, *, inverse_first: bool = False) -> Tensor:
    """(sample, element, unit...) flags: whether t and then t⁻¹ return each unit's own content.

    The action is applied there and back to a map of ones: a unit is kept where 1 comes back. Where
    nothing is lost of the ones, because the padding repeats the border or mirrors it, the action is
    applied to maps that hold their own row and column instead: a unit is kept where they come back
    to within half a pixel.

    Args:
        block: gives the layer's shape and the action.
        inverse_first: t⁻¹ and then t, for units of t a(x).
    Returns:
        Flags that broadcast against the responses: one sample answers for all where elements mean
        the same for each, and otherwise one channel for all.
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
    """(sample, element, unit...) by how much the action there and back changes a (unit...) map."""
    samples = slice(None) if block.per_sample else slice(1)
    count = len(block.indices[samples])
    maps = pattern.expand(count, block.elements, *pattern.shape)
    there = block.acted(maps, inverse=inverse_first, samples=samples)
    return (block.acted(there, inverse=not inverse_first, samples=samples) - maps).abs()


def _patterns(block: Block) -> list[Tensor]:
    """Ones and, for feature maps (C, H, W), each unit's row and its column."""
    shape, device = block.values.shape[1:], block.values.device
    dtype = torch.float64 if block.values.dtype == torch.float64 else torch.float32
    if len(shape) != 3:
        return [torch.ones(shape, dtype=dtype, device=device)]
    # Families that draw per sample move all channels alike: one will do, and is much cheaper.
    ones = torch.ones((1, *shape[1:]) if block.per_sample else shape, dtype=dtype, device=device)
    rows, columns = (torch.arange(size, dtype=dtype, device=device) for size in shape[1:])
    return [ones, rows[:, None] * ones, columns * ones]
