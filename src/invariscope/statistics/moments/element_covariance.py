"""Covariance across samples of a unit's responses to the elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.errors import finite
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.sums import BucketSums, SumStatistic

_UNIT_CHUNK = 1 << 14


@dataclass(frozen=True)
class Sphericity:
    """Greenhouse and Geisser's factor of the degrees of freedom.

    Args:
        epsilon: (replicate, unit...) between 1/(m − 1) and 1, which is sphericity; NaN without a residual.
    """

    epsilon: np.ndarray


@dataclass(frozen=True)
class ElementCovariance(SumStatistic):
    """Sums and products across samples of a unit's differences from its response to the first element.

    Keeps (m + 2)(m − 1)/2 numbers per unit and bucket: for 16 elements 135, more than a kilobyte.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return one sum per unit and difference, and one product per pair of differences."""
        return 8 * units * (elements + 2) * (elements - 1) // 2

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return one difference per unit and element."""
        return 8 * units * (elements - 1)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return an empty state; sums are relative to the first sample's differences of each stratum."""
        count, units = block.elements - 1, math.prod(block.values.shape[1:])
        sizes = {"differences": (count, units), "products": (count * (count + 1) // 2, units)}
        return BucketSums.empty(block, buckets, sizes, fixed=(count, units))

    def update(self, state: BucketSums, block: Block) -> None:
        """Add a block's orbits."""
        found, fixed = finite(_differences(block)), state.points
        fixed.meet(block.membership, lambda sample: found[sample].cpu().numpy())
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            chosen = found[torch.from_numpy(samples).to(found.device)]
            chosen -= torch.from_numpy(fixed.values[fixed.strata[bucket]]).to(found.device)
            state.sums["differences"][bucket] += chosen.sum(0).cpu().numpy()
            _add_products(state.sums["products"][bucket], chosen)

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> dict[str, np.ndarray]:
        """Return the sums and products of the same differences, relative to other points."""
        move, counts = state.points.moves_to(fixed), state.counts[:, None, None]
        rows, columns = np.triu_indices(move.shape[1])
        sums = state.sums["differences"]
        cross = move[:, rows] * sums[:, columns] + move[:, columns] * sums[:, rows]
        products = state.sums["products"] + cross + counts * move[:, rows] * move[:, columns]
        return {"differences": sums + counts * move, "products": products}

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> Sphericity:
        """Return the factor, of all samples and of all but each group's."""
        state = self.together(state, groups)
        sums, products = state.replicates("differences", groups), state.replicates("products", groups)
        counts = state.samples(groups).tolist()
        found = [_epsilon(*parts) for parts in zip(sums, products, counts, strict=True)]
        return Sphericity(np.stack(found).reshape(-1, *state.shape))


def _differences(block: Block) -> Tensor:
    """Return (sample, element − 1, unit) differences in float64."""
    orbits = block.orbits().flatten(2)
    return orbits[:, 1:].double() - orbits[:, :1]


def _add_products(products: np.ndarray, found: Tensor) -> None:
    """Add Σ_i d_ij·d_ik for j ≤ k to (pair, unit) products."""
    count, units = found.shape[1:]
    for lo in range(0, units, _UNIT_CHUNK):
        part, row = found[:, :, lo : lo + _UNIT_CHUNK], 0
        for j in range(count):
            added = (part[:, j : j + 1] * part[:, j:]).sum(0)
            products[row : row + count - j, lo : lo + _UNIT_CHUNK] += added.cpu().numpy()
            row += count - j


def _epsilon(sums: np.ndarray, products: np.ndarray, count: float) -> np.ndarray:
    """Return (unit,) tr²(C) / ((m − 1)·tr(C²)), with C the doubly centred covariance.

    Args:
        sums: (difference, unit) Σ_i d_ij.
        products: (pair, unit) Σ_i d_ij·d_ik.
        count: number of samples.
    """
    differences = len(sums)
    elements = differences + 1
    rows, columns = np.triu_indices(differences)
    covariance = products - sums[rows] * sums[columns] / count
    diagonal = rows == columns
    twice = np.where(diagonal, 1.0, 2.0)
    each = np.arange(differences)[:, None]
    means = ((rows == each) | (columns == each)).astype(float) @ covariance / elements
    grand = means.sum(axis=0) / elements
    trace = covariance[diagonal].sum(axis=0) - elements * grand
    squares = twice @ covariance**2 - 2 * elements * (means**2).sum(axis=0) + (elements * grand) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(trace**2 / (differences * squares), 1 / differences, 1.0)
