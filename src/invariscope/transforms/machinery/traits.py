"""What is known of a transform's elements, and how one application of them is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from invariscope.common.draws import Draws

if TYPE_CHECKING:
    from invariscope.transforms.base import Transform


@dataclass(frozen=True, eq=False)
class Motion:
    """One application of a transform: which element moves which column of the values, and how.

    Args:
        elements: indices, (column,) for the same in all samples or (sample, column).
        draws: the per-sample random numbers, one per column.
        inverse: apply the inverse elements.
        on_maps: the values are feature maps, not inputs.
        input_size: (H, W) of the inputs that led to the feature maps, if it matters.
    """

    elements: np.ndarray
    draws: Draws
    inverse: bool = False
    on_maps: bool = False
    input_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Axis:
    """The one axis of the data along which a transform acts.

    Args:
        position: of the axis, samples being axis 0; negative positions count from the end.
        entries: length of the axis; None for any length.
        multiples: whether any multiple of that length will do.
    """

    position: int
    entries: int | None
    multiples: bool = False

    def fits(self, length: int) -> bool:
        """Return whether the transform takes data whose axis has this length."""
        if self.entries is None:
            return True
        return length % self.entries == 0 if self.multiples else length == self.entries


@dataclass(frozen=True, eq=False)
class Slider:
    """The one number that tells a transform's elements apart.

    Args:
        name: as in the transform's parameters, with its unit.
        values: one per element.
        at: returns the same transform with elements at other values.
        period: values this far apart are the same element; None if no two are.
    """

    name: str
    values: tuple[float, ...]
    at: Callable[[Sequence[float]], Transform]
    period: float | None = None


@dataclass(frozen=True, eq=False)
class Traits:
    """What is known of a transform's elements.

    Args:
        labels: a short name per element, such as "22.5°".
        parameters: by name, one value per element; units stand in the names, such as `angle_deg`.
        identity: index of the element that changes nothing; None if there is none.
        exact: which elements move whole pixels of square images, bit for bit; () if none does.
        per_sample: whether an element differs between samples, as with jitter.
        invertible: whether every element has a known inverse.
        slider: the one number that tells elements apart; None if several do, or if elements are drawn.
        acts_on: the rows and columns of images ("pixels"), or one axis of the data; None if unknown.
    """

    labels: tuple[str, ...]
    parameters: Mapping[str, tuple[float, ...]]
    identity: int | None = None
    exact: tuple[bool, ...] = ()
    per_sample: bool = False
    invertible: bool = True
    slider: Slider | None = None
    acts_on: Axis | Literal["pixels"] | None = None


def traits_of_draws(
    labels: Sequence[str], parameters: Mapping[str, float] | None = None, *, invertible: bool = False
) -> Traits:
    """Return the traits of elements that are drawn anew for each sample.

    The number of the `draw` is a parameter; further ones have the same value for all elements.
    """
    draws = {"draw": tuple(k + 1.0 for k in range(len(labels)))}
    others = {name: (float(value),) * len(labels) for name, value in (parameters or {}).items()}
    return Traits(tuple(labels), draws | others, per_sample=True, invertible=invertible)
