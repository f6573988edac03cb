"""Fitted equivariance: how well the best linear action explains the transformed responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.actions.fitted_action import FittedAction
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.ridge_maps import held_out, naively_predicted
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.moments.orbit_regression import OrbitRegression, halves_of
from invariscope.statistics.rounding import ratio

_R2 = (-float("inf"), 1.0)


@dataclass(frozen=True, kw_only=True)
class FittedEquivariance(Measure):
    """How well a linear map of the untransformed representation predicts the transformed one.

    .. math:: M_g, b_g = \\mathrm{argmin} \\sum_{i \\in A} \\|\\varphi(g x_i) - M_g \\varphi(x_i) - b_g\\|^2
        + \\lambda |A| \\, \\|M_g\\|^2, \\qquad
        R^2_g = 1 - \\frac{\\sum_{i \\in B} \\|\\varphi(g x_i) - M_g \\varphi(x_i) - b_g\\|^2}
                          {\\sum_{i \\in B} \\|\\varphi(g x_i) - \\langle\\varphi(g x)\\rangle_A\\|^2}

    Shapes: activations (sample, element, unit...) to one R² per layer, the mean over elements other than the
    identity, and one per element in `result.curves` (`by_element`). A hash assigns each sample to half A or
    B; each half is used once for fitting, and the sums over both halves are added before the ratio is taken.
    `invariance` is the same R² with M = 1 and b = 0 instead of the fit: the gain over it is equivariance
    beyond invariance. λ is `ridge` times the mean variance of the units in A.

    A layer with more than `dims` units is randomly projected (every unit is added to one of `dims` sums with
    a random sign). R² then describes the projection, which is usually less predictable than all units
    together.

    Caveats: with fewer samples per half than units (or dims), the fit is poor whatever the network, and R² is
    too low. A high R² does not imply a group action, since the M_g need not compose. A constant layer has no
    value, and a layer that barely varies has the R² of that small variation.

    Reading:
        1: a linear map reproduces the transformation's effect. 0: it predicts no better than the mean.
        Compare with `invariance`, for which the map is the identity. R² is not reliable with few samples: use
        many more than twice the number of units or `dims`.

    Args:
        ridge: the penalty, relative to the mean variance.
        dims: layers with more units are projected to this many dimensions.
        seed: seed of the halves and the projection.

    Raises:
        ValueError: a ridge that is not positive, or fewer than one dimension.

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

    def __post_init__(self) -> None:
        FittedAction(self.ridge, self.dims, self.seed)

    def outputs(self) -> dict[str, Output]:
        """Describe R² of the fit, also by element, and R² of the identity."""
        return {
            "": Output("R² of a linear map", _R2, ideal=1.0),
            "invariance": Output("R² of the identity", _R2, ideal=1.0),
            "by_element": Output("R² by element", _R2, ideal=1.0),
        }

    def statistics(self) -> tuple[OrbitRegression]:
        """Return second moments of both halves."""
        return (OrbitRegression(self.dims, self.seed),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return R² of the layer and of each element."""
        (sums,) = finals
        parts = [held_out(sums, r, ridge=self.ridge) for r in range(len(sums.count))]
        fitted = np.stack([_explained(part.residual, part.spread) for part in parts])
        plain = np.stack([_explained(part.unmoved, part.spread) for part in parts])
        return {
            "": LayerValues(fitted[:, sums.moving].mean(axis=1)),
            "invariance": LayerValues(plain[:, sums.moving].mean(axis=1)),
            "by_element": ElementValues(fitted, counted=layer.moved(fitted.shape[1])),
        }

    def oracle(
        self, activations: np.ndarray, labels: np.ndarray | None, indices: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Compute the definition by least squares, with the ridge penalty as extra rows."""
        flat, predicted, middle = naively_predicted(activations, indices, ridge=self.ridge, seed=self.seed)
        total = ((flat - middle) ** 2).sum(axis=(0, 2))
        fitted = 1 - ((flat - predicted) ** 2).sum(axis=(0, 2)) / total
        plain = 1 - ((flat - flat[:, :1]) ** 2).sum(axis=(0, 2)) / total
        return {
            "": np.array(fitted[1:].mean()),
            "invariance": np.array(plain[1:].mean()),
            "by_element": fitted,
        }

    @classmethod
    def examples(cls) -> tuple[FittedEquivariance, ...]:
        """Return instances with two penalties, and two splits into halves."""
        return (cls(), cls(ridge=1.0), cls(seed=1))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return responses −1 and 1 in both halves; their negatives are predicted up to the penalty."""
        indices = np.arange(200)
        halves = halves_of(indices, seed=0)
        x = np.zeros(200)
        for half in (0, 1):
            mine = np.flatnonzero(halves == half)
            mine = mine[: len(mine) // 2 * 2]  # equally many −1 and 1; an odd one stays 0
            x[mine] = np.resize([-1.0, 1.0], len(mine))
        negated = np.stack([x, -x], axis=1)[..., None]
        # Least squares shrinks the slope −1 to −1/(1 + ridge): a residual of (ridge/(1 + ridge))².
        return (
            KnownAnswer({"ridge": 1.0}, negated, 1 - 0.5**2),
            KnownAnswer({"ridge": 0.25}, negated, 1 - 0.2**2),
            KnownAnswer({}, negated, 1 - 2**2, output="invariance"),
        )


def _explained(left: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return (element,) R²; without variation, NaN if the residual is zero and −∞ otherwise."""
    return 1 - ratio(left, total)
