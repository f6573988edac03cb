"""The base class of generators of image transforms."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from invariscope.generators.derivatives import Derivatives


class Generator(ABC):
    """The derivative at t = 0 of a one-parameter flow ρ(t) on images: X x = d/dt ρ(t) x.

    Subclasses are frozen dataclasses, so generators with equal options are equal. They define `name`,
    `tangent` and the attributes below.

    Attributes:
        unit: unit of t, such as "px" or "rad".
        step: a small t, for finite differences.
        moves_maps: whether an equivariant feature map moves like the image; if not, it stays the same.
    """

    unit: str
    step: float
    moves_maps: bool

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the generator, such as "rotation"."""

    @abstractmethod
    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return X x, with the shape of the images.

        Args:
            at: derivatives of images or feature maps.
            input_size: (H, W) of the inputs of the feature maps; None means the size of `at` itself.
        """
