"""Variance along orbits relative to variance across samples (Quiroga et al. 2019, 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from invariscope.common.checks import refuse_other
from invariscope.measures.base import KnownAnswer
from invariscope.measures.values import LayerContext, UnitValues
from invariscope.measures.variance_options import VarianceMeasure, plain_units
from invariscope.measures.variance_parts import (
    Parts,
    fold,
    holds_maps,
    naively_folded,
)
from invariscope.statistics.moments.orbit_moments import POOLS, SPREADS

NORMS = ("sample", "total", "random_net", None)


@dataclass(frozen=True, kw_only=True)
class TransformationVariance(VarianceMeasure):
    """How far the transformation moves a unit, averaged over samples.

    Variance of a unit along the orbit, averaged over samples.

    .. math:: TV_u = \\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i

    Shapes: activations (sample, element, unit...) to one value per unit. At least two samples and two
    elements are needed; Var divides by m − 1. In squared units of the activation (plain units with
    `spread="std"`), so compare layers only after normalising. The layer's value is the mean over live units;
    a dead unit gives 0, which is not evidence of invariance.

    Reading:
        0: the transformation does not move the unit. Larger: it moves it more. A unit that never responds
        also has 0. The value is in squared units of the activation, so it cannot be compared between layers
        of different scale: use normalized_variance for that.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, V_t.

    >>> TransformationVariance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    array([1.])
    """

    unit: ClassVar[str] = "activation"

    def _units(self, parts: Parts, layer: LayerContext) -> UnitValues:
        null = None if parts.standard else parts.null
        found = plain_units(self, parts, parts.transformation, null=null)
        return replace(found, uncovered=parts.few_decide or found.uncovered, reach=parts.reach)

    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray:
        return naively_folded(along, self.pool)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Two samples, two elements, two units."""
        activations = [[[1.0, 5.0], [3.0, 5.0]], [[5.0, 7.0], [5.0, 7.0]]]
        return (
            KnownAnswer({}, activations, [1.0, 0.0]),
            KnownAnswer({"spread": "std"}, activations, [2**0.5 / 2, 0.0]),
        )


@dataclass(frozen=True, kw_only=True)
class SampleVariance(VarianceMeasure):
    """How far a change of sample moves a unit, averaged over elements.

    Variance of a unit across samples, averaged over elements.

    .. math:: SV_u = \\langle \\mathrm{Var}_i\\, a_u(t_j x_i) \\rangle_j

    Shapes, units and the layer's value are as for :class:`TransformationVariance`. It is the normaliser of
    :class:`NormalizedVariance`: how much the unit depends on the sample at all.

    Reading:
        0: the unit responds identically to every sample, so its invariance means nothing. Larger: it
        separates samples more. In squared units of the activation, so it cannot be compared between layers
        of different scale.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, V_x.

    >>> SampleVariance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    array([5.])
    """

    def _units(self, parts: Parts, layer: LayerContext) -> UnitValues:
        return plain_units(self, parts, parts.sample, null=None)

    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray:
        return naively_folded(across, self.pool)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Two samples, two elements, two units."""
        activations = [[[1.0, 5.0], [3.0, 5.0]], [[5.0, 7.0], [5.0, 7.0]]]
        return (KnownAnswer({}, activations, [5.0, 2.0]),)


@dataclass(frozen=True, kw_only=True)
class NormalizedVariance(VarianceMeasure):
    """How far the transformation moves a unit, relative to a change of sample.

    Variance along the orbit relative to variance across samples.

    .. math:: NV_u = \\frac{TV_u}{SV_u}
        = \\frac{\\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i}
               {\\langle \\mathrm{Var}_i\\, a_u(t_j x_i) \\rangle_j}

    Shapes: activations (sample, element, unit...) to one dimensionless value per unit. The layer's value is
    the mean over live units. It is reported with the ratio of the layer's mean TV to its mean SV, which a few
    nearly dead units cannot inflate. The null is the value for rows of independently drawn samples,
    1 + Var_j(mean response to j) / SV; a value near the null means that the transformation destroys the
    unit's information about the sample.

    Caveats: SV can be small for unrelated reasons. A layer that barely responds to anything gets large, noisy
    values (look at the ratio), and SV is smaller within one class, so class-conditional values are larger.
    Units with TV = SV = 0 are *dead*: their value is NaN, and they are left out of means and counted.

    Reading:
        0: invariant. About 1: the transformation moves a unit as much as a change of sample does. Dead
        units (moved by neither) are left out and counted. Layers that respond to nothing get large, noisy
        values: compare the value with the ratio and with the null.

    Args:
        norm: the denominator. "sample": SV; "total": variance over all responses; "random_net":
            TV of the same architecture with random weights; None: 1.
        degenerate: "nan" as above; "one": 0/0 counts as 1 and x/0 as infinity, as in the published code.

    Raises:
        ValueError: an unknown option.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, V = V_t / V_x.

    >>> NormalizedVariance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    array([0.2])
    """

    norm: str | None = "sample"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_other(self, norm=NORMS)

    @property
    def needs_reference(self) -> bool:
        """True for norm="random_net"."""
        return self.norm == "random_net"

    def _units(self, parts: Parts, layer: LayerContext) -> UnitValues:
        above, below = parts.transformation, self._denominator(parts, layer)
        dead, infinite = parts.dead, parts.still & ~parts.dead
        sparse = self._sparse(parts)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(infinite, np.inf, above / below)
            null = None if parts.standard or self.norm != "sample" else parts.null / below[0]
        values = np.where(dead, 1.0 if self.degenerate == "one" else np.nan, values)
        counted = np.asarray(np.isfinite(values[0]) & ~sparse)
        ratio = parts.ratio(above, below)
        if not holds_maps(values, self.pool):
            out = (int(dead.sum()), int(sparse.sum()), int(infinite.sum()))
            rare = parts.uncovered(counted, self.min_firing)
            return UnitValues(values, counted, *out, ratio, null, uncovered=rare, reach=parts.reach)
        folded = self._folded(values, above, below, counted)
        alive = np.isfinite(folded[0])
        whole = dead.all(axis=tuple(range(1, dead.ndim)))
        sparse_maps = int((~alive & ~whole).sum())
        few, wide = parts.few_decide, parts.reach
        out = (int(whole.sum()), sparse_maps, 0)
        return UnitValues(folded, alive, *out, ratio, uncovered=few, reach=wide)

    def _folded(
        self, values: np.ndarray, above: np.ndarray, below: np.ndarray, counted: np.ndarray
    ) -> np.ndarray:
        if self.pool == "after":
            return fold(values, counted)
        everywhere = np.ones_like(counted)
        with np.errstate(divide="ignore", invalid="ignore"):
            return fold(above, everywhere) / fold(below, everywhere)

    def _denominator(self, parts: Parts, layer: LayerContext) -> np.ndarray:
        if self.norm == "sample":
            return parts.sample
        if self.norm is None:
            return np.ones_like(parts.sample)
        if self.norm == "total":
            spread = parts.across.total_variance
        else:
            assert layer.reference is not None
            spread = np.broadcast_to(layer.reference, parts.sample.shape)
        return np.sqrt(spread) if parts.standard else spread

    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray:
        if self.norm == "total":
            flat = values.reshape(-1, *values.shape[2:])
            across = (np.var if self.spread == "variance" else np.std)(flat, axis=0, ddof=1)
        across = np.ones_like(across) if self.norm is None else across
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.pool == "ratio":
                return naively_folded(along, self.pool) / naively_folded(across, self.pool)
            return naively_folded(along / across, self.pool)

    @classmethod
    def examples(cls) -> tuple[NormalizedVariance, ...]:
        """Return every spread, every pooling, and every norm that needs no second network."""
        pooled = [cls(spread=spread, pool=pool, min_firing=0) for spread in SPREADS for pool in POOLS]
        return (*pooled, cls(norm="total", min_firing=0), cls(norm=None, min_firing=0))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Two samples, two elements: a moving unit, an invariant one, and a dead one."""
        activations = [[[1.0, 5.0, 4.0], [3.0, 5.0, 4.0]], [[5.0, 7.0, 4.0], [5.0, 7.0, 4.0]]]
        return (
            KnownAnswer({}, activations, [0.2, 0.0, np.nan]),
            KnownAnswer({"degenerate": "one"}, activations, [0.2, 0.0, 1.0]),
            KnownAnswer({"norm": None}, activations, [1.0, 0.0, np.nan]),
            KnownAnswer({"preset": "tmeasures"}, activations, [1 / 3, 0.0, 1.0]),
        )
