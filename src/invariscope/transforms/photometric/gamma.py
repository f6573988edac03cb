"""Gamma correction: values raised to a power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import numbers, positive
from invariscope.transforms.machinery.photometric import Dial, Photometric

_LARGEST = 100.0  # beyond, all values except white become 0 in float32


@dataclass(frozen=True)
class Gamma(Photometric):
    r"""Gamma correction, which raises values to a power.

    .. math:: t_j x = x^{\gamma_j}, \quad t_j^{-1} x = x^{1 / \gamma_j}

    for values from 0 (black) to 1 (white); other ranges are rescaled. An exponent below 1 brightens dark
    areas and one above 1 darkens them; black and white do not change. There is no action on feature maps.

    Caveats: for exponents below 1, the gradient with respect to black pixels is infinite. Images must not be
    normalised yet: normalise in `preprocess=`, which runs after the transform.

    Args:
        exponents: one exponent from 0.01 to 100 per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: `exponents` is not a list of numbers; an action on feature maps is requested.
        ValueError: no exponents, or one out of range; values outside the range, as after normalisation.
    Source:
        Gamma correction as in torchvision's adjust_gamma with a gain of 1.

    >>> import torch
    >>> Gamma([1, 2, 0.5]).orbit(torch.tensor([[[[0.25, 1.0]]]]))[0, :, 0, 0]
    tensor([[0.2500, 1.0000],
            [0.0625, 1.0000],
            [0.5000, 1.0000]])
    """

    dial: ClassVar[Dial] = Dial("exponents", "gamma", neutral=1.0, opposite=lambda value: 1 / value)

    exponents: Sequence[float] = (0.5, 0.8, 1.0, 1.25, 2.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default exponents."""
        return (cls(),)

    def _kept(self) -> tuple[float, ...]:
        found = numbers("exponents", self.exponents)
        for k, exponent in enumerate(found):
            if not 1 / _LARGEST <= positive(f"exponents[{k}]", exponent) <= _LARGEST:
                raise ValueError(
                    f"exponents[{k}] must be from {1 / _LARGEST:g} to {_LARGEST:g}; got {exponent:g}."
                )
        return found

    def _label(self, value: float) -> str:
        return f"gamma {value:.4g}"

    def _changed(self, images: Tensor, value: float) -> Tensor:
        return images**value
