"""How far the response to a transformed input is from the transformed response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block
from invariscope.statistics.kept_positions import kept_positions
from invariscope.statistics.sample_table import SampleStatistic


@dataclass(frozen=True)
class UndoneErrors(SampleStatistic):
    """‖a(t_j x_i) − t_j a(x_i)‖ / ‖t_j a(x_i)‖ of every sample and element, over a layer's units.

    In the table's column "error", (sample, element): NaN for the identity, and "zero", (sample,): how many
    elements have a zero denominator, and NaN for it. Needs the responses to the probe "identity".

    Args:
        mask: leave out the units of t_j a(x_i) whose content comes from outside the image.
    """

    mask: bool = True

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Yes."""
        return True

    def rows(self, block: Block) -> Mapping[str, Tensor | np.ndarray]:
        """The errors of each sample of the block."""
        expected = block.moved(block.probe("identity")[:, 0])
        gaps = block.orbits() - expected
        if self.mask:
            kept = kept_positions(block, inverse_first=not block.restored)
            gaps, expected = gaps * kept, expected * kept
        error, size = _norms(gaps), _norms(expected)
        others = np.arange(block.elements) != block.probes["identity"][0]
        error = torch.where(size > 0, error / size, torch.nan)
        error[:, torch.from_numpy(~others).to(error.device)] = torch.nan
        return {"error": error, "zero": (size[:, torch.from_numpy(others).to(size.device)] == 0).sum(1)}


def _norms(maps: Tensor) -> Tensor:
    """(sample, element) Euclidean norms over the units, in float64."""
    return torch.linalg.vector_norm(maps.flatten(2), dim=2, dtype=torch.float64)
