"""Families whose elements are affine maps of the image plane: one machine for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.common.draws import Draws
from invariscope.transforms.base import Motion
from invariscope.transforms.machinery.checks import need_images, need_map_of, need_square
from invariscope.transforms.machinery.linear import _Linear
from invariscope.transforms.machinery.matrices import (
    exact_elements,
    group_table,
    invert,
    is_identity,
    resized,
)
from invariscope.transforms.machinery.sampling import Sampling, resample


class _Affine(_Linear):
    """A transform given by one 2 × 3 matrix an element, in pixels about the image's centre.

    A family defines `labels`, `parameters`, `per_sample`, `sampling`, `inverse`, `examples` and `_matrices`;
    everything else, feature maps included, follows.
    """

    square: ClassVar[bool] = False  # whether the elements only make sense on square images

    @property
    @abstractmethod
    def sampling(self) -> Sampling | None:
        """How to interpolate and pad; None for families that never need to."""

    @abstractmethod
    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        """Where content goes: (*elements.shape, 2, 3), or with draws (sample, column, 2, 3)."""

    @cached_property
    def nominal(self) -> np.ndarray:
        """The maps of all elements (m, 2, 3), without any draw."""
        return self._matrices(np.arange(len(self)), None)

    def moves(self, motion: Motion) -> np.ndarray:
        """The maps of the motion's elements, (column, 2, 3) or (sample, column, 2, 3), inverted if it is."""
        draws = motion.draws if self.per_sample else None
        forward = self.nominal[motion.elements] if draws is None else self._matrices(motion.elements, draws)
        return invert(forward) if motion.inverse else forward

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """The maps without their shifts, (column, 2, 2) or (sample, column, 2, 2): x to the right, y down."""
        return self.moves(motion)[..., :2]

    @property
    def invertible(self) -> bool:
        """True: affine maps with an inverse are the only ones let in."""
        return True

    @property
    def identity(self) -> int | None:
        """Index of the element that changes nothing, None where there is none."""
        return None if self.per_sample else first_true(is_identity(self.nominal))

    @property
    def exact(self) -> tuple[bool, ...]:
        """Which elements move whole pixels of square images, bit for bit, without interpolation."""
        if self.per_sample:
            return (False,) * len(self)
        return tuple(exact_elements(self.nominal).tolist())

    def check(self, x: Any) -> None:
        """Raises a TypeError for what are no floating-point images (n, C, H, W)."""
        need_images(type(self).__name__, x)
        if self.square:
            need_square(type(self).__name__, x)

    def table(self) -> np.ndarray | None:
        """Group table (m, m): entry [j, k] is the element "k, then j"; None where this is no finite group."""
        return None if self.per_sample else group_table(self.nominal)

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        return moved(values, self.moves(motion), motion, families=[self])


class _Exact(_Affine):
    """An affine family that only moves whole pixels, the same in every sample; it defines the rest."""

    @property
    def per_sample(self) -> bool:
        """False: an element means the same for every sample."""
        return False

    @property
    def sampling(self) -> Sampling | None:
        """None: nothing is interpolated."""
        return None


@dataclass(frozen=True, kw_only=True)
class _Sampled(_Affine):
    """An affine family with a choice of interpolation and padding; it defines `_validate` as well.

    Args:
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    """

    interpolation: str = "bilinear"
    padding: str = "zeros"

    def __post_init__(self) -> None:
        kept = {**self._validated(), "_kept_sampling": Sampling(self.interpolation, self.padding)}
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def sampling(self) -> Sampling | None:
        """How values between and outside the pixels are made up."""
        return self.__dict__["_kept_sampling"]

    @abstractmethod
    def _validated(self) -> dict[str, Any]:
        """The fields as they are kept, hashable; raises for what makes no sense."""


def moved(values: Tensor, matrices: np.ndarray, motion: Motion, *, families: Sequence[_Affine]) -> Tensor:
    """Column j of the values (sample, column, C, H, W) moved by its matrix, in one sampling.

    Args:
        values: images or feature maps; expanded columns cost nothing.
        matrices: (column, 2, 3) for the same in all samples, or (sample, column, 2, 3).
        motion: says whether the values are feature maps, and of which input.
        families: those whose product the matrices are; they agree about the sampling.
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
    if shared:  # the same for all samples: they become planes that share their coordinates
        rows = swapped.reshape(columns, samples * image[0], *image[1:])
    else:
        rows = swapped.reshape(columns * samples, *image)
        matrices = matrices.swapaxes(0, 1).reshape(-1, 2, 3)
    out = resample(rows, matrices, common_sampling(families), keep=shared)
    return out.view(columns, samples, *image).transpose(0, 1)


def common_sampling(families: Sequence[_Affine]) -> Sampling:
    """The sampling that families agree about; those that never interpolate agree with any."""
    return next((f.sampling for f in families if f.sampling is not None), Sampling("nearest"))


def agree(families: Sequence[_Affine]) -> bool:
    """Whether the families can be applied as one map, in one sampling."""
    return len({f.sampling for f in families} - {None}) <= 1


def first_true(flags: np.ndarray) -> int | None:
    """Index of the first True, None where there is none."""
    return int(flags.argmax()) if flags.any() else None


def _for_maps(name: str, matrices: np.ndarray, maps: Tensor, motion: Motion) -> np.ndarray:
    if motion.input_size is not None:
        return resized(matrices, (maps.shape[-2], maps.shape[-1]), motion.input_size)
    if np.abs(matrices[..., 2]).max() > 0:
        raise ValueError(
            f"{name} shifts by pixels of the input, and a feature map has pixels of its own size: give "
            "input_size=(H, W), the input's height and width."
        )
    return matrices
