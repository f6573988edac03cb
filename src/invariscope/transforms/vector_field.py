"""Transforms of vector fields, whose values turn with the plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.along_axis import turned
from invariscope.transforms.machinery.given import as_transform
from invariscope.transforms.machinery.linear import Linear
from invariscope.transforms.quarter_turns import Dihedral
from invariscope.transforms.rotation import Rotation


@dataclass(frozen=True)
class VectorField(Linear):
    r"""Apply a transform of images to vector fields: positions move, and the vectors turn with them.

    .. math:: (t_j v)(p) = A_j\, v(t_j^{-1} p)

    with A the linear part of the transform's map of the plane. Channels come in pairs, the component to the
    right before the component down: flow, gradients, wind. The same holds for feature maps.

    Caveats: vectors rotate in the wrong direction if components come in the opposite order or if the vertical
    component points up.

    Args:
        of: the transform of the positions, such as `QuarterTurns()`.
    Raises:
        TypeError: the transform is not a map of the plane; an odd number of channels.

    >>> right = torch.zeros(1, 2, 3, 3)
    >>> right[:, 0] = 1
    >>> VectorField("quarter_turns").orbit(right)[0, 1, :, 0, 0]  # upwards
    tensor([ 0., -1.])
    """

    of: Transform

    def __post_init__(self) -> None:
        self._keep(of=as_transform(self.of))
        if _turns(self.of, self.of.motion_of(2)) is None:
            raise TypeError(
                f"VectorField needs a map of the image plane; {type(self.of).__name__} is not one. Give a "
                "transform of images such as QuarterTurns() or Rotation.circle(8)."
            )

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return vector fields under the symmetries of the square, and under jittered rotations."""
        return cls(Dihedral()), cls(Rotation([0, 40], jitter_deg=5))

    def check(self, x: Any) -> None:
        """Raise unless `x` holds images with pairs of channels."""
        self.of.check(x)
        _need_pairs(x.shape[1])

    def inverse(self) -> Transform:
        """Return the inverse elements."""
        return Inverse(self)

    def table(self) -> np.ndarray | None:
        """Return the group table of the positions' transform."""
        return self.of.table()

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """Return the matrices that act on the vectors."""
        found = _turns(self.of, motion)
        assert found is not None, "the transform was checked to be a map of the plane"
        return found

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Move the positions, then turn the vectors."""
        moved = self.of.apply(values, motion)
        _need_pairs(moved.shape[2])
        return turned(moved, torch.from_numpy(self.linear_parts(motion) + 0.0).to(values.device), 2)

    def _traits(self) -> Traits:
        exact: tuple[bool, ...] = ()
        if not self.of.per_sample:  # exact if pixels move exactly and the matrices have no rounding
            whole = np.isin(self.linear_parts(self.of.motion_of(1)), (-1, 0, 1)).all(axis=(-2, -1))
            exact = tuple((whole & np.array(self.of.exact)).tolist())
        return replace(self.of.traits, exact=exact, slider=None, acts_on=None)


def _turns(of: Transform, motion: Motion) -> np.ndarray | None:
    """Return the matrices that turn vectors of the plane; None unless this is a map of the plane."""
    found = of.linear_parts(motion) if isinstance(of, Linear) else None
    return None if found is None or found.shape[-1] != 2 else found


def _need_pairs(channels: int) -> None:
    if channels % 2:
        raise TypeError(
            f"VectorField needs pairs of channels, a component to the right and one down; got {channels} "
            "channels."
        )
