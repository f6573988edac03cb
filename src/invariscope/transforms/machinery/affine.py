"""The common base of families whose elements are affine maps of the image plane."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.common.draws import Draws
from invariscope.transforms.base import Motion, Traits
from invariscope.transforms.machinery.checks import need_images, need_map_of, need_square
from invariscope.transforms.machinery.linear import Linear
from invariscope.transforms.machinery.matrices import (
    compose,
    exact_elements,
    group_table,
    invert,
    is_identity,
    resized,
)
from invariscope.transforms.machinery.sampling import Sampling, resample
from invariscope.transforms.machinery.traits import Slider


class AffineTransform(Linear):
    """A transform given by one 2 × 3 matrix per element, in pixels about the image's centre.

    A family defines `examples`, `inverse`, `_matrices` and, by calling `planar_traits`, `_traits`. The other
    methods, and the action on feature maps, follow from these.
    """

    square: ClassVar[bool] = False  # whether images must be square
    sampling: Sampling | None = None  # None for families that never interpolate

    @abstractmethod
    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        """Return matrices that move content, (*elements.shape, 2, 3), or (sample, column, 2, 3) for draws."""

    @cached_property
    def nominal(self) -> np.ndarray:
        """Affine maps of all elements, (m, 2, 3), ignoring draws."""
        return self._matrices(np.arange(len(self)), None)

    def planar_traits(
        self,
        labels: Sequence[str],
        parameters: Mapping[str, Sequence[float]],
        *,
        per_sample: bool = False,
        slider: Slider | None = None,
        added_by: tuple[str, ...] = (),
    ) -> Traits:
        """Return the traits of these elements, with `identity` and `exact` computed from the maps."""
        maps = self._matrices(np.arange(len(labels)), None)
        return Traits(
            tuple(labels),
            {name: tuple(values) for name, values in parameters.items()},
            identity=None if per_sample else first_true(is_identity(maps)),
            exact=() if per_sample else tuple(exact_elements(maps).tolist()),
            per_sample=per_sample,
            slider=slider,
            acts_on="pixels",
            added_by=added_by,
        )

    def maps(self, motion: Motion) -> np.ndarray:
        """Return the motion's maps, (column, 2, 3) or (sample, column, 2, 3), inverted if requested."""
        draws = motion.draws if self.per_sample else None
        forward = self.nominal[motion.elements] if draws is None else self._matrices(motion.elements, draws)
        return invert(forward) if motion.inverse else forward

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """Return the maps without their shifts, (..., column, 2, 2), for x to the right and y down."""
        return self.maps(motion)[..., :2]

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` holds floating-point images (n, C, H, W)."""
        need_images(type(self).__name__, x)
        if self.square:
            need_square(type(self).__name__, x)

    def table(self) -> np.ndarray | None:
        """Return the group table of the maps; None unless they are a finite group."""
        return None if self.per_sample else group_table(self.nominal, compose)

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the maps in a single interpolation."""
        return moved(values, self.maps(motion), motion, families=[self])


@dataclass(frozen=True, kw_only=True)
class SampledTransform(AffineTransform):
    """An affine family with a choice of interpolation and padding; subclasses also define `_checked`.

    Args:
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    """

    interpolation: str = "bilinear"
    padding: str = "zeros"

    def __post_init__(self) -> None:
        self._keep(**self._checked(), sampling=Sampling(self.interpolation, self.padding))

    @abstractmethod
    def _checked(self) -> dict[str, Any]:
        """Return the fields in hashable form; raise for invalid values."""


def moved(
    values: Tensor, matrices: np.ndarray, motion: Motion, *, families: Sequence[AffineTransform]
) -> Tensor:
    """Apply one matrix per column to the values (sample, column, C, H, W), in a single interpolation.

    Args:
        values: images or feature maps; expanded columns are not copied.
        matrices: (column, 2, 3), shared by all samples, or (sample, column, 2, 3).
        motion: the motion, which says whether the values are feature maps, and for which input size.
        families: the families whose maps were multiplied; they must use the same interpolation and padding.
    """
    name = " · ".join(type(family).__name__ for family in families)
    need_images(name, values, "n, m, C, H, W")
    if motion.on_maps and motion.input_size is not None:
        need_map_of(name, values, motion.input_size)
    if any(family.square for family in families):
        need_square(name, values)
    if motion.on_maps:
        matrices = _for_maps(name, matrices, values, motion)
    samples, columns, *image = values.shape
    swapped = values.transpose(0, 1)
    shared = matrices.ndim == 3
    if shared:  # samples become planes, which share their coordinates
        rows = swapped.reshape(columns, samples * image[0], *image[1:])
    else:
        rows = swapped.reshape(columns * samples, *image)
        matrices = matrices.swapaxes(0, 1).reshape(-1, 2, 3)
    out = resample(rows, matrices, common_sampling(families), keep=shared)
    return out.view(columns, samples, *image).transpose(0, 1)


def common_sampling(families: Sequence[AffineTransform]) -> Sampling:
    """Return the sampling that the families share; families that never interpolate accept any."""
    return next((f.sampling for f in families if f.sampling is not None), Sampling("nearest"))


def first_true(flags: np.ndarray) -> int | None:
    """Return the index of the first True; None if there is none."""
    return int(flags.argmax()) if flags.any() else None


def _for_maps(name: str, matrices: np.ndarray, maps: Tensor, motion: Motion) -> np.ndarray:
    if motion.input_size is not None:
        return resized(matrices, (maps.shape[-2], maps.shape[-1]), motion.input_size)
    if np.abs(matrices[..., 2]).max() > 0:
        raise ValueError(
            f"{name} shifts by pixels of the input, and feature maps may have a different resolution: give "
            "input_size=(H, W), the input's height and width."
        )
    return matrices
