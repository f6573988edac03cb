"""Smooth deformations of random size and smoothness, for training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import MOST_DRAWS, integer
from invariscope.common.draws import Draws, Stream
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery.checks import positive
from invariscope.transforms.machinery.deforming import Deforming, Size
from invariscope.transforms.machinery.modes import allowed_range, drawn_coefficients, spectrum
from invariscope.transforms.machinery.traits import traits_of_draws


@dataclass(frozen=True)
class DiffeomorphismAugmentation(Deforming):
    r"""Random smooth deformations with random temperature and cutoff, within the allowed range.

    .. math:: c = c_1 + \lfloor b\,(c_2 - c_1 + 1) \rfloor, \quad T = T_1 + (T_2 - T_1)\,b', \quad
        b, b' \sim \mathrm{Beta}(\alpha, \beta)

    with T1 and T2 from `Diffeomorphism.allowed_range` for the drawn c and the image's shorter side. During
    training, `random(x, generator=generator)` deforms each image of a batch with its own field.

    Caveats: elements differ in size, so a value measured with them does not correspond to a single
    displacement. Use `Diffeomorphism` for measurements.

    Args:
        draws: number of fields per sample in an orbit.
        c_range: smallest and largest cutoff.
        c_beta: (α, β) of the Beta distribution of the cutoff; (1, 1) is uniform.
        temperature_beta: (α, β) of the Beta distribution of the temperature.
    Raises:
        TypeError: the inputs are not images, or an inverse is requested.
        ValueError: an empty range, invalid Beta parameters, images without an allowed temperature for c.
    Source:
        Petrini et al. 2021, arXiv:2105.02468, for the range.

    >>> generator = torch.Generator().manual_seed(0)
    >>> _ = torch.manual_seed(0)
    >>> DiffeomorphismAugmentation().random(torch.rand(4, 3, 32, 32), generator=generator).shape
    torch.Size([4, 3, 32, 32])
    """

    draws: int = 1
    _: KW_ONLY
    c_range: Sequence[int] = (2, 8)
    c_beta: Sequence[float] = (1.0, 1.0)
    temperature_beta: Sequence[float] = (1.0, 1.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default, and fields that are mostly small and smooth."""
        return cls(), cls(2, c_range=(2, 4), temperature_beta=(1, 3))

    def _traits(self) -> Traits:
        return traits_of_draws("draw", self.draws)

    @property
    def _modes(self) -> int:
        return self.c_range[1]

    def _checked(self) -> dict[str, Any]:
        low, high = (
            integer(f"c_range[{k}]", c, least=2) for k, c in enumerate(_pair("c_range", self.c_range))
        )
        if low > high:
            raise ValueError(f"c_range must be (smallest, largest cutoff); got ({low}, {high}).")
        return {
            "draws": integer("draws", self.draws, least=1, most=MOST_DRAWS),
            "c_range": (low, high),
            "c_beta": _beta("c_beta", self.c_beta),
            "temperature_beta": _beta("temperature_beta", self.temperature_beta),
        }

    def _draw(self, elements: np.ndarray, draws: Draws, size: Size | None) -> Tensor:
        if size is None:
            raise ValueError("the temperatures depend on the image size: give size=(H, W).")
        low, high = self.c_range
        ranges = np.array([allowed_range(min(size), c) for c in range(low, high + 1)])
        if (ranges[:, 0] >= ranges[:, 1]).any():
            raise ValueError(
                f"c = {high} allows no temperature on {min(size)} pixels: c must be below 2n/π = "
                f"{2 * min(size) / math.pi:.3g}. Lower c_range."
            )
        chosen = (_quantile(draws, self.c_beta, 1) * len(ranges)).astype(int).clip(0, len(ranges) - 1)
        cold, hot = np.moveaxis(ranges[chosen], -1, 0)
        temperatures = cold + (hot - cold) * _quantile(draws, self.temperature_beta, 2)
        spectra = np.stack([np.pad(spectrum(c), (0, high - c)) for c in range(low, high + 1)])
        spread = np.sqrt(temperatures)[..., None, None] * spectra[chosen]
        return torch.from_numpy(drawn_coefficients(draws, np.stack([spread, spread], axis=2)))


def _quantile(draws: Draws, beta: Sequence[float], part: int) -> np.ndarray:
    """Return Beta-distributed values (sample, draw)."""
    from scipy.special import betaincinv

    return betaincinv(*beta, draws.under(part, stream=Stream.DEFORMATION_SIZE).uniform())


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a pair; got {value!r}.")
    return value[0], value[1]


def _beta(name: str, value: Any) -> tuple[float, float]:
    a, b = (positive(f"{name}[{k}]", entry) for k, entry in enumerate(_pair(name, value)))
    return a, b
