"""Mean distances along orbits and across samples, for any distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from invariscope.block import Block


@dataclass(frozen=True)
class MeanDistances:
    """Mean distance between two responses to one sample, and between two samples' responses to one element.

    Args:
        along, across: (replicate, vector) NaN if a vector has no defined pair.
        decisive: (3,) number of clusters of samples, Σ d and Σ d² over clusters, where d is a cluster's
            contribution to the distance along orbits of the whole layer.
        undefined: number of responses without a direction (zero vectors, for the cosine).
        null: (vector,) expected `along` if each element acted on an independently drawn sample, if known.
    """

    along: np.ndarray
    across: np.ndarray
    decisive: np.ndarray
    undefined: int = 0
    null: np.ndarray | None = None


@dataclass(frozen=True)
class LayerDistances:
    """Distances of whole layers, and of the channels of feature maps.

    Args:
        layer: distances of one vector with all units.
        channels: distances of one vector per channel; None for layers without positions.
    """

    layer: MeanDistances
    channels: MeanDistances | None


def as_channels(block: Block) -> Tensor:
    """Return (sample, element, channel, position) in float64; a flat layer is one channel."""
    orbits = block.orbits().double()
    if orbits.ndim < 4:
        return orbits.reshape(*orbits.shape[:2], 1, -1)
    return orbits.flatten(3)
