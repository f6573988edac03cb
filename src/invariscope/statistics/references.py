"""What the sums of a stratum are relative to, and the response that its units usually give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.reference_kernel import take_reference

FIRST = 5  # samples of a stratum that its reference is taken from


def rounding(double: bool) -> float:
    """Share τ of a unit's size below which differences are rounding."""
    return 1e-10 if double else 32 * float(np.finfo(np.float32).eps)


@cache
def orbit_weights(elements: int) -> np.ndarray:
    """(element,) weights w_j between 1 and 2 of the sum that tells orbits apart.

    No few of them stand in a simple ratio, so that orbits of equal weighted sums are equal.

    >>> orbit_weights(3).round(3).tolist()
    [1.618, 1.236, 1.854]
    """
    return 1 + np.mod(np.arange(1, elements + 1) * (5**0.5 - 1) / 2, 1)


@dataclass
class References:
    r"""Of each stratum one orbit near all others, and the usual response of its units.

    A sample gives a unit's usual response if its weighted sum

    .. math:: S_i = w_0 a_{i0} + \sum_{j>0} w_j (a_{ij} - a_{i0})

    is within τ·s·Σ_j w_j of the usual one: it is if a_i0 and all differences are within τ·s of theirs. The
    size s of a unit is estimated from the samples that the reference is taken from: the root mean square of
    the unit's responses, or a thousandth of that of the layer if that is larger. τ is 1e-10 for float64
    activations, 32 ε for float32.

    Args:
        pivot: (stratum, element, unit) in the precision of the rows: the element-wise lower median.
        usual: (stratum, 2, unit) float64: the weighted sum that most of those samples agree on (of the first
            of them that has the most agreeing with it), and the tolerance τ·s·Σ_j w_j.
        settled: (stratum,) whether `FIRST` samples were there to take them from.
    """

    pivot: Any
    usual: Any
    settled: np.ndarray

    @classmethod
    def empty(cls, elements: int, units: int, kind: np.dtype) -> References:
        """Of no stratum yet, with room for one."""
        return cls(np.zeros((1, elements, units), kind), np.zeros((1, 2, units)), np.zeros(1, bool))

    def make_room(self, strata: int) -> None:
        """Room for so many strata, or for four times as many as there were, since growing copies."""
        if strata > len(self.settled):
            room = max(strata, 4 * len(self.settled))
            self.pivot, self.usual, self.settled = (
                _enlarged(part, room) for part in (self.pivot, self.usual, self.settled)
            )

    def take(self, stratum: int, rows: Tensor, starts: np.ndarray, step: int, *, double: bool) -> None:
        """Takes the reference of a stratum from at most `FIRST` orbits.

        Args:
            rows: (row, unit) responses.
            starts: (sample,) the row in which each orbit begins.
            step: rows from one element to the next.
            double: whether the activations were float64.
        """
        pivot, usual, share = self.pivot[stratum], self.usual[stratum], rounding(double)
        weights = orbit_weights(len(pivot))
        if isinstance(self.pivot, np.ndarray):
            take_reference(rows.numpy(), starts, step, weights, share, pivot, usual)
            return
        places = torch.from_numpy(starts[:, None] + step * np.arange(len(pivot))).to(rows.device)
        orbits = rows[places]
        pivot.copy_(orbits.sort(dim=0).values[(len(orbits) - 1) // 2])
        sums = weighted_sums(orbits)
        squares = orbits.double().square().mean((0, 1))
        usual[1] = share * torch.maximum(squares, 1e-6 * squares.mean()).sqrt() * weights.sum()
        agreeing = agree(sums[:, None], sums, usual[1]).sum(1)
        usual[0] = sums.gather(0, agreeing.argmax(0, keepdim=True))[0]

    def on_host(self) -> References:
        """As arrays."""
        return References(_array(self.pivot), _array(self.usual), self.settled)

    def on(self, device: torch.device) -> References:
        """As tensors."""
        pivot, usual = (torch.from_numpy(part).to(device) for part in (self.pivot, self.usual))
        return References(pivot, usual, self.settled)


def _enlarged(part: Any, room: int) -> Any:
    if isinstance(part, Tensor):
        return torch.cat([part, part.new_zeros((room - len(part), *part.shape[1:]))])
    # Memory that nobody writes to costs nothing; flags are small, and must be down.
    grown = np.zeros(room, bool) if part.ndim == 1 else np.empty((room, *part.shape[1:]), part.dtype)
    grown[: len(part)] = part
    return grown


def _array(part: Any) -> np.ndarray:
    return part.cpu().numpy() if isinstance(part, Tensor) else part


def weighted_sums(orbits: Tensor) -> Tensor:
    """(sample, unit) w_0·a_i0 + Σ_j w_j (a_ij − a_i0) of (sample, element, unit) orbits, in float64."""
    weights = torch.from_numpy(orbit_weights(orbits.shape[1])).to(orbits.device)
    wide = orbits.double()
    differences = (wide[:, 1:] - wide[:, :1]) * weights[1:, None]
    return weights[0] * wide[:, 0] + differences.sum(1)


def agree(sums: Any, usual: Any, tolerance: Any) -> Any:
    """Whether weighted sums are those of the usual response."""
    return abs(sums - usual) <= tolerance
