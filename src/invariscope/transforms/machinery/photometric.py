"""The common base of families that change the values of images and leave pixels in their places."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.common.wording import listed
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.checks import need_images, number, numbers_from
from invariscope.transforms.machinery.each_element import by_element, widened
from invariscope.transforms.machinery.matrices import compose, group_table, rotated
from invariscope.transforms.machinery.traits import Inputs, Slider

_SLACK = 1e-3  # of the range: resizing with antialiasing exceeds it by rounding errors
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


@dataclass(frozen=True)
class Dial:
    """The number that distinguishes the elements of a photometric family.

    Args:
        option: name of the option that holds one number per element.
        parameter: name of the parameter, with its unit.
        neutral: the number that changes nothing; None if there is none.
        opposite: returns the number of the inverse element; None if elements have no inverse.
        period: numbers that differ by this amount describe the same element; the elements then compose by
            adding numbers.
    """

    option: str
    parameter: str
    neutral: float | None
    opposite: Callable[[float], float] | None = None
    period: float | None = None


@dataclass(frozen=True, kw_only=True)
class Photometric(Transform):
    """A transform of images (n, C, H, W) that changes values.

    A subclass defines `dial`, `examples`, `_kept`, `_label` and `_changed`.

    Args:
        low: value of black.
        high: value of white.
    """

    inputs: ClassVar[Inputs] = Inputs(low=0.0, high=1.0)
    acts_on_maps: ClassVar[bool] = False
    dial: ClassVar[Dial]
    channels: ClassVar[tuple[int, ...]] = ()  # numbers of channels that are accepted; () for any

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low, high = value_range(self.low, self.high)
        self._keep(low=low, high=high, **{self.dial.option: self._kept()})

    @abstractmethod
    def _kept(self) -> tuple[float, ...]:
        """Return one number per element; raise for invalid values."""

    @abstractmethod
    def _label(self, value: float) -> str:
        """Return the name of the element with this number."""

    @abstractmethod
    def _changed(self, images: Tensor, value: float) -> Tensor:
        """Return images (row, C, H, W), of values from 0 to 1, changed by one element; clipping follows."""

    def _traits(self) -> Traits:
        numbers = self._numbers
        neutral = [self._is_neutral(value) for value in numbers]
        identity = neutral.index(True) if any(neutral) else None
        return Traits(
            tuple(map(self._label, numbers)),
            {self.dial.parameter: numbers},
            identity=identity,
            exact=tuple(neutral),
            invertible=self.dial.opposite is not None,
            slider=None if self.dial.neutral is None else self._slider(),
            added_by=(self.dial.option,),
        )

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point images (n, C, H, W) with values from `low` to `high`."""
        need_images(type(self).__name__, x)
        need_channels(type(self).__name__, x, self.channels)
        need_values(type(self).__name__, x, self.low, self.high)

    def inverse(self) -> Transform:
        """Return the opposite elements; raise TypeError if clipping or averaging lost values."""
        opposite = self.dial.opposite
        if opposite is None:
            raise no_inverse(self, "Keep the untransformed samples, or declare the inverses of callables")
        return self._at([opposite(value) for value in self._numbers])

    def table(self) -> np.ndarray | None:
        """Return the group table if the elements are evenly spaced over a period; None otherwise."""
        if self.dial.period is None:
            return None
        return group_table(rotated(np.array(self._numbers) * 360 / self.dial.period), compose)

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Change the values of each image, and clip them to the range."""
        refuse_maps(self, motion)
        numbers = self.inverse()._numbers if motion.inverse else self._numbers  # type: ignore[attr-defined]

        def change(images: Tensor, element: int) -> Tensor:
            if self._is_neutral(numbers[element]):
                return images
            scaled = unit_range(widened(images), self.low, self.high)
            changed = self._changed(scaled, numbers[element]).clamp(0, 1)
            return from_unit_range(changed, self.low, self.high).to(images.dtype)

        return by_element(values, motion, change)

    @property
    def _numbers(self) -> tuple[float, ...]:
        return getattr(self, self.dial.option)

    def _slider(self) -> Slider:
        return Slider(self.dial.parameter, self._numbers, self._at, self.dial.period)

    def _at(self, numbers: Sequence[float]) -> Transform:
        return replace(self, **{self.dial.option: tuple(numbers)})

    def _is_neutral(self, value: float) -> bool:
        distance = value if self.dial.neutral is None else value - self.dial.neutral
        if self.dial.period is not None:
            distance = distance % self.dial.period
        return self.dial.neutral is not None and distance == 0


@dataclass(frozen=True, kw_only=True)
class Scaling(Photometric):
    """A photometric family whose elements are factors of at least 0, of which 1 changes nothing.

    A subclass defines `dial`, `factors`, `examples` and `_changed`.
    """

    def _kept(self) -> tuple[float, ...]:
        return numbers_from(0, self.dial.option, self._numbers)

    def _label(self, value: float) -> str:
        return f"{self.dial.parameter.removesuffix('_factor')} × {value:.4g}"


def value_range(low: Any, high: Any) -> tuple[float, float]:
    """Return the values of black and white; raise ValueError unless white is brighter."""
    black, white = number("low", low), number("high", high)
    if white <= black:
        raise ValueError(f"high must be greater than low; got low={black:g} and high={white:g}.")
    return black, white


def unit_range(x: Tensor, low: float, high: float) -> Tensor:
    """Return values from `low` to `high` as values from 0 to 1."""
    return (x if (low, high) == (0, 1) else (x - low) / (high - low)).clamp(0, 1)


def from_unit_range(x: Tensor, low: float, high: float) -> Tensor:
    """Return values from 0 to 1 as values from `low` to `high`."""
    return x if (low, high) == (0, 1) else low + x * (high - low)


def luma(images: Tensor) -> Tensor:
    """Return the brightness (row, 1, H, W) of RGB images, or the mean over any other number of channels."""
    if images.shape[1] != len(LUMA):
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def refuse_maps(transform: Transform, motion: Motion) -> None:
    """Raise TypeError for motions of feature maps."""
    if motion.on_maps:
        raise TypeError(
            f"{type(transform).__name__} only acts on inputs: its action on feature maps is not known. "
            "Measure invariance, or declare the action that you mean: Elements([...], actions=[...])."
        )


def need_channels(family: str, x: Tensor, channels: tuple[int, ...]) -> None:
    """Raise TypeError unless images have one of these numbers of channels; () accepts any."""
    if channels and x.shape[1] not in channels:
        wanted = listed(channels, separator=" or ")
        raise TypeError(
            f"{family} acts on images with {wanted} channel{'s' * (channels != (1,))}; got shape "
            f"{tuple(x.shape)}."
        )


def need_values(family: str, x: Tensor, low: float, high: float) -> None:
    """Raise ValueError unless the values lie in the range, apart from rounding."""
    if x.is_meta:
        return
    least, most = (float(end) for end in x.detach().aminmax())
    slack = _SLACK * (high - low)
    if least >= low - slack and most <= high + slack:
        return
    if least != least or most != most:
        return  # what to do with NaN is decided where inputs are validated
    came = f"{family} acts on values from {low:g} to {high:g}; got values from {least:.4g} to {most:.4g}."
    if least >= 0:
        raise ValueError(
            f"{came} Scale the images first, such as x / 255, or give their range: {family}(..., low=0, "
            "high=255)."
        )
    raise ValueError(
        f"{came} If the images are normalised, give them as they are before normalisation, and normalise in "
        f"preprocess=, which runs after the transform. Otherwise give their range: {family}(..., low=-1, "
        "high=1)."
    )
