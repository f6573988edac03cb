"""Variance along orbits relative to variance across samples (Quiroga et al. 2019, 2020)."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import refuse_other, set_integers
from invariscope.measures.base import KnownAnswer, Measure, Presets, apply_preset
from invariscope.measures.values import LayerContext, Output, UnitValues
from invariscope.measures.variance_parts import (
    Parts,
    fold,
    holds_maps,
    naively_collapsed,
    naively_folded,
)
from invariscope.measures.variance_strata import StrataParts, StrataValues
from invariscope.statistics.moments.orbit_moments import POOLS, SPREADS, OrbitMoments
from invariscope.statistics.moments.variances import StrataMoments
from invariscope.statistics.rounding import quotient

DEGENERATES = ("nan", "one")

# Despite the names they use, the 2019 code and tmeasures average standard deviations.
PRESETS: Presets = {
    "slides": {},
    "tmeasures": {"spread": "std", "degenerate": "one", "min_firing": 0},
    "quiroga2019_full": {"spread": "std", "pool": "before_mean", "degenerate": "one", "min_firing": 0},
    "quiroga2019": {
        "spread": "std",
        "pool": "before_mean",
        "degenerate": "one",
        "min_firing": 0,
        "protocol": "quiroga2019",
    },
}


@dataclass(frozen=True, kw_only=True)
class VarianceMeasure(Measure):
    """Options of the variance measures.

    Args:
        spread: "variance" (preset "slides"), or "std": means of standard deviations (preset "quiroga2019").
        pool: how to reduce the positions of a feature map (C, H, W) to one value; layers of other shapes are
            unaffected. None: keep every unit; "after": mean of unit values per map; "ratio": ratio of the
            map's means; "before_mean", "before_max", "before_sum": collapse the map before any statistic.
        min_firing: a unit is *sparse* if fewer samples than this, and fewer than a quarter of all, make it
            deviate from its usual response at any element. Sparse units are counted and left out of the
            layer's mean, whose interval would otherwise have too low a coverage. 0: no unit is sparse.
        protocol: which samples count. None: each sample once. "quiroga2019": across samples, the first
            ⌊n/64⌋·64 samples; along orbits, the windows of 64 samples that start at each of the first ⌊n/64⌋
            samples.
        preset: "slides", "quiroga2019", "quiroga2019_full" or "tmeasures": sets the other options
            as published.
    """

    spread: str = "variance"
    pool: str | None = None
    degenerate: str = "nan"
    min_firing: int = 20
    protocol: str | None = None
    preset: str | None = None

    unit: ClassVar[str] = ""

    def __post_init__(self) -> None:
        apply_preset(self, PRESETS)
        set_integers(self, min_firing=0, what="samples")
        refuse_other(self, spread=SPREADS, pool=POOLS, degenerate=DEGENERATES)

    def outputs(self) -> dict[str, Output]:
        """Describe the only output, a value per unit or per map."""
        return {"": Output("variance", unit=self.unit)}

    def statistics(self) -> tuple[OrbitMoments, OrbitMoments]:
        """Return the moments for the spreads along orbits and across samples; usually one for both."""
        collapse = self.pool if self.pool in ("before_mean", "before_max", "before_sum") else None
        along, across = ("windows", "whole_batches") if self.protocol else (None, None)
        every_unit = self.preset is not None or self.pool in ("after", "ratio")
        return (
            OrbitMoments(self.spread, collapse, along, every_unit),
            OrbitMoments(self.spread, collapse, across, every_unit),
        )

    def evaluate(self, finals: Any, layer: LayerContext) -> Mapping[str, UnitValues]:
        """Return the per-unit values of one layer."""
        return self.evaluate_strata([StrataMoments.of(own) for own in finals], layer)[0]

    def evaluate_strata(self, finals: Any, layer: LayerContext) -> list[dict[str, UnitValues]]:
        """Return the per-unit values of one layer for each of several strata."""
        known = {"known_dead": layer.dead, "resolution": layer.resolution, "draw": layer.draw}
        units = Parts(*(own.together for own in finals), standard=self.spread == "std", **known)
        return [{"": values} for values in self._units(StrataParts(units), layer).apart()]

    @abc.abstractmethod
    def _units(self, strata: StrataParts, layer: LayerContext) -> StrataValues: ...

    def dead_units(self, finals: Any) -> np.ndarray:
        """Return a (unit...) mask of dead units, whose response neither samples nor elements change."""
        return Parts(*finals, standard=False).dead

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition with NumPy's own variances."""
        values = naively_collapsed(activations, self.pool)
        spread = np.var if self.spread == "variance" else np.std
        along = spread(values, axis=1, ddof=1).mean(axis=0)
        across = spread(values, axis=0, ddof=1).mean(axis=0)
        return {"": self._naive(along, across, values)}

    @abc.abstractmethod
    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray: ...

    @classmethod
    def examples(cls) -> tuple[VarianceMeasure, ...]:
        """Return every spread with every pooling."""
        combinations = [(spread, pool) for spread in SPREADS for pool in POOLS]
        return tuple(cls(spread=spread, pool=pool, min_firing=0) for spread, pool in combinations)


def plain_units(
    measure: VarianceMeasure, strata: StrataParts, values: np.ndarray, *, null: np.ndarray | None
) -> StrataValues:
    """Return TV or SV per unit or, if pooled, per map."""
    parts = strata.units
    if holds_maps(values, measure.pool):
        folded, none = fold(values, np.ones_like(parts.dead)), np.zeros_like(parts.dead_maps)
        return StrataValues(folded, ~parts.dead_maps, parts.dead_maps, none)
    sparse = parts.sparse(measure.min_firing)
    counted = ~parts.dead & ~sparse
    rare = strata.rarely_respond(counted, measure.min_firing)
    return StrataValues(values, counted, parts.dead, sparse, null=null, uncovered=rare, draw=parts.draw)


NORMS = ("sample", "total", "random_net", None)


@dataclass(frozen=True, kw_only=True)
class TransformationVariance(VarianceMeasure):
    """How much the transformation changes a unit's response, averaged over samples.

    Variance of a unit along the orbit, averaged over samples.

    .. math:: TV_u = \\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i

    Shapes: activations (sample, element, unit...) to one value per unit. At least two samples and two
    elements are needed; Var divides by m − 1. The value is in squared units of the activation (plain units
    with `spread="std"`), so compare layers only after normalising. The layer's value is the mean over live
    units; a dead unit gives 0, which is not evidence of invariance.

    Reading:
        0: the transformation does not change the unit's response. Larger: it changes it more. A unit that
        never responds also has 0. The value is in squared units of the activation, so it cannot be compared
        between layers of different scale: use normalized_variance for that.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, V_t.

    >>> TransformationVariance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    array([1.])
    """

    fewest_elements: ClassVar[int] = 2

    unit: ClassVar[str] = "activation"

    def _units(self, strata: StrataParts, layer: LayerContext) -> StrataValues:
        null = None if strata.units.standard else strata.units.null
        found = plain_units(self, strata, strata.units.transformation, null=null)
        rare = found.uncovered or [""] * len(found.counted)
        uncovered = [few or own for few, own in zip(strata.few_decide, rare, strict=True)]
        return replace(found, uncovered=uncovered, reach=strata.reach)

    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray:
        return naively_folded(along, self.pool)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples with two elements and two units."""
        activations = [[[1.0, 5.0], [3.0, 5.0]], [[5.0, 7.0], [5.0, 7.0]]]
        return (
            KnownAnswer({}, activations, [1.0, 0.0]),
            KnownAnswer({"spread": "std"}, activations, [2**0.5 / 2, 0.0]),
        )


@dataclass(frozen=True, kw_only=True)
class SampleVariance(VarianceMeasure):
    """How much a unit's response differs between samples, averaged over elements.

    Variance of a unit across samples, averaged over elements.

    .. math:: SV_u = \\langle \\mathrm{Var}_i\\, a_u(t_j x_i) \\rangle_j

    Shapes, units and the layer's value are as for :class:`TransformationVariance`. It is the denominator of
    :class:`NormalizedVariance`: how much the unit depends on the sample at all.

    Reading:
        0: the unit responds identically to every sample, so its invariance means nothing. Larger: it
        separates samples more. The value is in squared units of the activation, so it cannot be compared
        between layers of different scale.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, V_x.

    >>> SampleVariance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    array([5.])
    """

    def _units(self, strata: StrataParts, layer: LayerContext) -> StrataValues:
        return plain_units(self, strata, strata.units.sample, null=None)

    def _naive(self, along: np.ndarray, across: np.ndarray, values: np.ndarray) -> np.ndarray:
        return naively_folded(across, self.pool)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples with two elements and two units."""
        activations = [[[1.0, 5.0], [3.0, 5.0]], [[5.0, 7.0], [5.0, 7.0]]]
        return (KnownAnswer({}, activations, [5.0, 2.0]),)


@dataclass(frozen=True, kw_only=True)
class NormalizedVariance(VarianceMeasure):
    """How much the transformation changes a unit's response, relative to a change of sample.

    Variance along the orbit relative to variance across samples.

    .. math:: NV_u = \\frac{TV_u}{SV_u}
        = \\frac{\\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i}
               {\\langle \\mathrm{Var}_i\\, a_u(t_j x_i) \\rangle_j}

    Shapes: activations (sample, element, unit...) to one dimensionless value per unit. The layer's value is
    the mean over live units. It is reported with the ratio of the layer's mean TV to its mean SV, which a few
    nearly dead units cannot inflate. The null is the expected value if each element acted on an independently
    drawn sample, 1 + Var_j(mean response to j) / SV; a value near the null means that the transformation
    destroys the unit's information about the sample.

    Caveats: SV can be small for unrelated reasons. A layer that barely responds to anything gets large, noisy
    values (look at the ratio instead), and SV is smaller within one class, so class-conditional values are
    larger. Units with TV = SV = 0 are *dead*: their value is NaN, and they are left out of means and counted.

    Reading:
        0: invariant. About 1: the transformation changes a unit's response as much as a change of sample
        does. Dead units (changed by neither) are left out and counted. A large value need not mean that a
        layer is sensitive: layers that hardly respond to anything get large, noisy values. Compare the value
        with the ratio and with the null.

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

    fewest_elements: ClassVar[int] = 2

    norm: str | None = "sample"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_other(self, norm=NORMS)

    @property
    def needs_reference(self) -> bool:
        """True for norm="random_net"."""
        return self.norm == "random_net"

    def _units(self, strata: StrataParts, layer: LayerContext) -> StrataValues:
        parts = strata.units
        above, below = parts.transformation, self._denominator(parts, layer)
        dead, infinite, sparse = parts.dead, parts.still & ~parts.dead, parts.sparse(self.min_firing)
        values = np.where(infinite, np.inf, quotient(above, below))
        values = np.where(dead, 1.0 if self.degenerate == "one" else np.nan, values)
        counted = np.isfinite(values[0]) & ~sparse
        ratio = strata.ratio(above, below)
        if not holds_maps(values, self.pool):
            null = None if parts.standard or self.norm != "sample" else quotient(parts.null, below[0])
            rare, errors = strata.uncovered(counted, self.min_firing), strata.ratio_errors(above, below)
            left_out = (dead, sparse, infinite)
            return StrataValues(
                values, counted, *left_out, ratio, null, rare, strata.reach, parts.draw, errors
            )
        everywhere = np.ones_like(counted)
        after = self.pool == "after"
        folded = (
            fold(values, counted) if after else quotient(fold(above, everywhere), fold(below, everywhere))
        )
        alive = np.isfinite(folded[0])
        left_out = (parts.dead_maps, ~alive & ~parts.dead_maps)
        rare = strata.few_decide
        return StrataValues(folded, alive, *left_out, ratio=ratio, uncovered=rare, reach=strata.reach)

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
        """Return an example of every spread, every pooling, and every norm that needs no second network."""
        pooled = [cls(spread=spread, pool=pool, min_firing=0) for spread in SPREADS for pool in POOLS]
        return (*pooled, cls(norm="total", min_firing=0), cls(norm=None, min_firing=0))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples with two elements, and three units: one that varies, one invariant, one dead."""
        activations = [[[1.0, 5.0, 4.0], [3.0, 5.0, 4.0]], [[5.0, 7.0, 4.0], [5.0, 7.0, 4.0]]]
        return (
            KnownAnswer({}, activations, [0.2, 0.0, np.nan]),
            KnownAnswer({"degenerate": "one"}, activations, [0.2, 0.0, 1.0]),
            KnownAnswer({"norm": None}, activations, [1.0, 0.0, np.nan]),
            KnownAnswer({"preset": "tmeasures"}, activations, [1 / 3, 0.0, 1.0]),
        )
