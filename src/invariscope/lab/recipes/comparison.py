"""What a claim says of its number: the grammar of `holds`, and what an interval decides of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from invariscope.intervals import LEVEL, Interval
from invariscope.lab.recipes.quantities import Estimate

CONFIRMED, REFUTED, MIXED, UNDECIDED, UNTESTED = "confirmed", "refuted", "mixed", "undecided", "not tested"
ALPHA = 1 - LEVEL
_NUMBER = r"(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)"
_ONE_SIDED = re.compile(rf"\s*(<|>)\s*{_NUMBER}\s*")
_MARGIN = re.compile(rf"\s*(not\s+)?{_NUMBER}\s*±\s*{_NUMBER}\s*")
_NATURAL = (0.0, 1.0)


@dataclass(frozen=True)
class Comparison:
    """Where a claim's value has to lie.

    Args:
        least, most: the bounds.
        beyond: whether it has to lie outside of them, not between.
        chosen: whether somebody chose the bounds: a margin, or a bound that is neither 0 nor 1.
    """

    least: float
    most: float
    beyond: bool = False
    chosen: bool = False

    @classmethod
    def read(cls, holds: str) -> Comparison:
        """Read "< 0", "> 1", "0.5 ± 0.1" (between 0.4 and 0.6) or "not 0 ± 0.05" (outside).

        Raises:
            ValueError: anything else; "!=" among them, which no interval can refute.
        """
        if margin := _MARGIN.fullmatch(holds):
            centre, reach = float(margin[2]), float(margin[3])
            if reach > 0:
                return cls(centre - reach, centre + reach, bool(margin[1]), chosen=True)
        if one := _ONE_SIDED.fullmatch(holds):
            bound = float(one[2])
            least, most = (-math.inf, bound) if one[1] == "<" else (bound, math.inf)
            return cls(least, most, chosen=bound not in _NATURAL)
        if "!=" in holds or "≠" in holds:
            raise ValueError(
                f"no interval could refute {holds!r}: state the margin that counts as a difference, "
                f"such as 'not 0 ± 0.05'"
            )
        raise ValueError(
            f"holds is a comparison with a number, such as '< 0', '0.5 ± 0.1' or 'not 0 ± 0.1'; got {holds!r}"
        )

    def decided(self, interval: Interval) -> str:
        """Confirmed if it holds over the whole interval, refuted if it fails over all of it."""
        low, high = interval.low, interval.high
        if not (math.isfinite(low) and math.isfinite(high)):
            return UNDECIDED
        inside, outside = self.least < low and high < self.most, high < self.least or low > self.most
        if not (inside or outside):
            return UNDECIDED
        return CONFIRMED if inside != self.beyond else REFUTED

    def p(self, interval: Interval) -> float:
        """Two-sided p-value of the value lying at the nearest bound; NaN without an interval."""
        return max(_p_at(interval, bound) for bound in (self.least, self.most) if math.isfinite(bound))


def decided(estimate: Estimate | None, holds: str) -> str:
    """Whether a comparison holds over the whole 95 % interval, fails over all of it, or neither.

    "0.5 ± 0.1" holds between 0.4 and 0.6 (an equivalence test: two one-sided tests, each at 2.5 %);
    "not 0 ± 0.05" holds outside of the margin and fails within it.

    >>> below, across = Estimate(-0.2, Interval(-0.3, -0.1)), Estimate(0.1, Interval(-0.1, 0.3))
    >>> decided(below, "< 0"), decided(across, "< 0"), decided(below, "> 0"), decided(below, "not 0 ± 0.05")
    ('confirmed', 'undecided', 'refuted', 'confirmed')
    """
    return UNTESTED if estimate is None else Comparison.read(holds).decided(estimate.interval)


def p_value(estimate: Estimate | None, holds: str) -> float:
    """Two-sided p-value that decides as the interval does: below 0.05 if `decided` decides.

    It is of the hypothesis that the true value equals the comparison's bound; of two bounds the nearer one
    decides. NaN without an interval.

    >>> from invariscope.intervals import jackknife
    >>> round(p_value(Estimate(3.0, jackknife(3.0, [2.0, 4.0], [5, 5])), "> 2"), 6)
    0.5
    """
    return math.nan if estimate is None else Comparison.read(holds).p(estimate.interval)


def _p_at(interval: Interval, bound: float) -> float:
    """As `Interval.p_at`; without a standard error, from the half of the interval towards the bound."""
    from scipy import special

    if interval.error > 0:
        return interval.p_at(bound)
    centre = interval.centre if math.isfinite(interval.centre) else (interval.low + interval.high) / 2
    reach = centre - interval.low if bound < centre else interval.high - centre
    if not math.isfinite(reach):
        return math.nan
    if reach <= 0:
        return 1.0 if centre == bound else 0.0
    quantile = float(special.stdtrit(interval.freedom, 0.5 + LEVEL / 2))
    return float(2 * special.stdtr(interval.freedom, -quantile * abs(centre - bound) / reach))
