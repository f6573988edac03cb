"""What the statistics may know of a transform: statistics know arrays, and no transforms."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from invariscope.block import ActingElements
from invariscope.transforms.base import Transform
from invariscope.transforms.elements import Elements
from invariscope.transforms.machinery.linear import linear_parts


def acting_elements(transform: Transform, *, seed: int) -> ActingElements:
    """Labels, group table and matrices of a transform's elements, the latter two made when asked for."""
    return ActingElements(transform.labels, transform.table, partial(_linear, transform, seed))


def _linear(transform: Transform, seed: int, indices: np.ndarray, keys: np.ndarray) -> np.ndarray | None:
    return linear_parts(transform, indices, seed, keys)


def act_on_maps(
    transform: Transform,
    input_size: tuple[int, ...],
    seed: int,
    maps: Tensor,
    indices: np.ndarray,
    keys: np.ndarray,
    inverse: bool,
) -> Tensor:
    """Apply the elements, or their inverses, to feature maps of inputs of this size."""
    size = (input_size[0], input_size[1]) if len(input_size) == 2 else None
    return transform.act(maps, inverse=inverse, input_size=size, indices=indices, keys=keys, seed=seed)


def as_it_is() -> Transform:
    """Return the transform whose only element changes nothing."""
    return Elements([_same], labels=["as it is"], identity=0)


def _same(x: Tensor) -> Tensor:
    return x
