"""Random permutations of points, tokens, or the members of a set."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from invariscope.common.checks import set_integers
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.along_axis import Permuting
from invariscope.transforms.machinery.traits import traits_of_draws


@dataclass(frozen=True)
class RandomPermutations(Permuting):
    r"""The entries along one axis in random places: uniform on the symmetric group, drawn for each sample.

    .. math:: (t_{ij} x)_{p_{ij}(k)} = x_k, \quad p_{ij} \text{ uniform on } S_{\text{size}}

    Draws depend on (seed, sample index, element) alone. Exact: no value changes, so whatever a measure finds
    is the network's doing. On the activations of a layer the same axis is permuted, with the same draws.

    Misleads: nearly all permutations of many entries are far from the identity; that a network is sensitive
    to them says nothing about exchanging two neighbours. List those: `Permutations`.

    Args:
        size: how many entries there are.
        draws: permutations of each sample.
        axis: of the data, samples being axis 0; the points of (n, points, features) by default.
    Raises:
        ValueError: no entry or no draw.
        TypeError: data with another number of entries.

    >>> import torch
    >>> orbit = RandomPermutations(4, 2).orbit(torch.arange(4.0).expand(3, 4))
    >>> orbit.sort(dim=2).values[2, 1]
    tensor([0., 1., 2., 3.])
    """

    size: int
    draws: int = 8
    _: KW_ONLY
    axis: int = 1

    def __post_init__(self) -> None:
        set_integers(self, size=1, draws=1)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return three draws of the order of 28 entries, along the columns of an image."""
        return (cls(28, 3, axis=3),)

    @property
    def entries(self) -> int:
        """Number of entries that are permuted."""
        return self.size

    def table(self) -> None:
        """Return None: products of draws are no draws."""

    def _traits(self) -> Traits:
        labels = [f"order {k + 1}" for k in range(self.draws)]
        return replace(traits_of_draws(labels, invertible=True), acts_on=self.acts_on)

    def _forward(self, motion: Motion) -> np.ndarray:
        return np.argsort(motion.draws.normal(self.size), axis=-1)
