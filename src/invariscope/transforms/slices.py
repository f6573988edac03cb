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
    r"""A transform of images applied to each slice of a volume: turns, flips, shifts, rotations in space.

    .. math:: (t_j x)_d = t_j\, x_d

    Volumes are (n, C, D, H, W), and their slices lie across one of the last three axes: turns in the slices
    across the depth are turns about the axis of depth. Combine axes with `Grid` or `Compose`. Feature maps
    are moved in the same way; those without depth (C, H, W) as images.

    Caveats: scanners often have thicker slices than pixels. Across the height or the width an angle is then
    an angle on the grid, not in space; and shifts of feature maps are refused there.

    Args:
        of: what moves each slice, such as `QuarterTurns()` or `Flip()`.
        across: "depth", "height" or "width".
    Raises:
        ValueError: an unknown axis; slices that the transform cannot move.
        TypeError: no floating-point volumes.

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
        """Return turns about the axis of depth, and rotations by other angles."""
        from invariscope.transforms.quarter_turns import QuarterTurns
        from invariscope.transforms.rotation import Rotation

        return cls(QuarterTurns()), cls(Rotation([0, 40]))

    def check(self, x: Any) -> None:
        """Raise for anything but volumes whose slices the transform can move."""
        self.of.check(self._folded(x, 1) if isinstance(x, Tensor) else x)

    def inverse(self) -> Transform:
        """Return the slices moved back."""
        return Inverse(self)

    def table(self) -> np.ndarray | None:
        """Return that of the transform of images."""
        return self.of.table()

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Move each slice as a channel of an image."""
        if values.ndim != 6:
            return self.of.apply(values, motion)
        if self.across != "depth":
            motion = replace(motion, input_size=None)  # that is of slices across the depth
        folded = self._folded(values, 2)
        depth = values.shape[_ACROSS[self.across]]
        return self.of.apply(folded, motion).unflatten(2, (-1, depth)).movedim(3, _ACROSS[self.across])

    def _traits(self) -> Traits:
        return replace(self.of.traits, slider=None, acts_on=None)

    def _folded(self, x: Tensor, channel: int) -> Tensor:
        """Return volumes as images with a channel per slice; images as they are."""
        if x.ndim != channel + 4:
            return x
        return x.movedim(_ACROSS[self.across], channel + 1).flatten(channel, channel + 1)
