"""Options shared by the variance measures, and presets for the published conventions."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import refuse_other, set_integers
from invariscope.measures.base import Measure
from invariscope.measures.presets import Presets, apply_preset
from invariscope.measures.values import LayerContext, Output, UnitValues
from invariscope.measures.variance_parts import Parts, fold, holds_maps, naively_collapsed
from invariscope.statistics.moments.orbit_moments import POOLS, SPREADS, OrbitMoments

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
        spread: "variance" (the slides), or "std": means of standard deviations (the 2019 code).
        pool: how to reduce the positions of a feature map (C, H, W) to one value; layers of other shapes are
            unaffected. None: keep every unit; "after": mean of unit values per map; "ratio": ratio of the
            map's means; "before_mean", "before_max", "before_sum": collapse the map before any statistic.
        min_firing: a unit is *sparse* if fewer samples than this, and fewer than a quarter of all, make it
            deviate from its usual response at any element. Sparse units are counted and left out of the
            layer's mean, whose interval would not cover otherwise. 0: no unit is sparse.
        protocol: which samples count. None: all, once. "quiroga2019": across samples, the first
            ⌊n/64⌋·64; along orbits, the windows of 64 samples that start at each of the first ⌊n/64⌋.
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
        """Return one value per unit, or per map."""
        return {"": Output("variance", unit=self.unit)}

    def statistics(self) -> tuple[OrbitMoments, OrbitMoments]:
        """Return the moments for the spread along orbits and across samples; usually the same."""
        collapse = self.pool if self.pool in ("before_mean", "before_max", "before_sum") else None
        along, across = ("windows", "whole_batches") if self.protocol else (None, None)
        return (
            OrbitMoments(self.spread, collapse, along),
            OrbitMoments(self.spread, collapse, across),
        )

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, UnitValues]:
        """Return the per-unit values of one layer."""
        standard = self.spread == "std"
        parts = Parts(*finals, standard=standard, known_dead=layer.dead, resolution=layer.resolution)
        return {"": self._units(parts, layer)}

    @abc.abstractmethod
    def _units(self, parts: Parts, layer: LayerContext) -> UnitValues: ...

    def dead_units(self, finals: Any) -> np.ndarray:
        """Return (unit...) flags of the units that neither samples nor elements move."""
        return Parts(*finals, standard=False).dead

    def _sparse(self, parts: Parts) -> np.ndarray:
        return parts.sparse(self.min_firing)

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
    measure: VarianceMeasure, parts: Parts, values: np.ndarray, *, null: np.ndarray | None
) -> UnitValues:
    """Return TV or SV per unit or, if pooled, per map."""
    dead, sparse = parts.dead, measure._sparse(parts)
    if holds_maps(values, measure.pool):
        whole = dead.all(axis=tuple(range(1, dead.ndim)))
        alive = np.asarray(~whole)
        folded = fold(values, np.ones_like(dead))
        return UnitValues(folded, alive, int(whole.sum()))
    counted = np.asarray(~dead & ~sparse)
    out = (int(dead.sum()), int(sparse.sum()))
    rare = parts.rarely_respond(counted, measure.min_firing)
    return UnitValues(values, counted, *out, null=null, uncovered=rare)
