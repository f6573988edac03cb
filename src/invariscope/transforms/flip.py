"""Mirror images: exact on the pixel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery.affine import AffineTransform
from invariscope.transforms.machinery.checks import choice
from invariscope.transforms.machinery.matrices import linear

_SIGNS = {
    "horizontal": ((1, 1), (-1, 1)),
    "vertical": ((1, 1), (1, -1)),
    "both": ((1, 1), (-1, 1), (1, -1), (-1, -1)),
}
_NAMES = {(1, 1): "identity", (-1, 1): "left-right", (1, -1): "up-down", (-1, -1): "both"}


@dataclass(frozen=True)
class Flip(AffineTransform):
    """The image and its mirror image: a group, bit-exact on images of any shape.

    .. math:: (t_1 x)(r, c) = x(r, W - 1 - c)

    Caveats: for many classes a mirror image is a different object (letters, digits, hands), so a good
    network need not be invariant to it.

    Args:
        direction: "horizontal" swaps left and right, "vertical" up and down; "both" lists the identity, each
            flip, and both together.
    Raises:
        ValueError: an unknown direction.

    >>> import torch
    >>> Flip().orbit(torch.tensor([[[[1.0, 2.0]]]]))[0, :, 0, 0]
    tensor([[1., 2.],
            [2., 1.]])
    """

    direction: str = "horizontal"

    def __post_init__(self) -> None:
        choice("direction", self.direction, tuple(_SIGNS))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return each direction."""
        return tuple(cls(direction) for direction in _SIGNS)

    def inverse(self) -> Transform:
        """Return this transform, since every flip undoes itself."""
        return self

    def _traits(self) -> Traits:
        x, y = np.array(_SIGNS[self.direction]).T
        flipped = {"flipped_x": ((1.0 - x) / 2).tolist(), "flipped_y": ((1.0 - y) / 2).tolist()}
        return self.planar_traits([_NAMES[signs] for signs in _SIGNS[self.direction]], flipped)

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        signs = np.array(_SIGNS[self.direction], dtype=float)[elements]
        return linear(signs[..., 0], 0, 0, signs[..., 1])
