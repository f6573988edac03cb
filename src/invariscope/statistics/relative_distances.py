"""How far each transformed response lies from the untransformed one, in units of its norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block
from invariscope.statistics.finite import finite
from invariscope.statistics.sample_table import SampleStatistic


@dataclass(frozen=True)
class RelativeDistances(SampleStatistic):
    """‖a(t_j x_i) − a(x_i)‖ / ‖a(x_i)‖ of every sample and element.

    Columns: "distance" (sample, element), NaN where a(x_i) is zero, and "null", the same with the
    partner's a(z) in place of a(x_i), NaN where there is none. Needs the responses to the probe "identity".
    """

    paired: ClassVar[bool] = True

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The distances of each sample of the block."""
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        orbits, rest = block.orbits(), block.probe("identity")[:, 0]
        distance, null = [], []
        # One sample at a time: a float64 copy of a whole block would be large.
        for sample, partner in enumerate(partners.tolist()):
            own, other = finite(rest[sample]), rest[max(partner, 0)].double()
            moved = finite(orbits[sample])
            distance.append(_relative(moved, own))
            null.append(_relative(moved, other) if partner >= 0 else torch.full_like(distance[-1], torch.nan))
        return {"distance": torch.stack(distance), "null": torch.stack(null)}


def _relative(moved: Tensor, rest: Tensor) -> Tensor:
    """(element,) ‖moved − rest‖ / ‖rest‖; NaN where rest is zero."""
    size = rest.norm()
    gaps = (moved - rest).flatten(1).norm(dim=1)
    return torch.where(size > 0, gaps / size, torch.nan)
