"""Transforms that turn directions: each element has a matrix that acts on vectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from invariscope.transforms.base import Motion, Transform


class Linear(Transform):
    """A transform whose elements may act on vectors, such as velocities, through one matrix each."""

    @abstractmethod
    def linear_parts(self, motion: Motion) -> np.ndarray | None:
        """Return the matrices (column, d, d) or (sample, column, d, d); None if there are none."""


def linear_parts(transform: Transform, indices: Any, seed: int, keys: Any = None) -> np.ndarray | None:
    """Return the matrices of all elements for these samples, (sample or 1, element, d, d); None if unknown.

    >>> from invariscope.transforms import QuarterTurns
    >>> linear_parts(QuarterTurns(), np.arange(2), 0)[0, 1]  # x to the right, y down
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    if not isinstance(transform, Linear):
        return None
    found = transform.linear_parts(transform.motion_of(len(indices), indices, keys, seed))
    if found is None:
        return None
    return (found[None] if found.ndim == 3 else found) + 0.0  # turns −0 into 0
