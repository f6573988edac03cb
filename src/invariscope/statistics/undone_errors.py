"""How far the response to a transformed input is from the transformed response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block
from invariscope.statistics.kept.sample_table import SampleStatistic
from invariscope.statistics.relative_errors import norms_over, zero_denominators


@dataclass(frozen=True)
class UndoneErrors(SampleStatistic):
    """‖a(t_j x_i) − t_j a(x_i)‖ / ‖t_j a(x_i)‖ of every sample and element, over a layer's units.

    As `RelativeErrors` of the spatial action: in the table's column "error", (sample, element), NaN for the
    identity and for 0/0, infinite for anything else over 0; "size", the denominators; "undefined", (sample,),
    how many other elements have a zero denominator. Needs the responses to the probe "identity".

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
        kept = kept_positions(block, inverse_first=not block.restored) if self.mask else None
        norms, still = norms_over(kept), [j for j in block.probes["identity"] if j < block.elements]
        size = norms(expected)
        error = norms(block.orbits() - expected) / size
        error[:, still] = torch.nan
        return {"error": error, "size": size, "undefined": zero_denominators(error, still)}
