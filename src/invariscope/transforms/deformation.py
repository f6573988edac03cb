"""Smooth deformations with given coefficients."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery.deforming import Deforming, Size


@dataclass(frozen=True, init=False)
class Deformation(Deforming):
    r"""Smooth deformations with given sine coefficients, at any resolution.

    .. math:: (\tau_j x)(s) = x(s - \tau_j(s)), \quad
        \tau_{j,a}(u, v) = \sum_{pq} C^{ja}_{pq} \sin(p\pi u) \sin(q\pi v)

    with s = (u, v) in [0, 1]² and u to the right. Component a = 0 is the displacement along x and a = 1 along
    y, in units of the image's width and height. Results are differentiable in the coefficients, so fields can
    be fitted.

    Caveats: the displacement in pixels scales with the resolution. A coefficient of 1/(pπ) folds the image.
    Images are interpolated even if the field is zero.

    Args:
        coefficients: (element, 2, p, q), the same fields for all samples, or (sample, element, 2, p, q),
            with row i for the sample of index i. A tensor is not copied; do not change it in place, since
            transforms are compared by the coefficients that they were created with.
        interpolation: "bilinear", "cubic" or "gaussian".
        scale: pixels per unit of displacement on an axis of n pixels, "n-1" or "n".
    Raises:
        TypeError: the coefficients are not numeric, the inputs are not images, or an inverse is requested.
        ValueError: a wrong shape, non-finite values, samples without coefficients, images that are too small.

    >>> bend = Deformation([[[[0.25]], [[0.0]]]])
    >>> bend.field([0], size=(3, 5))[0, 0, 0, 1]
    tensor([0.0000, 0.7071, 1.0000, 0.7071, 0.0000])
    """

    digest: str
    _values: Tensor = field(compare=False, repr=False)

    def __init__(
        self, coefficients: Any, *, interpolation: str = "bilinear", scale: str | None = None
    ) -> None:
        found = _checked(coefficients)
        self._keep(interpolation=interpolation, scale=scale, digest=_digest(found), _values=found)
        self.__post_init__()

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a bend and a swirl, and a second instance with these fields and their opposites."""
        bend = [[[0.03, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]
        swirl = [[[0.0, 0.02], [0.0, 0.0]], [[0.0, 0.0], [-0.02, 0.0]]]
        fields = torch.tensor([bend, swirl], dtype=torch.float64)
        return cls(fields), cls(torch.cat([fields, -fields]), interpolation="gaussian", scale="n")

    def _traits(self) -> Traits:
        squares = self._values.detach().double().square().sum(dim=(-3, -2, -1)) / 4
        m = self._values.shape[-4]
        rms = squares.reshape(-1, m).mean(dim=0).sqrt().cpu().tolist()
        numbers = tuple(k + 1.0 for k in range(m))
        labels = tuple(f"field {k + 1}" for k in range(m))
        parameters = {"field": numbers, "rms_displacement": tuple(rms)}
        about = {"per_sample": self._values.ndim == 5, "added_by": ("coefficients",)}
        return Traits(labels, parameters, invertible=False, **about)

    @property
    def _modes(self) -> int:
        return max(self._values.shape[-2:])

    def _checked(self) -> dict[str, Any]:
        return {}

    def _draw(self, elements: np.ndarray, draws: Draws, size: Size | None) -> Tensor:
        columns = torch.from_numpy(np.ascontiguousarray(elements)).to(self._values.device)
        if not self.per_sample:
            return self._values[columns]
        samples = len(self._values)
        places = draws.positions
        missing = places[(places < 0) | (places >= samples)]
        if len(missing):
            raise ValueError(
                f"coefficients were given for {samples} samples, but not for sample {int(missing[0])}. Give "
                "(element, 2, p, q) for the same fields in all samples, or one row per sample."
            )
        rows = torch.from_numpy(np.ascontiguousarray(places)).to(self._values.device)
        return self._values[rows[:, None], columns]


def _digest(coefficients: Tensor) -> str:
    """Return a digest of the coefficients that does not depend on dtype or device."""
    plain = coefficients.detach().cpu().double().contiguous()
    return hashlib.sha256(repr(tuple(plain.shape)).encode() + plain.numpy().tobytes()).hexdigest()


def _checked(values: Any) -> Tensor:
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"coefficients must be a tensor or an array of numbers; got {type(values).__name__}."
        ) from None
    if found.ndim not in (4, 5) or found.shape[-3] != 2 or 0 in found.shape:
        raise ValueError(
            "coefficients must have the axes (element, 2, p, q) or (sample, element, 2, p, q), with x and y "
            f"along the axis of length 2; got shape {tuple(found.shape)}."
        )
    found = found if found.is_floating_point() else found.double()
    modes = max(found.shape[-2:])  # of both axes
    if min(found.shape[-2:]) < modes:
        padding = (0, modes - found.shape[-1], 0, modes - found.shape[-2])
        found = torch.nn.functional.pad(found, padding)
    bad = ~torch.isfinite(found.detach())
    if bad.any():
        raise ValueError(
            f"coefficients must be finite; {int(bad.sum())} of {found.numel()} are not, the first at "
            f"{tuple(bad.nonzero()[0].tolist())}."
        )
    return found
