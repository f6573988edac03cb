"""Random rotations of vectors in any dimension."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from invariscope.common.checks import set_integers
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.along_axis import Turning
from invariscope.transforms.machinery.traits import traits_of_draws


@dataclass(frozen=True)
class RandomOrthogonal(Turning):
    r"""Rotations, and mirrorings if asked for, drawn uniformly for each sample: SO(2), SO(3), O(3), O(d).

    .. math:: t_{ij} x = Q_{ij} x, \quad Q_{ij} \sim \text{Haar measure of } SO(d) \text{ or } O(d)

    Q is the orthogonal factor of a matrix of Gaussian numbers, with the signs that make it unique; for
    SO(d) a Q that mirrors has its first column reversed. Draws depend on (seed, sample index, element) alone.
    The vectors are points of a cloud (n, points, 3), or lie on another axis; several may share one.

    Misleads: a handful of draws a sample says little of the worst rotation; and a cloud that is not
    centred turns about the origin, not about itself.

    Args:
        draws: rotations of each sample.
        dimension: of the vectors.
        axis: on which axis of the data their entries lie, the last one by default.
        mirrored: draw from all of O(d), half of which mirrors.
    Raises:
        ValueError: no draw, or a dimension below 2.
        TypeError: data whose axis holds no vectors of that dimension.
    Source:
        Mezzadri 2007, arXiv:math-ph/0609050: why the signs matter.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> cloud = torch.randn(4, 10, 3)
    >>> turned = RandomOrthogonal(2).orbit(cloud)
    >>> bool(torch.allclose(turned.norm(dim=-1), cloud.norm(dim=-1)[:, None], atol=1e-5))
    True
    """

    draws: int = 8
    _: KW_ONLY
    dimension: int = 3
    axis: int = -1
    mirrored: bool = False

    def __post_init__(self) -> None:
        set_integers(self, draws=1, dimension=2)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return rotations in space and, mirrored too, in the plane, of vectors along the channels."""
        return cls(3, axis=1), cls(2, dimension=2, axis=1, mirrored=True)

    @property
    def entries(self) -> int:
        """Number of entries of a vector."""
        return self.dimension

    def table(self) -> None:
        """Return None: products of draws are no draws."""

    def _traits(self) -> Traits:
        group = f"{'O' if self.mirrored else 'SO'}({self.dimension})"
        labels = [f"{group} draw {k + 1}" for k in range(self.draws)]
        return replace(traits_of_draws(labels, invertible=True), acts_on=self.acts_on)

    def _forward(self, motion: Motion) -> np.ndarray:
        size = self.dimension
        gaussian = motion.draws.normal(size * size)
        found, triangle = np.linalg.qr(gaussian.reshape(*gaussian.shape[:2], size, size))
        found = found * np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))[..., None, :]
        if not self.mirrored:
            found[..., 0] *= np.linalg.det(found).round()[..., None]
        return found
