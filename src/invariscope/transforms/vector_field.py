"""Fields of vectors, whose values turn with the plane that they live on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.base import Motion, Transform, as_transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.linear import _Linear
from invariscope.transforms.machinery.vectors import turned


@dataclass(frozen=True)
class VectorField(_Linear):
    r"""A transform of images applied to fields of vectors: positions move, and the vectors turn with them.

    .. math:: (t_j v)(p) = A_j\, v(t_j^{-1} p)

    with A the linear part of the transform's map of the plane. Channels come in pairs, the vector's entry to
    the right before its entry down: flow, gradients, wind. The same holds for feature maps.

    Misleads: entries in another order, or counted upwards, turn the other way.

    Args:
        of: what moves the positions, such as `QuarterTurns()`.
    Raises:
        TypeError: a transform without a map of the plane; an odd number of channels.

    >>> right = torch.zeros(1, 2, 3, 3)
    >>> right[:, 0] = 1
    >>> VectorField("quarter_turns").orbit(right)[0, 1, :, 0, 0]  # upwards
    tensor([ 0., -1.])
    """

    of: Transform

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", as_transform(self.of))
        if not isinstance(self.of, _Linear) or self._turns(self.of._motion(2, None, None, 0)) is None:
            raise TypeError(
                f"VectorField turns vectors of the plane, and {type(self.of).__name__} does not say how. "
                "Give a transform of images such as QuarterTurns() or Rotation.circle(8)."
            )

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Fields under the symmetries of the square, and under jittered rotations."""
        from invariscope.transforms.dihedral import Dihedral
        from invariscope.transforms.rotation import Rotation

        return cls(Dihedral()), cls(Rotation([0, 40], jitter_deg=5))

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the positions' transform."""
        return self.of.labels

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """Those of the positions' transform."""
        return self.of.parameters

    @property
    def identity(self) -> int | None:
        """That of the positions' transform."""
        return self.of.identity

    @property
    def exact(self) -> tuple[bool, ...]:
        """Elements that move whole pixels and have no rounding in their matrices."""
        if self.per_sample:
            return (False,) * len(self)
        matrices = self.linear_parts(self._motion(1, None, None, 0))
        whole = np.isin(matrices, (-1, 0, 1)).all(axis=(-2, -1))
        return tuple((whole & np.array(self.of.exact)).tolist())

    @property
    def per_sample(self) -> bool:
        """Whether positions move differently for each sample."""
        return self.of.per_sample

    @property
    def invertible(self) -> bool:
        """Whether positions can be moved back."""
        return self.of.invertible

    def check(self, x: Any) -> None:
        """Raises for what are no images, or have no pairs of channels."""
        self.of.check(x)
        _need_pairs(x.shape[1])

    def inverse(self) -> Transform:
        """Positions moved, and vectors turned, back."""
        return Inverse(self)

    def table(self) -> np.ndarray | None:
        """That of the positions' transform."""
        return self.of.table()

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """The matrices that turn the vectors."""
        found = self._turns(motion)
        assert found is not None, "only planar maps are let in"
        return found

    def _turns(self, motion: Motion) -> np.ndarray | None:
        found = self.of.linear_parts(motion) if isinstance(self.of, _Linear) else None
        return None if found is None or found.shape[-1] != 2 else found

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        moved = self.of._apply(values, motion)
        _need_pairs(moved.shape[2])
        return turned(moved, torch.from_numpy(self.linear_parts(motion) + 0.0).to(values.device), 2)


def _need_pairs(channels: int) -> None:
    if channels % 2:
        raise TypeError(
            f"VectorField takes pairs of channels, an entry to the right and one down; got {channels} "
            "channels."
        )
