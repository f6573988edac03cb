"""Reference orbits to which the sums of a stratum are relative, and the usual responses of its units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.compiling import compiled
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.moments.orbit_kernel import OPTIONS, TILE, along


@compiled(**OPTIONS)
def _median_of_five(a, b, c, d, e, found):
    """Compute the median without sorting: of any four values, it is neither the smallest nor the largest."""
    for u in range(len(found)):
        low = max(min(a[u], b[u]), min(c[u], d[u]))
        high = min(max(a[u], b[u]), max(c[u], d[u]))
        found[u] = max(min(low, high), min(max(low, high), e[u]))


@compiled(**OPTIONS)
def _insert(few, count, value):
    """Insert a value into the first `count` ones, which are sorted."""
    while count > 0 and few[count - 1] > value:
        few[count] = few[count - 1]
        count -= 1
    few[count] = value


@compiled(**OPTIONS)
def _medians(rows, starts, step, left, pivot):
    """Fill the (element, unit) lower median of one to five orbits, for a tile of units."""
    count, few, (elements, width) = len(starts), np.empty(len(starts), rows.dtype), pivot.shape
    right = left + width
    for j in range(elements):
        if count == 5:
            a, b = rows[starts[0] + j * step, left:right], rows[starts[1] + j * step, left:right]
            c, d = rows[starts[2] + j * step, left:right], rows[starts[3] + j * step, left:right]
            _median_of_five(a, b, c, d, rows[starts[4] + j * step, left:right], pivot[j])
            continue
        for u in range(width):
            for i in range(count):
                _insert(few, i, rows[starts[i] + j * step, left + u])
            pivot[j, u] = few[(count - 1) // 2]


@compiled(**OPTIONS)
def _add_squares(head, sums, spread, elements, squares):
    """Add Σ_j a_j² of one orbit."""
    for u in range(len(squares)):
        origin = np.float64(head[u])
        squares[u] += origin * (elements * origin + 2 * sums[u]) + spread[u]


@compiled(**OPTIONS)
def _summaries(rows, starts, step, weights, pivot, weighted, squares):
    """Fill medians, (sample, unit) weighted sums, and (unit,) sums of squares over samples and elements."""
    (units, flat), elements = (rows.shape[1], rows.reshape(-1)), len(weights)
    sums, spread = np.empty(TILE), np.empty(TILE)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        _medians(rows, starts, step, left, pivot[:, left:right])
        for i in range(len(starts)):
            first = starts[i] * units + left
            along(flat, first, step * units, weights, sums[:width], spread, weighted[i, left:right])
            _add_squares(flat[first:], sums, spread, elements, squares[left:right])


@compiled(**OPTIONS)
def _count_agreeing(first, second, tolerance, agree, other):
    for u in range(len(tolerance)):
        same = 1.0 if abs(first[u] - second[u]) <= tolerance[u] else 0.0
        agree[u] += same
        other[u] += same


@compiled(**OPTIONS)
def _prefer(own, agree, best, found):
    for u in range(len(found)):
        found[u] = own[u] if agree[u] > best[u] else found[u]
        best[u] = max(agree[u], best[u])


@compiled(**OPTIONS)
def _most_agreed(weighted, tolerance, found):
    """Fill (unit,) with the first of the (sample, unit) sums that most others agree with."""
    count = len(weighted)
    agree = np.empty((count, TILE))
    for left in range(0, len(found), TILE):
        right = min(left + TILE, len(found))
        few, far, into = weighted[:, left:right], tolerance[left:right], found[left:right]
        for i in range(count):
            for u in range(TILE):
                agree[i, u] = 0.0
            for k in range(i):
                _count_agreeing(few[i], few[k], far, agree[i], agree[k])
        for u in range(right - left):
            into[u] = few[0, u]
        for i in range(1, count):
            _prefer(few[i], agree[i], agree[0], into)


@compiled(**OPTIONS)
def _summaries_of_all(rows, starts, step, weights, strata, pivots, weighted, squares):
    for s in range(len(strata)):
        _summaries(rows, starts[s], step, weights, pivots[strata[s]], weighted[s], squares[s])


@compiled(**OPTIONS)
def _most_agreed_of_all(weighted, strata, usual):
    for s in range(len(strata)):
        _most_agreed(weighted[s], usual[strata[s], 1], usual[strata[s], 0])


def take_references(
    rows: np.ndarray,
    starts: np.ndarray,
    step: int,
    weights: np.ndarray,
    share: float,
    strata: np.ndarray,
    pivots: np.ndarray,
    usual: np.ndarray,
) -> None:
    """Fill the median orbits and the usual responses of some strata; see `References`.

    Args:
        rows: (row, unit), C-contiguous float32 or float64.
        starts: (stratum, sample) the first row of each of one to five orbits.
        step: rows from one element to the next.
        weights: (element,) weights of the weighted sum.
        share: the tolerance τ, see `References`.
        strata: (stratum,) where to fill in `pivots` and `usual`.
        pivots: (..., element, unit) in the type of `rows`.
        usual: (..., 2, unit) float64.
    Raises:
        ValueError: sizes that do not match.
    """
    (strata_now, count), elements, units = starts.shape, len(weights), rows.shape[1]
    refuse_sizes(
        pivot=(pivots.shape[1:], (elements, units)),
        usual=(usual.shape, (len(pivots), 2, units)),
        strata=(strata.shape, (strata_now,)),
    )
    last = starts + (elements - 1) * step
    refuse_places(orbits=(count - 1, 5), starts=(starts, len(rows)), ends=(last, len(rows)))
    refuse_places(strata=(strata, len(pivots)))
    weighted, squares = np.empty((strata_now, count, units)), np.zeros((strata_now, units))
    _summaries_of_all(rows, starts, step, weights, strata, pivots, weighted, squares)
    usual[strata, 1] = usual_tolerance(squares / (count * elements), share) * weights.sum()
    _most_agreed_of_all(weighted, strata, usual)


def usual_tolerance(squares: np.ndarray, share: float) -> np.ndarray:
    """Return (stratum, unit) τ·s from mean square responses."""
    layer = squares.mean(axis=-1, keepdims=True) if squares.size else 0.0
    return share * np.sqrt(np.maximum(squares, 1e-6 * layer))


FIRST = 5  # samples of a stratum that determine its reference


def rounding(double: bool) -> float:
    """Return τ, the share of a unit's size below which differences count as rounding."""
    return 1e-10 if double else 32 * float(np.finfo(np.float32).eps)


@cache
def orbit_weights(elements: int) -> np.ndarray:
    """Return (element,) weights w_j, between 1 and 2, for the weighted sum by which orbits are compared.

    Their ratios are irrational, so that different orbits are very unlikely to have equal weighted sums.

    >>> orbit_weights(3).round(3).tolist()
    [1.618, 1.236, 1.854]
    """
    return 1 + np.mod(np.arange(1, elements + 1) * (5**0.5 - 1) / 2, 1)


@dataclass
class References:
    r"""A reference orbit per stratum, to which sums are relative, and the usual response of its units.

    A sample gives a unit's usual response if its weighted sum

    .. math:: S_i = w_0 a_{i0} + \sum_{j>0} w_j (a_{ij} - a_{i0})

    is within τ·s·Σ_j w_j of the usual one. This is the case if a_i0 and all differences are within τ·s of the
    usual ones. The size s of a unit is estimated from the samples that the reference is taken from: the root
    mean square of the unit's responses, or a thousandth of the layer's if that is larger. τ is 1e-10 for
    float64 activations, 32 ε for float32.

    Args:
        pivot: (stratum, element, unit) in the precision of the rows: the element-wise lower median.
        usual: (stratum, 2, unit) float64: the weighted sum of the sample with which most of the first samples
            agree (the first such sample), and the tolerance τ·s·Σ_j w_j.
        settled: (stratum,) whether the reference is final, because it was computed from `FIRST` samples.
    """

    pivot: Any
    usual: Any
    settled: np.ndarray

    @classmethod
    def empty(cls, strata: int, elements: int, units: int, kind: np.dtype) -> References:
        """Return references without values, with memory for this many strata."""
        return cls(
            np.zeros((strata, elements, units), kind), np.zeros((strata, 2, units)), np.zeros(strata, bool)
        )

    def make_room(self, strata: int) -> None:
        """Allocate memory for at least this many strata, growing fourfold because growing copies arrays."""
        if strata > len(self.settled):
            room = max(strata, 4 * len(self.settled))
            self.pivot, self.usual, self.settled = (
                _enlarged(part, room) for part in (self.pivot, self.usual, self.settled)
            )

    def take(self, strata: np.ndarray, rows: Tensor, starts: np.ndarray, step: int, *, double: bool) -> None:
        """Compute the references of strata, each from the same number of orbits, at most `FIRST`.

        Args:
            strata: (stratum,) the strata.
            rows: (row, unit) responses.
            starts: (stratum, sample) first row of each orbit.
            step: number of rows from one element to the next.
            double: whether the activations were float64.
        """
        share, weights = rounding(double), orbit_weights(self.pivot.shape[1])
        if isinstance(self.pivot, np.ndarray):
            own = np.ascontiguousarray(starts)
            take_references(rows.numpy(), own, step, weights, share, strata, self.pivot, self.usual)
            return
        for stratum, own in zip(strata.tolist(), starts, strict=True):
            self._take_on_device(stratum, rows, own, step, share)

    def _take_on_device(
        self, stratum: int, rows: Tensor, starts: np.ndarray, step: int, share: float
    ) -> None:
        pivot, usual = self.pivot[stratum], self.usual[stratum]
        weights = orbit_weights(len(pivot))
        places = torch.from_numpy(starts[:, None] + step * np.arange(len(pivot))).to(rows.device)
        orbits = rows[places]
        pivot.copy_(orbits.sort(dim=0).values[(len(orbits) - 1) // 2])
        sums = weighted_sums(orbits)
        squares = orbits.double().square().mean((0, 1))
        usual[1] = share * torch.maximum(squares, 1e-6 * squares.mean()).sqrt() * weights.sum()
        agreeing = agree(sums[:, None], sums, usual[1]).sum(1)
        usual[0] = sums.gather(0, agreeing.argmax(0, keepdim=True))[0]

    def of_first(self) -> References:
        """Return a copy with room for as many strata that holds the reference of the first one alone."""
        copy = References(*(np.empty_like(part) for part in vars(self).values()))
        copy.settled[:] = False
        copy.pivot[0], copy.usual[0], copy.settled[0] = self.pivot[0], self.usual[0], self.settled[0]
        return copy

    def on_host(self) -> References:
        """Return the references as arrays."""
        return References(as_array(self.pivot), as_array(self.usual), self.settled)

    def on(self, device: torch.device) -> References:
        """Return the references as tensors."""
        pivot, usual = (torch.from_numpy(part).to(device) for part in (self.pivot, self.usual))
        return References(pivot, usual, self.settled)


def _enlarged(part: Any, room: int) -> Any:
    if isinstance(part, Tensor):
        return torch.cat([part, part.new_zeros((room - len(part), *part.shape[1:]))])
    # Untouched memory is free, so only the flags, which must start as False, are zeroed.
    grown = np.zeros(room, bool) if part.ndim == 1 else np.empty((room, *part.shape[1:]), part.dtype)
    grown[: len(part)] = part
    return grown


def as_array(part: Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor or array as an array on the host."""
    return part.cpu().numpy() if isinstance(part, Tensor) else part


def weighted_sums(orbits: Tensor) -> Tensor:
    """Return (sample, unit) w_0·a_i0 + Σ_j w_j (a_ij − a_i0), in float64, of (sample, element, unit)."""
    weights = torch.from_numpy(orbit_weights(orbits.shape[1])).to(orbits.device)
    wide = orbits.double()
    differences = (wide[:, 1:] - wide[:, :1]) * weights[1:, None]
    return weights[0] * wide[:, 0] + differences.sum(1)


def agree(sums: Any, usual: Any, tolerance: Any) -> Any:
    """Return whether weighted sums match that of the usual response."""
    return abs(sums - usual) <= tolerance
