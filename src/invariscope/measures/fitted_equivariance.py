"""Whether there is a linear action at all, found by fitting one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.measures.base import (
    ElementValues,
    Identity,
    KnownAnswer,
    LayerContext,
    LayerValues,
    Measure,
    Values,
)
from invariscope.statistics.orbit_regression import OrbitRegression, RegressionSums, halves_of


@dataclass(frozen=True, kw_only=True)
class FittedEquivariance(Measure):
    """How well a linear map of the untransformed representation predicts the transformed one.

    .. math:: M_g, b_g = \\mathrm{argmin} \\sum_{i \\in A} \\|\\varphi(g x_i) - M_g \\varphi(x_i) - b_g\\|^2
        + \\lambda |A| \\, \\|M_g\\|^2, \\qquad
        R^2_g = 1 - \\frac{\\sum_{i \\in B} \\|\\varphi(g x_i) - M_g \\varphi(x_i) - b_g\\|^2}
                          {\\sum_{i \\in B} \\|\\varphi(g x_i) - \\langle\\varphi(g x)\\rangle_A\\|^2}

    Shapes: activations (sample, element, unit...) to one R² of the layer, the mean over elements other than
    the identity, and one an element in `result.curves` (`by_element`). A hash of a sample's position says
    whether it is in half A or B; each half is fitted on once, and the sums of both are added before the
    ratio. `invariance` is the same R² with M = 1 and b = 0 in place of the fit: what is gained over it is
    equivariance that is no invariance. λ is `ridge` times the mean variance of the units in A.

    A layer of more than `dims` units is seen through a random projection (every unit enters one of `dims`
    sums with a random sign): of a larger representation R² judges what remains in the projection, usually
    less than could be predicted from all units.

    Misleads: with fewer samples a half than units (or dims), the fit is poor whatever the network, and R² too
    low. A high R² asks for no group: M_g need not compose. A constant layer has no value; one that
    barely varies has an R² of that variation.

    Args:
        ridge: the penalty, as a share of the mean variance.
        dims: the largest number of directions in which a layer is seen.
        seed: of the halves and the projection.

    Raises:
        ValueError: a ridge that is not above 0, or fewer than one dimension.

    Source:
        Lenc and Vedaldi 2015, arXiv:1411.5908, with a ridge in place of a sparse map.

    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> turned = np.stack([x, x @ np.array([[0.0, -1.0], [1.0, 0.0]])], axis=1)
    >>> found = FittedEquivariance(ridge=1e-9).oracle(turned, None)
    >>> print(found[""].round(6), found["invariance"] < 0)
    1.0 True
    """

    ridge: float = 1e-3
    dims: int = 64
    seed: int = 0

    range: ClassVar[tuple[float, float]] = (-float("inf"), 1.0)
    summary: ClassVar[str] = (
        "Whether a linear map predicts the transformed representation: is there any action."
    )
    reading: ClassVar[str] = (
        "1: some linear map does what the transformation does. 0: no better than the mean. Compare with "
        "`invariance`, where the map is the identity. It misleads with few samples: take many more than "
        "twice the units or `dims`."
    )

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge is a share of the units' variance, above 0; got {self.ridge!r}")
        if not isinstance(self.dims, int) or self.dims < 1:
            raise ValueError(f"dims is a whole number, at least 1; got {self.dims!r}")

    @property
    def probes(self) -> tuple[Identity]:
        """The untransformed input."""
        return (Identity(),)

    def statistics(self) -> tuple[OrbitRegression]:
        """Second moments of both halves."""
        return (OrbitRegression(self.dims, self.seed),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """R² of the layer and of each element."""
        (sums,) = finals
        fitted = np.stack([self._shares(sums, r, fit=True) for r in range(len(sums.count))])
        plain = np.stack([self._shares(sums, r, fit=False) for r in range(len(sums.count))])
        return {
            "": LayerValues(fitted[:, sums.moving].mean(axis=1)),
            "invariance": LayerValues(plain[:, sums.moving].mean(axis=1)),
            "by_element": ElementValues(fitted),
        }

    def _shares(self, sums: RegressionSums, replicate: int, *, fit: bool) -> np.ndarray:
        """(element,) R² of one replicate, over both halves."""
        left, total = 0.0, 0.0
        for a, b in ((0, 1), (1, 0)):
            if min(sums.count[replicate]) < 2:
                return np.full(sums.yy.shape[2], np.nan)
            spread, test = _around(sums, replicate, a, a), _around(sums, replicate, b, a)
            if fit:
                penalty = self.ridge * np.trace(spread.xx) / len(spread.xx)
                maps = _solved(spread.xx + penalty * np.eye(len(spread.xx)), spread.xy)
                left = left + _residual(test, maps) * sums.count[replicate, b]
            else:
                left = left + _difference(sums, replicate, b)
            total = total + test.yy * sums.count[replicate, b]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0, 1 - left / total, np.nan)

    def oracle(
        self, activations: np.ndarray, labels: np.ndarray | None, indices: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The definition, with a least-squares solver on penalised rows."""
        flat = activations.reshape(*activations.shape[:2], -1)
        halves = halves_of(np.arange(len(flat)) if indices is None else indices, seed=self.seed)
        found: dict[str, list[float]] = {"fit": [], "plain": []}
        for j in range(flat.shape[1]):
            left, plain, total = 0.0, 0.0, 0.0
            for half in (0, 1):
                x, y = flat[halves == half, 0], flat[halves == half, j]
                new, wanted = flat[halves != half, 0], flat[halves != half, j]
                matrix = self._naive_fit(x - x.mean(axis=0), y - y.mean(axis=0))
                left += np.sum((wanted - y.mean(axis=0) - (new - x.mean(axis=0)) @ matrix) ** 2)
                plain += np.sum((wanted - new) ** 2)
                total += np.sum((wanted - y.mean(axis=0)) ** 2)
            found["fit"].append(1 - left / total)
            found["plain"].append(1 - plain / total)
        return {
            "": np.array(np.mean(found["fit"][1:])),
            "invariance": np.array(np.mean(found["plain"][1:])),
            "by_element": np.array(found["fit"]),
        }

    def _naive_fit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        units = x.shape[1]
        penalty = np.sqrt(self.ridge * len(x) * x.var(axis=0).mean())
        rows = np.concatenate([x, penalty * np.eye(units)])
        return np.linalg.lstsq(rows, np.concatenate([y, np.zeros((units, y.shape[1]))]), rcond=None)[0]

    @classmethod
    def examples(cls) -> tuple[FittedEquivariance, ...]:
        """Two penalties, two ways to halve."""
        return (cls(), cls(ridge=1.0), cls(seed=1))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Responses −1 and 1 in both halves: the negated element is predicted up to the penalty."""
        indices = np.arange(200)
        halves = halves_of(indices, seed=0)
        x = np.zeros(200)
        for half in (0, 1):
            mine = np.flatnonzero(halves == half)
            mine = mine[: len(mine) // 2 * 2]  # as many −1 as 1; what is left over stays 0
            x[mine] = np.resize([-1.0, 1.0], len(mine))
        negated = np.stack([x, -x], axis=1)[..., None]
        # Least squares shrinks the slope −1 to −1/(1 + ridge): a residual of (ridge/(1 + ridge))².
        return (
            KnownAnswer({"ridge": 1.0}, negated, 1 - 0.5**2),
            KnownAnswer({"ridge": 0.25}, negated, 1 - 0.2**2),
            KnownAnswer({}, negated, 1 - 2**2, output="invariance"),
        )


@dataclass(frozen=True)
class _Moments:
    """Means of products around given means: x xᵀ (dim, dim), x yᵀ (element, dim, dim), ‖y‖² (element,)."""

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray


def _around(sums: RegressionSums, replicate: int, half: int, centre: int) -> _Moments:
    """The moments of one half around the means of the half `centre`."""
    count = sums.count[replicate, half]
    x, y = (part[replicate, centre] / sums.count[replicate, centre] for part in (sums.x, sums.y))
    own_x, own_y = sums.x[replicate, half] / count, sums.y[replicate, half] / count
    dx, dy = own_x - x, own_y - y
    xx = sums.xx[replicate, half] / count - np.outer(own_x, own_x) + np.outer(dx, dx)
    xy = sums.xy[replicate, half] / count - own_x[:, None] * own_y[:, None] + dx[:, None] * dy[:, None]
    yy = sums.yy[replicate, half] / count - np.square(own_y).sum(axis=1) + np.square(dy).sum(axis=1)
    return _Moments(xx, xy, np.maximum(yy, 0))


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(element, dim, dim) the maps; zero where nothing varies."""
    return np.linalg.solve(matrix, right) if np.trace(matrix) > 0 else np.zeros_like(right)


def _residual(test: _Moments, maps: np.ndarray) -> np.ndarray:
    """(element,) mean ‖y − Mᵀx‖², from moments."""
    crossed = (maps * test.xy).sum(axis=(1, 2))
    return np.maximum(test.yy - 2 * crossed + (maps * (test.xx @ maps)).sum(axis=(1, 2)), 0)


def _difference(sums: RegressionSums, replicate: int, half: int) -> np.ndarray:
    """(element,) Σ ‖y − x‖²."""
    crossed = np.trace(sums.xy[replicate, half], axis1=1, axis2=2)
    return np.maximum(sums.yy[replicate, half] - 2 * crossed + np.trace(sums.xx[replicate, half]), 0)
