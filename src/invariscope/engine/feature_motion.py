"""Let statistics, which receive only arrays, apply the elements of a transform."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.block import ActingElements
from invariscope.transforms.base import Transform
from invariscope.transforms.elements import Elements
from invariscope.transforms.machinery.linear import linear_parts
from invariscope.transforms.machinery.unmoved import Unmoved, unmoved


def acting_elements(transform: Transform, *, seed: int) -> ActingElements:
    """Return the labels, group table and matrices of a transform's elements; the last two on demand."""
    whole = acting_elements(transform.of, seed=seed) if isinstance(transform, Unmoved) else None
    linear = partial(_linear_parts, transform, seed)
    return ActingElements(transform.labels, transform.table, linear, in_place_of=whole)


def _linear_parts(transform: Transform, seed: int, indices: np.ndarray, keys: np.ndarray) -> Any:
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
    """Apply the elements, or their inverses, to feature maps computed from inputs of this size."""
    size = (input_size[0], input_size[1]) if len(input_size) == 2 else None
    return transform.act(maps, inverse=inverse, input_size=size, indices=indices, keys=keys, seed=seed)


def as_it_is(instead_of: Transform) -> Transform:
    """Return the transform whose only element is the identity."""
    if instead_of.traits.resizes:
        return unmoved(instead_of, 1)
    return Elements([lambda x: x], labels=["as it is"], identity=0)
