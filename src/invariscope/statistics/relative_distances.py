"""How far each transformed response lies from the untransformed one, also in units of its norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.finite import finite
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class RelativeDistances(SampleStatistic):
    """‖a(t_j x_i) − a(x_i)‖ of every sample and element, and ‖a(x_i)‖.

    Columns: "gap" (sample, element) and "size" (sample,); "distance" (sample, element), their ratio, NaN
    where a(x_i) is zero; and "null" (sample, element), the gap from the partner's a(z), NaN where there is
    none. Needs the responses to the probe "identity".
    """

    paired: ClassVar[bool] = True

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The distances of each sample of the block."""
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        orbits, rest = block.orbits(), block.probe("identity")[:, 0]
        gaps, sizes, null = [], [], []
        # One sample at a time: a float64 copy of a whole block would be large.
        for sample, partner in enumerate(partners.tolist()):
            own, other = finite(rest[sample]), rest[max(partner, 0)].double()
            moved = finite(orbits[sample])
            gaps.append(_gaps(moved, own))
            sizes.append(own.norm())
            null.append(_gaps(moved, other) if partner >= 0 else torch.full_like(gaps[-1], torch.nan))
        gap, size = torch.stack(gaps), torch.stack(sizes)
        distance = torch.where(size[:, None] > 0, gap / size[:, None], torch.nan)
        return {"gap": gap, "size": size, "distance": distance, "null": torch.stack(null)}


def _gaps(moved: Tensor, rest: Tensor) -> Tensor:
    """(element,) ‖moved − rest‖."""
    return (moved - rest).flatten(1).norm(dim=1)
