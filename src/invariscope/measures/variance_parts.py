"""Shared parts of the variance measures: spreads and thresholds per unit, and folding units into maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from invariscope.intervals import Reason
from invariscope.measures.interval_limits import few_decisive, reach_of_uneven
from invariscope.measures.values import drawing_error
from invariscope.statistics.moments.references import rounding
from invariscope.statistics.moments.variances import Moments
from invariscope.statistics.rounding import quotient
from invariscope.unit_draw import DrawingError, UnitDraw

# If half of the units deviate from their usual response for fewer than 50 samples and fewer than a third of
# all, the coverage of intervals of means over units is below 92 % (benchmarks/decisive.py). The ratio of
# means leaves out no unit and does not need this rule.
RARE, _RARE_SHARE = 50, 1 / 3


@dataclass(frozen=True)
class Parts:
    """Spread along orbits and across samples, per unit, and which units are dead, still or sparse.

    Arrays per unit may be those of several strata; everything else is of one stratum, see `StrataParts`.

    Args:
        along, across: the moments from which the two spreads are computed; usually the same object.
        standard: use standard deviations instead of variances.
        known_dead: mask of units known to be dead, if the forward passes are too imprecise to tell.
        resolution: relative precision of the responses; smaller differences are not resolved.
        draw: the draw of the units; None if they are all units of the layer.
    """

    along: Moments
    across: Moments
    standard: bool
    known_dead: np.ndarray | None = None
    resolution: float = 0.0
    draw: UnitDraw | None = None

    @cached_property
    def transformation(self) -> np.ndarray:
        """(replicate, unit...) spread along the orbit."""
        return self.along.transformation_deviation if self.standard else self.along.transformation_variance

    @cached_property
    def sample(self) -> np.ndarray:
        """(replicate, unit...) spread across samples."""
        return self.across.sample_deviation if self.standard else self.across.sample_variance

    @cached_property
    def threshold(self) -> np.ndarray:
        """Largest variance that counts as rounding: a rotated black corner contains 1e-17, not zero."""
        tiny = rounding(self.across.double)
        scale = self.across.scale
        units = tuple(range(int(self.across.strata), scale.ndim))
        layer = np.sqrt(np.mean(scale**2, axis=units, keepdims=True)) if scale.size else 0.0
        tiny = max(tiny, self.resolution)
        return (tiny * np.maximum(scale, 1e-3 * layer)) ** 2

    @cached_property
    def still(self) -> np.ndarray:
        """Mask of units whose response does not vary across samples."""
        return self.across.sample_variance[0] <= self.threshold

    @cached_property
    def dead(self) -> np.ndarray:
        """Mask of units whose response neither samples nor elements change."""
        if self.known_dead is not None:
            return np.broadcast_to(self.known_dead, self.still.shape)
        return self.still & (self.along.transformation_variance[0] <= self.threshold)

    @cached_property
    def dead_maps(self) -> np.ndarray:
        """(channel,) mask of feature maps with dead units only."""
        return np.asarray(self.dead.all(axis=tuple(range(1 + int(self.across.strata), self.dead.ndim))))

    def sparse(self, min_firing: int) -> np.ndarray:
        """Return a (unit...) mask of units that deviate from their usual response for too few samples.

        Too few means fewer than `min_firing`, and fewer than a quarter of the samples (or clusters). Dead
        units, and units that do not vary across samples, are not sparse.
        """
        few = self.across.unusual < np.minimum(min_firing, self.across.clusters / 4)
        return few & ~self.still & ~self.dead

    @cached_property
    def few_decide(self) -> str:
        """Why values based on the spread along orbits have no interval; "" if they have one."""
        return few_decisive(*self.along.decisive.tolist())

    @cached_property
    def reach(self) -> float:
        """Factor that widens the interval of values based on the spread along orbits."""
        return reach_of_uneven(*self.along.decisive.tolist())

    def uncovered(self, counted: np.ndarray, min_firing: int) -> str:
        """Explain why a mean over units of the spread along orbits has no interval; "" if it has one."""
        return self.few_decide or self.rarely_respond(counted, min_firing)

    def rarely_respond(self, counted: np.ndarray, min_firing: int) -> str:
        """Explain why a mean over all but the sparse units has no interval; "" if it has one."""
        if not min_firing or not counted.any():
            return ""
        return rarely(float(np.median(self.across.unusual[counted])), self.across.clusters)

    def ratio(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Return the (replicate,) ratio of two means over the units that are not dead.

        If few samples decide the value, the replicates are NaN, so that there is no interval.
        """
        alive = (~self.dead).ravel() * (1.0 if self.draw is None else self.draw.weights)
        found = quotient(*(part.reshape(len(part), -1) @ alive for part in (above, below)))
        if self.few_decide:
            found[1:] = np.nan
        return found

    def ratio_error(self, above: np.ndarray, below: np.ndarray) -> DrawingError | None:
        """Return the error of `ratio` due to the draw of units; None without a draw."""
        if self.draw is None:
            return None
        terms = [np.where(self.dead, 0.0, part[0]) for part in (above, below)]
        return drawing_error(terms[0], terms[1], self.draw)

    @cached_property
    def null(self) -> np.ndarray:
        """Expected variance along the orbit if each element acted on an independently drawn sample."""
        return self.across.sample_variance[0] + self.across.whole.element_variance[0]


def rarely(moved: float, samples: int) -> str:
    """Explain why a mean over units has no interval if half of them deviate for `moved` samples, or fewer."""
    if moved >= (least := rare_below(samples)):
        return ""
    few = f"half of the units deviate from their usual response for fewer than {least:.0f} samples"
    return Reason.few_decide(few)


def rare_below(samples: int) -> float:
    """Return the number of samples for which half of the units must deviate from their usual response.

    A mean of ratios over units has no interval if half of the units deviate for fewer samples.

    >>> rare_below(60), rare_below(1000)
    (20.0, 50)
    """
    return min(RARE, samples * _RARE_SHARE)


def holds_maps(values: np.ndarray, pool: str | None) -> bool:
    """Return whether (replicate, stratum, unit...) values hold maps that `pool` folds into one value each."""
    return pool in ("after", "ratio") and values.ndim > 4


def fold(values: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Return the mean over the live positions of each map; NaN if there are none.

    Args:
        values: (replicate, stratum, channel, position...).
        live: (stratum, channel, position...).
    """
    positions = tuple(range(3, values.ndim))
    counts = live.sum(axis=tuple(range(2, live.ndim)))
    return quotient(np.where(live, values, 0.0).sum(axis=positions), counts)


def naively_collapsed(activations: np.ndarray, pool: str | None) -> np.ndarray:
    """Collapse (sample, element, channel, position...) maps, for oracles."""
    if activations.ndim < 5 or pool not in ("before_mean", "before_max", "before_sum"):
        return activations
    return getattr(activations, pool.removeprefix("before_"))(axis=tuple(range(3, activations.ndim)))


def naively_folded(units: np.ndarray, pool: str | None) -> np.ndarray:
    """Average (channel, position...) values per map, for oracles."""
    if units.ndim < 3 or pool not in ("after", "ratio"):
        return units
    return np.nanmean(units, axis=tuple(range(1, units.ndim)))
