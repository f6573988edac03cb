"""Per sample and element: how far responses move and predictions change, along three ways of equal length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.counts.prediction_counts import predictions
from invariscope.statistics.discrepancy import squared_distances
from invariscope.statistics.kept.sample_table import Columns, SampleStatistic
from invariscope.statistics.probes import EqualNoise, TowardNeighbour, Untransformed

WAYS = ("moved", "noisy", "toward")


class _OfWays(SampleStatistic):
    """What is read of each element: the orbit, the noise, and the way to another sample, one column each."""

    paired = True
    reads = (Untransformed(), EqualNoise(), TowardNeighbour())

    def ways(self, block: Block) -> Iterator[tuple[str, Tensor]]:
        """Each of `WAYS` with its responses (sample, element, unit...)."""
        others = (block.probe(probe.name) for probe in self.reads[1:])
        yield from zip(WAYS, (block.orbits(), *others), strict=True)


@dataclass(frozen=True)
class ResponseCurves(_OfWays):
    """‖f(x') − f(x)‖² for each element, and for the noise and the way to another sample that belong to it.

    Columns, float64: `WAYS` (sample, element); "apart" (sample,) ‖f(x) − f(z)‖² of the sample and its
    partner, NaN for none; "radius" (sample, element) ‖x' − x‖, where the engine has measured it.
    """

    measures_inputs = True

    def rows(self, block: Block) -> Columns:
        """Squared distances of each sample of the block."""
        rest = block.rest().flatten(1).double()
        found: dict[str, Tensor | np.ndarray] = {
            name: squared_distances(values.flatten(2), rest) for name, values in self.ways(block)
        }
        found["apart"] = block.if_paired((block.of_partners(rest) - rest).square().sum(1))
        if block.distances is not None:
            found["radius"] = block.distances[:, : block.elements]
        return found


@dataclass(frozen=True)
class PredictionCurves(_OfWays):
    """What a classifier answers to the same inputs; nothing for outputs that are no class scores.

    Columns, each (sample, element) and with one of `WAYS` behind its name: see `predictions`.
    """

    def rows(self, block: Block) -> Columns:
        """Zeros and ones, and probabilities."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            return {}
        each = ((way, predictions(block, outputs)) for way, outputs in self.ways(block))
        return {f"{name}.{way}": part for way, found in each for name, part in found.items()}
