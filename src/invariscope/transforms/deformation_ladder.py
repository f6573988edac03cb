"""Smooth random deformations of increasing size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import elements
from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery import modes as ensemble
from invariscope.transforms.machinery.checks import numbers
from invariscope.transforms.machinery.deforming import Deforming, Size


@dataclass(frozen=True)
class DeformationLadder(Deforming):
    r"""Maximum-entropy deformations at a list of temperatures, one field per sample and temperature.

    .. math:: C^a_{ij} \sim N\!\left(0, \frac{T_j}{i^2 + j^2}\right) \text{ for element } j

    The fields are those of :class:`Diffeomorphism`, drawn independently at each temperature. Use this family
    to plot curves against the size of the displacement. `spanning` covers the published range, from
    displacements far below one pixel to fields that fold.

    Caveats: at the lowest temperatures, interpolation dominates the effect; at the highest, fields fold the
    image. There is no warning, since such curves are meant to leave the allowed range at both ends.

    Args:
        temperatures: T of each element.
        c: largest number of half waves.
        cutoff: "code", √(i² + j²) < c + ½, or "paper", i² + j² ≤ c².
    Raises:
        TypeError: the inputs are not images, or an inverse is requested.
        ValueError: temperatures that are not positive, a cutoff without modes, images too small for c.
    Source:
        Petrini et al. 2021, arXiv:2105.02468, section 2 and appendix.

    >>> ladder = DeformationLadder.spanning((32, 32), 3)
    >>> [f"{t:.2e}" for t in ladder.temperatures]
    ['1.89e-05', '7.02e-04', '2.61e-02']
    """

    temperatures: Sequence[float]
    _: KW_ONLY
    c: int = 3
    cutoff: str = "code"

    @classmethod
    def spanning(
        cls,
        size: Size,
        count: int = 30,
        *,
        c: int = 3,
        low: float = 1 / 15,
        high: float = 2.0,
        **options: Any,
    ) -> DeformationLadder:
        """Return a ladder with equal temperature ratios, from `low` · T1 to `high` · T2, for (H, W) images.

        For rectangles, T1 is computed from the longer side, which makes it smaller.

        Raises:
            ValueError: c = 1, for which no range is defined, or images too small to have one.
        """
        first, last = ensemble.allowed_range(max(size), c)
        if first >= last:
            raise ValueError(
                f"images of {size[0]} × {size[1]} pixels have no allowed range of temperatures "
                f"at c = {c}, since c ≥ 2n/π. "
                "Lower c, or give temperatures."
            )
        return cls(np.geomspace(low * first, high * last, elements("count", count)).tolist(), c=c, **options)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a ladder of three temperatures."""
        return (cls((1e-4, 1e-3, 1e-2)),)

    def _traits(self) -> Traits:
        labels = tuple(f"T {temperature:.3g}" for temperature in self.temperatures)
        parameters = {"temperature": tuple(self.temperatures)}
        return Traits(labels, parameters, per_sample=True, invertible=False, added_by=("temperatures",))

    @property
    def _modes(self) -> int:
        return len(ensemble.spectrum(self.c, self.cutoff))

    def _checked(self) -> dict[str, Any]:
        found = numbers("temperatures", self.temperatures)
        for temperature in found:
            ensemble.displacement_of(temperature, 3, self.c, displacement="exact", cutoff=self.cutoff)
        return {"temperatures": found}

    def _draw(self, elements: np.ndarray, draws: Draws, size: Size | None) -> Tensor:
        modes = ensemble.spectrum(self.c, self.cutoff)
        sizes = np.sqrt(np.asarray(self.temperatures))[elements]
        spread = np.broadcast_to(sizes[..., None, None, None] * modes, (*sizes.shape, 2, *modes.shape))
        return torch.from_numpy(ensemble.drawn_coefficients(draws, spread))
