"""Shifts of signals in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.checks import choice, numbers
from invariscope.transforms.machinery.each_element import by_element
from invariscope.transforms.machinery.photometric import refuse_maps
from invariscope.transforms.machinery.signals import need_signals
from invariscope.transforms.machinery.traits import Inputs

_FILLS = ("zeros", "wrap")


@dataclass(frozen=True)
class TimeShift(Transform):
    """Shifts of a signal by whole time steps (samples of the recording); positive shifts are delays.

    .. math:: (t_j x)(t) = x(t - s_j)

    for signals (n, time) or (n, channels, time). What is shifted out of the signal is lost, and zeros fill
    the gap; with `fill="wrap"`, the signal is circular. The opposite shift undoes an element, except for what
    was lost. A delay of 50 ms at 16 kHz is 800 steps.

    There is no action on feature maps, which are often strided in time: to measure the equivariance of layers
    that keep the time axis, use `Permutations.cyclic(n, axis=-1)`, whose cyclic shifts have one.

    Caveats: wrapping creates a jump where the ends meet. Zeros are silence in a recording, but an unusual
    value in many other signals.

    Args:
        steps: one whole number per element.
        fill: "zeros" or "wrap".
    Raises:
        TypeError: `steps` is not a list of numbers; inputs are not floating-point signals; an action on
            feature maps is requested.
        ValueError: no shifts, a fraction, a signal that is not longer than every shift, an unknown option.

    >>> import torch
    >>> TimeShift([0, 1, -2]).orbit(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[[1., 2., 3.],
             [0., 1., 2.],
             [3., 0., 0.]]])
    """

    inputs: ClassVar[Inputs] = Inputs((2, 400))
    acts_on_maps: ClassVar[bool] = False

    steps: Sequence[int] = (-800, 0, 800)
    _: KW_ONLY
    fill: str = "zeros"

    def __post_init__(self) -> None:
        found = numbers("steps", self.steps)
        for k, step in enumerate(found):
            if step != round(step):
                raise ValueError(
                    f"steps[{k}] must be a whole number of time steps; got {step:g}. Multiply seconds by the "
                    "sampling rate, and round."
                )
        self._keep(steps=tuple(map(int, found)), fill=choice("fill", self.fill, _FILLS))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return shifts filled with zeros, and circular ones."""
        return cls((0, 5, -7)), cls((0, 150), fill="wrap")

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point signals that are longer than every shift."""
        need_signals("TimeShift", x, max(map(abs, self.steps)) + 1)

    def inverse(self) -> Transform:
        """Return the opposite shifts."""
        return replace(self, steps=tuple(-step for step in self.steps))

    def table(self) -> None:
        """Return None: whether shifts form a group depends on the length of the signals."""

    def _traits(self) -> Traits:
        return Traits(
            tuple(f"{step:+d} steps" if step else "0 steps" for step in self.steps),
            {"shift_steps": tuple(map(float, self.steps))},
            identity=self.steps.index(0) if 0 in self.steps else None,
            exact=(True,) * len(self.steps),
            added_by=("steps",),
        )

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Shift each signal, bit for bit."""
        refuse_maps(self, motion)
        sign = -1 if motion.inverse else 1

        def change(signals: Tensor, element: int) -> Tensor:
            step = sign * self.steps[element]
            if self.fill == "wrap":
                return signals.roll(step, -1)
            return _filled(signals, step)

        return by_element(values, motion, change)


def _filled(signals: Tensor, step: int) -> Tensor:
    """Return signals (..., time), delayed by this number of steps, with zeros in the gap."""
    length = signals.shape[-1]
    gap = signals.new_zeros(*signals.shape[:-1], abs(step))
    if step >= 0:
        return torch.cat([gap, signals[..., : length - step]], dim=-1)
    return torch.cat([signals[..., -step:], gap], dim=-1)
