"""Inputs that are forwarded with each orbit: the untransformed one, noise, the way to a neighbour."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, Stream


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions, keys and partners of the samples in one forward.

    Args:
        indices: (sample,) positions in the data.
        keys: (sample,) integers that identify the samples; draws depend only on (seed, key).
        partners: (sample,) position in the batch of each sample's partner, -1 for none.
        seed: seed of the draws.
    """

    indices: np.ndarray
    keys: np.ndarray
    partners: np.ndarray
    seed: int


@dataclass(frozen=True)
class Probe(abc.ABC):
    """Further inputs that are forwarded with each sample's orbit, through the model once for all measures.

    Equal probes of several measures are forwarded once.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """By which a statistic finds the responses: `block.probe(name)`."""

    @abc.abstractmethod
    def columns(self, elements: int) -> int:
        """How many inputs it adds to each sample, beside an orbit of that many elements."""

    @property
    def unsettled(self) -> bool:
        """Whether `settled` must be called before `inputs`."""
        return False

    def settled(self, orbits: Iterable[tuple[Tensor, Tensor]]) -> Probe:
        """The probe with what it must know of all inputs, from batches of (samples, their orbits)."""
        return self

    @abc.abstractmethod
    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """(sample, column, ...) inputs.

        Args:
            x: (sample, ...) the untransformed samples.
            orbit: (sample, element, ...) their orbits.
            batch: positions, keys and partners of the samples.
        """


@dataclass(frozen=True)
class Untransformed(Probe):
    """The untransformed input. Costs nothing where the transform has an identity element."""

    @property
    def name(self) -> str:
        """Its name, "identity"."""
        return "identity"

    def columns(self, elements: int) -> int:
        """One."""
        return 1

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """The samples themselves."""
        return x[:, None]


@dataclass(frozen=True)
class EqualNoise(Probe):
    """x + η for each element: η isotropic and Gaussian, of the norm by which the element moves x.

    .. math:: \\eta_{ij} = \\frac{g_{ij}}{\\|g_{ij}\\|} \\, \\|t_j x_i - x_i\\|

    Args:
        radius: "per_sample": the norm of that very displacement; "mean": the mean norm over samples
            and elements; or a norm.
        norm: the mean norm, once it is known.
    """

    radius: str | float = "per_sample"
    norm: float | None = None

    @property
    def name(self) -> str:
        """Its name; another radius is another probe."""
        return f"noise of norm {self.radius}"

    @property
    def unsettled(self) -> bool:
        """Whether the mean norm is still to be found."""
        return self.radius == "mean" and self.norm is None

    def settled(self, orbits: Iterable[tuple[Tensor, Tensor]]) -> EqualNoise:
        """With the mean norm of the displacements, the identity's left out."""
        norms = torch.cat([displacements(x, orbit).flatten() for x, orbit in orbits])
        return replace(self, norm=float(norms[norms > 0].double().mean()) if (norms > 0).any() else 0.0)

    def columns(self, elements: int) -> int:
        """One an element."""
        return elements

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """(sample, element, ...) the noisy inputs; draws depend on (seed, key, element) alone."""
        draws = Draws(batch.seed, batch.keys, orbit.shape[1], Stream.EQUAL_NOISE)
        normal = torch.from_numpy(draws.normal(x[0].numel())).to(x.device, x.dtype)
        reach = displacements(x, orbit)[..., None]
        if self.radius != "per_sample":
            reach = torch.full_like(reach, float(self.radius if self.norm is None else self.norm))
        return x[:, None] + (normal * (reach / normal.norm(dim=2, keepdim=True))).reshape(orbit.shape)


def displacements(x: Tensor, orbit: Tensor) -> Tensor:
    """(sample, element) ‖t_j x_i − x_i‖."""
    if not x.is_floating_point():
        raise TypeError(f"noise is added to the inputs, which needs floating values, got {x.dtype}")
    return (orbit - x[:, None]).flatten(2).norm(dim=2)


@dataclass(frozen=True)
class TowardNeighbour(Probe):
    """The way from x to another sample z, for each element as far as the element moves x.

    .. math:: x_i + \\rho_{ij} (z_i - x_i), \\qquad \\rho_{ij} = \\frac{\\|t_j x_i - x_i\\|}{\\|z_i - x_i\\|}

    z is the sample's partner in its block, so that a statistic that reads the responses is `paired`.
    """

    @property
    def name(self) -> str:
        """Its name."""
        return "toward the neighbour"

    def columns(self, elements: int) -> int:
        """One an element."""
        return elements

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """(sample, element, ...) points on the way; a sample without a partner, or equal to it, stays."""
        others = torch.from_numpy(np.maximum(batch.partners, 0)).to(x.device)
        way = x[others] - x
        length = way.flatten(1).norm(dim=1)[:, None]
        share = displacements(x, orbit) / length
        share = torch.where(length > 0, share, torch.zeros_like(share))
        return x[:, None] + share.view(*share.shape, *(1 for _ in x.shape[1:])) * way[:, None]
