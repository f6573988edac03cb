"""Displacements and predictions per sample and element along three directions with steps of equal length."""

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
    """Base class: reads the orbit, noise, and steps toward another sample, one of each per element."""

    paired = True
    reads = (Untransformed(), EqualNoise(), TowardNeighbour())

    def ways(self, block: Block) -> Iterator[tuple[str, Tensor]]:
        """Yield each of `WAYS` with its responses (sample, element, unit...)."""
        others = (block.probe(probe.name) for probe in self.reads[1:])
        yield from zip(WAYS, (block.orbits(), *others), strict=True)


@dataclass(frozen=True)
class ResponseCurves(_OfWays):
    """‖f(x') − f(x)‖² per element for the moved input, noise, and a step toward another sample.

    Columns, float64: `WAYS` (sample, element); "apart" (sample,) ‖f(x) − f(z)‖² of the sample and its
        partner,
    NaN without a partner; "radius" (sample, element) ‖x' − x‖, if the engine has measured it.
    """

    measures_inputs = True

    def rows(self, block: Block) -> Columns:
        """Return squared distances per sample of the block."""
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
    """Predictions for the same inputs; no columns if the outputs are not class scores.

    Columns (sample, element), named by `predictions` and suffixed with one of `WAYS`.
    """

    def rows(self, block: Block) -> Columns:
        """Return flags as 0 or 1, and probabilities."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            return {}
        each = ((way, predictions(block, outputs)) for way, outputs in self.ways(block))
        return {f"{name}.{way}": part for way, found in each for name, part in found.items()}
