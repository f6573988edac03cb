"""Linear maps between responses, fitted on one half of the samples and evaluated on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.statistics.moments.orbit_regression import RegressionSums, halves_of
from invariscope.statistics.rounding import without_rounding


@dataclass(frozen=True)
class HeldOut:
    """Errors of maps on the half that they were not fitted on, summed over the samples of both halves.

    Args:
        residual: (element,) Σ ‖y − Mx − b‖².
        crossed: the residual with x of another sample of that half, averaged over all other samples.
        spread: Σ ‖y − ⟨y⟩‖², with the mean over the half used for fitting.
        unmoved: Σ ‖y − x‖².
        samples: number of samples.
    """

    residual: np.ndarray
    crossed: np.ndarray
    spread: np.ndarray
    unmoved: np.ndarray
    samples: float


def held_out(sums: RegressionSums, replicate: int, *, ridge: float) -> HeldOut:
    """Return the errors of one replicate; NaN if a half has fewer than two samples."""
    if min(sums.count[replicate]) < 2:
        nothing = np.full(sums.yy.shape[2], np.nan)
        return HeldOut(nothing, nothing, nothing, nothing, float(sums.count[replicate].sum()))
    parts = [_judged(sums, replicate, a, b, ridge) for a, b in ((0, 1), (1, 0))]
    return HeldOut(*(sum(column) for column in zip(*parts, strict=True)))  # type: ignore[arg-type]


def _judged(
    sums: RegressionSums, replicate: int, a: int, b: int, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the fields of `HeldOut` for maps fitted on half a and evaluated on half b."""
    spread, test = _around(sums, replicate, a, a), _around(sums, replicate, b, a)
    penalty = ridge * np.trace(spread.xx) / len(spread.xx)
    maps = _solved(spread.xx + penalty * np.eye(len(spread.xx)), spread.xy)
    count = sums.count[replicate, b]
    mapped = (maps * (test.xx @ maps)).sum(axis=(1, 2))
    residual = test.yy - 2 * (maps * test.xy).sum(axis=(1, 2)) + mapped
    left = np.maximum(without_rounding(residual, test.square), 0) * count
    # All ordered pairs, computed from the means, minus the pairs of a sample with itself.
    pairs = test.yy + mapped - 2 * ((test.x @ maps) * test.y).sum(axis=1)
    others = without_rounding(count**2 * pairs - left, count**2 * test.square)
    crossed = np.maximum(others, 0) / (count - 1)
    return left, crossed, test.yy * count, _difference(sums, replicate, b), float(count)


@dataclass(frozen=True)
class _Moments:
    """Means around given centres: x (dim,), y (element, dim), x xᵀ, x yᵀ (element, dim, dim), ‖y‖².

    `square` is ‖y‖² before centring; its rounding error limits the precision of differences.
    """

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    square: np.ndarray


def _around(sums: RegressionSums, replicate: int, half: int, centre: int) -> _Moments:
    """Return the moments of one half around the means of the half `centre`."""
    count = sums.count[replicate, half]
    x, y = (part[replicate, centre] / sums.count[replicate, centre] for part in (sums.x, sums.y))
    own_x, own_y = sums.x[replicate, half] / count, sums.y[replicate, half] / count
    dx, dy = own_x - x, own_y - y
    xx = sums.xx[replicate, half] / count - np.outer(own_x, own_x) + np.outer(dx, dx)
    xy = sums.xy[replicate, half] / count - own_x[:, None] * own_y[:, None] + dx[:, None] * dy[:, None]
    square = sums.yy[replicate, half] / count
    yy = square - np.square(own_y).sum(axis=1) + np.square(dy).sum(axis=1)
    varies = without_rounding(np.trace(xx), np.trace(sums.xx[replicate, half]) / count) > 0
    return _Moments(dx, dy, xx * varies, xy * varies, np.maximum(without_rounding(yy, square), 0), square)


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the (element, dim, dim) fitted maps; zero if the inputs do not vary."""
    return np.linalg.solve(matrix, right) if np.trace(matrix) > 0 else np.zeros_like(right)


def _difference(sums: RegressionSums, replicate: int, half: int) -> np.ndarray:
    """Return (element,) Σ ‖y − x‖²."""
    crossed = np.trace(sums.xy[replicate, half], axis1=1, axis2=2)
    squares = sums.yy[replicate, half] + np.trace(sums.xx[replicate, half])
    return np.maximum(without_rounding(squares - 2 * crossed, squares), 0)


def naively_predicted(
    activations: np.ndarray, indices: np.ndarray | None, *, ridge: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict flat (sample, element, unit) responses by ridge regression with extra rows, for oracles.

    Returns:
        The responses, their predictions from the other half, and the mean that each prediction starts from.
    """
    flat = activations.reshape(*activations.shape[:2], -1)
    halves = halves_of(np.arange(len(flat)) if indices is None else indices, seed=seed)
    predicted, middle = np.empty_like(flat), np.empty_like(flat)
    for j in range(flat.shape[1]):
        for half in (0, 1):
            x, y = flat[halves == half, 0], flat[halves == half, j]
            matrix = _naive_fit(x - x.mean(axis=0), y - y.mean(axis=0), ridge)
            middle[halves != half, j] = y.mean(axis=0)
            predicted[halves != half, j] = (
                y.mean(axis=0) + (flat[halves != half, 0] - x.mean(axis=0)) @ matrix
            )
    return flat, predicted, middle


def _naive_fit(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    units = x.shape[1]
    penalty = np.sqrt(ridge * len(x) * x.var(axis=0).mean())
    rows = np.concatenate([x, penalty * np.eye(units)])
    return np.linalg.lstsq(rows, np.concatenate([y, np.zeros((units, y.shape[1]))]), rcond=None)[0]
