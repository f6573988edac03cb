"""What the statistics may know of a transform: statistics know arrays, and no transforms."""

from __future__ import annotations

from functools import partial

import numpy as np

from invariscope.statistics.group import ActingElements
from invariscope.transforms._linear import linear_parts
from invariscope.transforms.base import Transform


def acting_elements(transform: Transform, *, seed: int) -> ActingElements:
    """Labels, group table and matrices of a transform's elements, the latter two made when asked for."""
    return ActingElements(transform.labels, transform.table, partial(_linear, transform, seed))


def _linear(transform: Transform, seed: int, indices: np.ndarray, keys: np.ndarray) -> np.ndarray | None:
    return linear_parts(transform, indices, seed, keys)
