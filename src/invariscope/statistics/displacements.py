"""How far the transformation, and noise, move each sample's response from the untransformed one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.discrepancy import squared_distances
from invariscope.statistics.kept.sample_table import SampleStatistic
from invariscope.statistics.probes import EqualNoise, Probe, Untransformed


@dataclass(frozen=True)
class SampleDisplacements(SampleStatistic):
    """‖f(x') − f(x)‖² for every moved and every noisy version x' of a sample, in float64.

    Columns: "moved" (sample, element) and "noisy" (sample, draw), the identity element left out; and
    with a partner's untransformed response in place of the sample's own, "moved_null", "noisy_null".

    Args:
        reads: the untransformed input, and the probe that gives the noisy versions.
    """

    paired = True
    reads: tuple[Probe, ...] = (Untransformed(), EqualNoise())

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Squared distances of each sample of the block."""
        rest, found = block.rest(), {}
        for name, values in versions(block, self.reads[1]).items():
            found[name] = squared_distances(values, rest)
            found[f"{name}_null"] = block.if_paired(squared_distances(values, block.of_partners(rest)))
        return found


def versions(block: Block, noise: Probe) -> dict[str, Tensor]:
    """(sample, version, unit...) responses to the moved and the noisy inputs, without the identity's."""
    return {"moved": block.orbits()[:, block.moving], "noisy": block.probe(noise.name)[:, block.moving]}
