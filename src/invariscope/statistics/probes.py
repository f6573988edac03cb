"""Probes: inputs forwarded with each orbit, such as the untransformed sample, noise, another sample."""

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
    """Positions, keys and partners of the samples in one forward pass.

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
    """Further inputs that are forwarded with each sample's orbit.

    A probe that several measures request is forwarded only once.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The name under which a statistic finds the responses: `block.probe(name)`."""

    def columns(self, elements: int) -> int:
        """Return the number of inputs added per sample; by default one per element of its orbit."""
        return elements

    @property
    def unsettled(self) -> bool:
        """Whether `settled` must be called before `inputs`."""
        return False

    def settled(self, orbits: Iterable[tuple[Tensor, Tensor]]) -> Probe:
        """Return the probe with the facts it needs about all inputs, from batches of samples and orbits."""
        return self

    @abc.abstractmethod
    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return (sample, column, ...) inputs.

        Args:
            x: (sample, ...) the untransformed samples.
            orbit: (sample, element, ...) their orbits.
            batch: positions, keys and partners of the samples.
        """


@dataclass(frozen=True)
class Untransformed(Probe):
    """The untransformed input. Costs nothing if the transform has an identity element."""

    @property
    def name(self) -> str:
        """ "identity"."""
        return "identity"

    def columns(self, elements: int) -> int:
        """Return 1."""
        return 1

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return the samples themselves."""
        return x[:, None]


@dataclass(frozen=True)
class EqualNoise(Probe):
    """x + η for each element: isotropic Gaussian noise with the norm of the element's displacement of x.

    .. math:: \\eta_{ij} = \\frac{g_{ij}}{\\|g_{ij}\\|} \\, \\|t_j x_i - x_i\\|

    Args:
        radius: "per_sample": the norm of that displacement; "mean": the mean norm over samples and elements;
            or a number.
        norm: the mean norm, once it is known.
    """

    radius: str | float = "per_sample"
    norm: float | None = None

    @property
    def name(self) -> str:
        """Unique name, which contains the radius."""
        return f"noise of norm {self.radius}"

    @property
    def unsettled(self) -> bool:
        """Whether the mean norm is still unknown."""
        return self.radius == "mean" and self.norm is None

    def settled(self, orbits: Iterable[tuple[Tensor, Tensor]]) -> EqualNoise:
        """Return the probe with the mean norm of the displacements, leaving out the identity element."""
        norms = torch.cat([displacements(x, orbit).flatten() for x, orbit in orbits])
        return replace(self, norm=float(norms[norms > 0].double().mean()) if (norms > 0).any() else 0.0)

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return (sample, element, ...) noisy inputs; draws depend only on (seed, key, element)."""
        draws = Draws(batch.seed, batch.keys, orbit.shape[1], Stream.EQUAL_NOISE)
        normal = torch.from_numpy(draws.normal(x[0].numel())).to(x.device, x.dtype)
        reach = displacements(x, orbit)[..., None]
        if self.radius != "per_sample":
            reach = torch.full_like(reach, float(self.radius if self.norm is None else self.norm))
        return x[:, None] + (normal * (reach / normal.norm(dim=2, keepdim=True))).reshape(orbit.shape)


def displacements(x: Tensor, orbit: Tensor) -> Tensor:
    """Return (sample, element) ‖t_j x_i − x_i‖."""
    if not x.is_floating_point():
        raise TypeError(f"noise is added to the inputs, which must be floating point; got {x.dtype}")
    return (orbit - x[:, None]).flatten(2).norm(dim=2)


@dataclass(frozen=True)
class TowardNeighbour(Probe):
    """For each element, a step from x toward another sample z, of the same length as t_j x − x.

    .. math:: x_i + \\rho_{ij} (z_i - x_i), \\qquad \\rho_{ij} = \\frac{\\|t_j x_i - x_i\\|}{\\|z_i - x_i\\|}

    z is the sample's partner in its block, so a statistic that reads the responses must be `paired`.
    """

    @property
    def name(self) -> str:
        """Name of the probe."""
        return "toward the neighbour"

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return (sample, element, ...) displaced inputs; samples without a distinct partner stay as is."""
        others = torch.from_numpy(np.maximum(batch.partners, 0)).to(x.device)
        way = x[others] - x
        length = way.flatten(1).norm(dim=1)[:, None]
        share = displacements(x, orbit) / length
        share = torch.where(length > 0, share, torch.zeros_like(share))
        return x[:, None] + share.view(*share.shape, *(1 for _ in x.shape[1:])) * way[:, None]
