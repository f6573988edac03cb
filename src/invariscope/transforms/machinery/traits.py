"""Properties of a transform's elements, and the description of one application of a transform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from invariscope.common.draws import Draws

if TYPE_CHECKING:
    from invariscope.transforms.base import Transform


@dataclass(frozen=True, eq=False)
class Motion:
    """One application of a transform to values (sample, column, ...).

    Args:
        elements: index of the element for each column, (column,) or (sample, column).
        draws: random numbers per sample and column.
        inverse: apply the inverse elements.
        on_maps: the values are feature maps, not inputs.
        input_size: (H, W) of the inputs of the feature maps, if the action depends on it.
    """

    elements: np.ndarray
    draws: Draws
    inverse: bool = False
    on_maps: bool = False
    input_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Inputs:
    """Data on which the shared tests try the examples of a family.

    Args:
        shape: shape of a sample.
        low: smallest value that the family accepts; None for any.
        high: largest value that the family accepts.
        gradients: whether gradients pass through the elements.
        package: an optional package that the elements need; "" for none.
    """

    shape: tuple[int, ...] = (6, 28, 28)
    low: float | None = None
    high: float | None = None
    gradients: bool = True
    package: str = ""


@dataclass(frozen=True)
class Axis:
    """The axis of the data along which a transform acts.

    Args:
        position: the axis, with samples on axis 0; negative positions count from the end.
        entries: length of the axis; None for any length.
        multiples: whether the length may be any multiple of `entries`.
    """

    position: int
    entries: int | None
    multiples: bool = False

    def fits(self, length: int) -> bool:
        """Return whether the transform accepts an axis of this length."""
        if self.entries is None:
            return True
        return length % self.entries == 0 if self.multiples else length == self.entries


@dataclass(frozen=True, eq=False)
class Slider:
    """The single number in which a transform's elements differ.

    Args:
        name: name of the parameter, with its unit.
        values: one per element.
        at: function that returns the same transform with elements at other values.
        period: values that differ by this amount describe the same element; None if there is no period.
    """

    name: str
    values: tuple[float, ...]
    at: Callable[[Sequence[float]], Transform]
    period: float | None = None


@dataclass(frozen=True, eq=False)
class Traits:
    """Properties of a transform's elements.

    Args:
        labels: a short name per element, such as "22.5°".
        parameters: one value per element, by parameter name; names include units, such as `angle_deg`.
        identity: index of the element that changes nothing; None if there is none.
        exact: which elements move whole pixels of square images, bit for bit; () if none do.
        per_sample: whether elements differ between samples, for example because of jitter.
        invertible: whether every element has a known inverse.
        slider: the single number in which elements differ; None if there are several, or elements are drawn.
        acts_on: the rows and columns of images ("pixels"), or one axis of the data; None if unknown.
        resizes: whether elements return another size than that of their input; the identity element then
            returns what untransformed inputs are compared as.
        added_by: options that list the elements, or give their number; () if the number is fixed.
    """

    labels: tuple[str, ...]
    parameters: Mapping[str, tuple[float, ...]]
    identity: int | None = None
    exact: tuple[bool, ...] = ()
    per_sample: bool = False
    invertible: bool = True
    slider: Slider | None = None
    acts_on: Axis | Literal["pixels"] | None = None
    resizes: bool = False
    added_by: tuple[str, ...] = ()


def picked(values: Sequence[Any], places: Iterable[int]) -> tuple[Any, ...]:
    """Return the values at these places."""
    return tuple(values[place] for place in places)


def traits_of_draws(
    name: str,
    count: int,
    parameters: Mapping[str, float] | None = None,
    *,
    invertible: bool = False,
    acts_on: Axis | None = None,
) -> Traits:
    """Return the traits of elements that are drawn per sample, with labels "name 1", "name 2", ...

    The parameter `draw` numbers the elements; other parameters have the same value for all.
    """
    labels = tuple(f"{name} {k + 1}" for k in range(count))
    draws = {"draw": tuple(k + 1.0 for k in range(count))}
    others = {option: (float(value),) * count for option, value in (parameters or {}).items()}
    about = {"invertible": invertible, "acts_on": acts_on}
    return Traits(labels, draws | others, per_sample=True, added_by=("draws",), **about)
