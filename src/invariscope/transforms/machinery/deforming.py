"""The common base of families that deform images by smooth fields, random or given."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, sample_keys
from invariscope.transforms.base import Motion, Transform, no_inverse
from invariscope.transforms.machinery.checks import need_images, need_map_of, need_tensor
from invariscope.transforms.machinery.warping import Warp, field_of, folds, warped

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Size = tuple[int, int]
_ADVICE = (
    "The inverse of a smooth field has infinitely many modes, and a folded field has none. If an "
    "approximation is good enough, declare it"
)


@dataclass(frozen=True, kw_only=True)
class Deforming(Transform):
    """A transform whose elements are sums of sine modes; a family defines their coefficients.

    Args:
        interpolation: "bilinear", "cubic" (the B-spline through the pixels) or "gaussian" (weights of width
            0.4715 pixels, which blur: compare with `baseline(x)`, not with x).
        scale: pixels per unit of displacement, on n pixels: "n-1" (the distance from the first pixel to the
            last) or "n" (as in the published code).
    """

    interpolation: str = "bilinear"
    scale: str | None = None

    def __post_init__(self) -> None:
        kept = {"scale": self.scale, **self._checked()}
        kept["scale"] = kept["scale"] or "n-1"
        self._keep(**kept)
        _ = self.warp  # raises for unknown options

    @cached_property
    def warp(self) -> Warp:
        """Interpolation and scale."""
        return Warp(self.interpolation, str(self.scale))

    @abstractmethod
    def _checked(self) -> dict[str, Any]:
        """Return the family's own fields in hashable form; raise for invalid values."""

    @property
    @abstractmethod
    def _modes(self) -> int:
        """Largest number of half waves along an axis."""

    @abstractmethod
    def _draw(self, elements: np.ndarray, draws: Draws, size: Size | None) -> Tensor:
        """Return coefficients (sample, column, 2, i, j), or (column, 2, i, j) shared by all samples."""

    def inverse(self) -> NoReturn:
        """Raise TypeError: the inverse of a smooth field has infinitely many modes."""
        raise no_inverse(self, _ADVICE)

    def table(self) -> None:
        """Return None: the composition of two fields has different modes."""

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point images that are large enough for the modes."""
        name = type(self).__name__
        need_tensor(name, x)
        if x.ndim == 3:
            raise TypeError(
                f"{name} deforms images (n, C, H, W); got shape {tuple(x.shape)}. Add the missing axis to "
                "gray images, x[:, None]. For sequences (n, length, features), use Noise, or give callables, "
                "Elements([...])."
            )
        need_images(name, x)
        least, size = self._modes + 2, tuple(x.shape[-2:])
        if min(size) < least:
            raise ValueError(
                f"{name} has modes of up to {self._modes} half waves, which need images of at least "
                f"{least} × {least} pixels; got {size[0]} × {size[1]}. "
                + ("Lower c, or enlarge the images." if self._modes > 1 else "Enlarge the images.")
            )

    def coefficients(
        self, indices: Any, *, size: Size | None = None, seed: int = 0
    ) -> Float[Tensor, "sample element 2 i j"]:
        """Return the sine coefficients of the fields that `orbit` applies, along x first, then along y.

        `Diffeomorphism.from_coefficients` applies them again, at any resolution.

        Args:
            indices: positions of the samples, or the keys given to `orbit`.
            size: (H, W) of the images; needed if the temperature follows from a displacement in pixels.
            seed: as given to `orbit`.
        """
        given = np.atleast_1d(np.asarray(indices))
        chosen = sample_keys(given, len(given))
        draws = Draws(seed=seed, keys=chosen, slots=len(self))
        found = self._draw(np.arange(len(self)), draws, size)
        return found if found.ndim == 5 else found.expand(len(chosen), -1, -1, -1, -1)

    def field(
        self, indices: Any, *, size: Size, seed: int = 0
    ) -> Float[Tensor, "sample element 2 height width"]:
        """Return the displacement τ in pixels, along x (to the right) first, then along y (down).

        Content moves by τ(s): the new image at s shows the old one at s − τ(s).
        """
        found = self.coefficients(indices, size=size, seed=seed)
        return field_of(found.flatten(0, 1), size, self.warp).unflatten(0, found.shape[:2])

    def folded(
        self, indices: Any, *, size: Size | None = None, seed: int = 0
    ) -> Bool[Tensor, "sample element"]:
        """Return whether each field folds the plane over itself: det(I − ∇τ) ≤ 0 somewhere."""
        found = self.coefficients(indices, size=size, seed=seed)
        return folds(found.flatten(0, 1)).unflatten(0, found.shape[:2])

    def baseline(self, x: Float[Tensor, "sample C H W"]) -> Float[Tensor, "sample C H W"]:
        """Return the images under a field of zeros, the reference for deformed images.

        This is x itself for bilinear and cubic interpolation, and blurred images for the Gaussian one.
        """
        self.check(x)
        if self.interpolation != "gaussian":
            return x
        still = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
        return warped(x.flatten(0, 1)[None], still, self.warp)[0].view_as(x)

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Read the values at displaced positions."""
        if motion.inverse:
            raise no_inverse(self, _ADVICE)
        need_images(type(self).__name__, values, "n, m, C, H, W")
        if motion.on_maps and motion.input_size is not None:
            need_map_of(type(self).__name__, values, motion.input_size)
        samples, columns, channels, height, width = values.shape
        if min(height, width) < 3:  # only border pixels, which do not move
            return values
        size = motion.input_size if motion.on_maps and motion.input_size else (height, width)
        found = self._draw(motion.elements, motion.draws, size)
        if found.ndim == 5:
            moved = warped(values.flatten(0, 1), found.flatten(0, 1), self.warp)
            return moved.view(samples, columns, channels, height, width)
        rows = values.transpose(0, 1).reshape(columns, samples * channels, height, width)
        moved = warped(rows, found, self.warp).view(columns, samples, channels, height, width)
        return moved.transpose(0, 1)
