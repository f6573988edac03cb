"""Transforms of images applied to the slices of volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.checks import choice
from invariscope.transforms.machinery.given import as_transform

_ACROSS = {"depth": -3, "height": -2, "width": -1}


@dataclass(frozen=True)
class Slices(Transform):
    r"""A transform of images, such as a rotation, flip or shift, applied to each slice of a volume.

    .. math:: (t_j x)_d = t_j\, x_d

    Volumes have shape (n, C, D, H, W), and slices are perpendicular to one of the last three axes. A rotation
    of the slices across the depth is therefore a rotation about the depth axis. Combine axes with `Grid` or
    `Compose`. Feature maps are transformed in the same way; those without depth, (C, H, W), are treated as
    images.

    Caveats: slices from scanners are often thicker than a pixel is wide. For slices across the height or the
    width, angles then refer to the grid rather than to space. Shifts of feature maps raise an error for these
    two axes.

    Args:
        of: the transform of each slice, such as `QuarterTurns()` or `Flip()`.
        across: "depth", "height" or "width".
    Raises:
        ValueError: an unknown axis, or slices that the transform does not accept.
        TypeError: the inputs are not floating-point volumes.

    >>> import torch
    >>> volume = torch.arange(8.0).view(1, 1, 2, 2, 2)
    >>> Slices("flip", across="width").orbit(volume)[0, 1, 0]
    tensor([[[2., 3.],
             [0., 1.]],
    <BLANKLINE>
            [[6., 7.],
             [4., 5.]]])
    """

    of: Transform
    across: str = "depth"

    def __post_init__(self) -> None:
        self._keep(of=as_transform(self.of), across=choice("axis", self.across, tuple(_ACROSS)))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return quarter turns about the depth axis, and rotations by other angles."""
        from invariscope.transforms.quarter_turns import QuarterTurns
        from invariscope.transforms.rotation import Rotation

        return cls(QuarterTurns()), cls(Rotation([0, 40]))

    def check(self, x: Any) -> None:
        """Raise unless the transform accepts the slices of `x`."""
        self.of.check(self._folded(x, 1) if isinstance(x, Tensor) else x)

    def inverse(self) -> Transform:
        """Return the inverse transform of the slices."""
        return Inverse(self)

    def table(self) -> np.ndarray | None:
        """Return the group table of the transform of images."""
        return self.of.table()

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the transform to images whose channels are the slices."""
        if values.ndim != 6:
            return self.of.apply(values, motion)
        if self.across != "depth":
            motion = replace(motion, input_size=None)  # refers to slices across the depth
        folded = self._folded(values, 2)
        depth = values.shape[_ACROSS[self.across]]
        return self.of.apply(folded, motion).unflatten(2, (-1, depth)).movedim(3, _ACROSS[self.across])

    def _traits(self) -> Traits:
        return replace(self.of.traits, slider=None, acts_on=None)

    def _folded(self, x: Tensor, channel: int) -> Tensor:
        """Return volumes as images with one channel per slice, and images unchanged."""
        if x.ndim != channel + 4:
            return x
        return x.movedim(_ACROSS[self.across], channel + 1).flatten(channel, channel + 1)
