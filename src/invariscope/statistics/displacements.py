"""Displacements of each sample's response under the transformation and under noise."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.discrepancy import squared_distances
from invariscope.statistics.kept.sample_table import SampleStatistic
from invariscope.statistics.probes import EqualNoise, Probe, Untransformed


@dataclass(frozen=True)
class SampleDisplacements(SampleStatistic):
    """‖f(x') − f(x)‖² for every transformed and every noisy version x' of a sample, in float64.

    Columns: "moved" (sample, element) and "noisy" (sample, draw), without the identity element; "moved_null"
    and "noisy_null" use the partner's untransformed response instead of the sample's own.

    Args:
        reads: the untransformed input, and the probe for the noisy versions.
    """

    paired = True
    reads: tuple[Probe, ...] = (Untransformed(), EqualNoise())

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Return squared distances per sample of the block."""
        rest, found = block.rest(), {}
        for name, values in versions(block, self.reads[1]).items():
            found[name] = squared_distances(values, rest)
            found[f"{name}_null"] = block.if_paired(squared_distances(values, block.of_partners(rest)))
        return found


def versions(block: Block, noise: Probe) -> dict[str, Tensor]:
    """Return (sample, version, unit...) responses to transformed and noisy inputs, without the identity."""
    return {"moved": block.orbits()[:, block.moving], "noisy": block.probe(noise.name)[:, block.moving]}
