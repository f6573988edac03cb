"""Loudness: multiplication by a factor, given in decibels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.checks import numbers_from
from invariscope.transforms.machinery.each_element import by_element, widened
from invariscope.transforms.machinery.photometric import refuse_maps
from invariscope.transforms.machinery.signals import need_signals
from invariscope.transforms.machinery.traits import Inputs, Slider

_LARGEST = 200.0  # decibels: factors from 1e-10 to 1e10


@dataclass(frozen=True)
class Gain(Transform):
    r"""Change of the loudness of a signal, in decibels.

    .. math:: t_j x = 10^{g_j / 20}\, x

    for signals (n, time) or (n, channels, time). A gain of 0 dB changes nothing, +6 dB doubles the amplitude
    and -20 dB divides it by 10. The opposite gain undoes an element. There is no action on feature maps.

    Caveats: values are not clipped, so a positive gain may exceed the range from -1 to 1 that a recording can
    hold. If the signal is normalised or turned into a log spectrogram in `preprocess=`, a gain changes
    nothing or adds a constant.

    Args:
        decibels: one gain from -200 to 200 dB per element.
    Raises:
        TypeError: `decibels` is not a list of numbers; inputs are not floating-point signals; an action on
            feature maps is requested.
        ValueError: no gains, or one out of range.

    >>> import torch
    >>> Gain([0, 20]).orbit(torch.tensor([[0.1, -0.2]]))
    tensor([[[ 0.1000, -0.2000],
             [ 1.0000, -2.0000]]])
    """

    inputs: ClassVar[Inputs] = Inputs((2, 400))
    acts_on_maps: ClassVar[bool] = False

    decibels: Sequence[float] = (-20.0, -10.0, 0.0, 10.0)

    def __post_init__(self) -> None:
        self._keep(decibels=numbers_from(-_LARGEST, "decibels", self.decibels, most=_LARGEST))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default gains."""
        return (cls((-6, 0, 3)),)

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point signals (n, time) or (n, channels, time)."""
        need_signals("Gain", x)

    def inverse(self) -> Transform:
        """Return the opposite gains."""
        return self._at([0.0 - gain for gain in self.decibels])

    def table(self) -> None:
        """Return None: gains add up without limit, so they do not form a finite group."""

    def _traits(self) -> Traits:
        neutral = [gain == 0 for gain in self.decibels]
        return Traits(
            tuple(f"{gain:+g} dB" if gain else "0 dB" for gain in self.decibels),
            {"gain_db": tuple(self.decibels)},
            identity=neutral.index(True) if any(neutral) else None,
            exact=tuple(neutral),
            slider=Slider("gain_db", tuple(self.decibels), self._at),
            added_by=("decibels",),
        )

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Multiply each signal by the factor of its element."""
        refuse_maps(self, motion)
        sign = -1 if motion.inverse else 1

        def change(signals: Tensor, element: int) -> Tensor:
            factor = 10 ** (sign * self.decibels[element] / 20)
            return (widened(signals) * factor).to(signals.dtype)

        return by_element(values, motion, change)

    def _at(self, decibels: Sequence[float]) -> Transform:
        return replace(self, decibels=tuple(decibels))
