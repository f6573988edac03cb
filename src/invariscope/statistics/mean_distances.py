"""Mean distances along orbits and across samples, whatever the distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from invariscope.block import Block


@dataclass(frozen=True)
class MeanDistances:
    """Mean distance of two responses to one sample, and of two samples' responses to one element.

    Args:
        along, across: (replicate, vector) NaN where a vector has no defined pair.
        undefined: how many responses have no direction (the zero vectors of a cosine).
        decisive: (3,) number of clusters of samples, Σ d and Σ d² over them, d what each adds to the distance
            along orbits of the whole layer.
        null: (vector,) expected distance along rows of independently drawn samples, where it is known.
    """

    along: np.ndarray
    across: np.ndarray
    decisive: np.ndarray
    undefined: int = 0
    null: np.ndarray | None = None


@dataclass(frozen=True)
class LayerDistances:
    """The distances of whole layers, and of the channels of feature maps.

    Args:
        layer: of one vector, all units.
        channels: of a vector a channel; None for layers whose units have no positions.
    """

    layer: MeanDistances
    channels: MeanDistances | None


def as_channels(block: Block) -> Tensor:
    """(sample, element, channel, position) float64; a flat layer is one channel."""
    orbits = block.orbits().double()
    if orbits.ndim < 4:
        return orbits.reshape(*orbits.shape[:2], 1, -1)
    return orbits.flatten(3)
