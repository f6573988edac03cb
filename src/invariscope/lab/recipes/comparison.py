"""The comparison that a claim states under `holds`, and how an interval decides it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from invariscope.intervals import LEVEL, Interval

CONFIRMED, REFUTED, MIXED, UNDECIDED, UNTESTED = "confirmed", "refuted", "mixed", "undecided", "not tested"
ALPHA = 1 - LEVEL
_NUMBER = r"(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)"
_ONE_SIDED = re.compile(rf"\s*(<|>)\s*{_NUMBER}\s*")
_MARGIN = re.compile(rf"\s*(not\s+)?{_NUMBER}\s*±\s*{_NUMBER}\s*")
_NATURAL = (0.0, 1.0)


@dataclass(frozen=True)
class Comparison:
    """The range in which the value of a claim must lie.

    "0.5 ± 0.1" is an equivalence test: two one-sided tests, each at 2.5 %.

    Args:
        least, most: the bounds.
        beyond: whether the value must lie outside the bounds instead of between them.
        chosen: whether the bounds need a reason: a margin, or a bound that is neither 0 nor 1.

    >>> below, across = Interval(-0.3, -0.1), Interval(-0.1, 0.3)
    >>> Comparison.read("< 0").decided(below), Comparison.read("< 0").decided(across)
    ('confirmed', 'undecided')
    >>> Comparison.read("> 0").decided(below), Comparison.read("not 0 ± 0.05").decided(below)
    ('refuted', 'confirmed')
    """

    least: float
    most: float
    beyond: bool = False
    chosen: bool = False

    @classmethod
    def read(cls, holds: str) -> Comparison:
        """Read "< 0", "> 1", "0.5 ± 0.1" (between 0.4 and 0.6) or "not 0 ± 0.05" (outside).

        Raises:
            ValueError: anything else, including "!=", which no interval can refute.
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
            f"holds must be a comparison with a number, such as '< 0', '0.5 ± 0.1' or 'not 0 ± 0.1'; "
            f"got {holds!r}"
        )

    def decided(self, interval: Interval) -> str:
        """Return whether an interval decides the comparison: "confirmed", "refuted" or "undecided".

        Confirmed if the comparison holds over the whole interval, refuted if it holds nowhere in it.
        """
        low, high = interval.low, interval.high
        if not (math.isfinite(low) and math.isfinite(high)):
            return UNDECIDED
        inside, outside = self.least < low and high < self.most, high < self.least or low > self.most
        if not (inside or outside):
            return UNDECIDED
        return CONFIRMED if inside != self.beyond else REFUTED

    def p(self, interval: Interval) -> float:
        """Return the two-sided p-value of the value equalling the nearest bound; NaN without an interval.

        The p-value is below 0.05 if and only if `decided` does not return "undecided".

        >>> from invariscope.intervals import jackknife
        >>> round(Comparison.read("> 2").p(jackknife(3.0, [2.0, 4.0], [5, 5])), 6)
        0.5
        """
        return max(_p_at(interval, bound) for bound in (self.least, self.most) if math.isfinite(bound))


def _p_at(interval: Interval, bound: float) -> float:
    """Return `Interval.p_at`; without a standard error, derive one from the half-width towards the bound."""
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
