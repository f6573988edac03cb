"""Squared norms of the input gradient, from responses to tiny displacements in random directions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.finite import finite
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class ProbeGradients(SampleStatistic):
    """‖f(x + h·u) − f(x − h·u)‖² / (4h²) of every sample and direction u, in column "square".

    With u isotropic and of norm √d its mean over directions is ‖J‖_F², up to terms of order h².

    Args:
        probe: name of the probe: inputs displaced forward along each direction, then those displaced back.
        step: h.
    """

    probe: str
    step: float

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The squared norms of each sample of the block."""
        responses = block.probe(self.probe)
        draws = responses.shape[1] // 2
        gaps = finite(responses[:, :draws]) - finite(responses[:, draws:])
        return {"square": gaps.flatten(2).square().sum(2) / (4 * self.step**2)}
