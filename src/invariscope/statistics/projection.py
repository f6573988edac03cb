"""A reproducible random projection of large layers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, Stream

_ORDER, _SIGN = 0, 1  # slots of a unit's draw


def projected(responses: Tensor, dims: int, *, seed: int) -> Tensor:
    """Return (row, min(unit, dims)) responses in float64: unchanged, or as `dims` signed sums of units.

    Every unit is added to one of the sums with a random sign, and the sums have equally many units, up to
    one. The projection preserves squared lengths on average.

    Args:
        responses: (row, unit) of one layer.

    >>> projected(torch.ones(1, 2), 3, seed=0)
    tensor([[1., 1.]], dtype=torch.float64)
    """
    units = responses.shape[1]
    if units <= dims:
        return responses.double()
    place, sign = (torch.from_numpy(part).to(responses.device) for part in _directions(units, dims, seed))
    sums = torch.zeros(len(responses), dims, dtype=torch.float64, device=responses.device)
    return sums.index_add_(1, place, responses.double() * sign)


@lru_cache(maxsize=128)
def _directions(units: int, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (unit,) the sum that each unit enters, and its sign."""
    draws = Draws(seed, np.arange(units), 2, Stream.PROJECTION).uniform()
    order = np.argsort(draws[:, _ORDER], kind="stable")
    place = np.empty(units, np.int64)
    place[order] = np.arange(units) % dims
    return place, np.where(draws[:, _SIGN] < 0.5, -1.0, 1.0)
