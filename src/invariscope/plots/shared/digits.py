"""Number formats shared by tables in the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from invariscope.plots.shared.labels import interval, number, row_interval


@dataclass(frozen=True)
class Fixed:
    """Format that gives all numbers of a table the same number of decimals, so that decimal points align."""

    places: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Fixed:
        """Return the format that gives the largest value four digits.

        >>> Fixed.of([0.01, 1.5]).places, Fixed.of([250.0]).places
        (3, 1)
        """
        largest = max((abs(v) for v in values if math.isfinite(v)), default=1.0) or 1.0
        return cls(min(max(3 - math.floor(math.log10(largest)), 0), 12))

    def __call__(self, value: float, *, sign: str = "-") -> str:
        """Return the value as text; values that would be rounded to zero keep four significant digits.

        Use `sign="+"` for differences: positive ones then have a sign too, and negligible ones are rounded
        to zero.

        >>> Fixed(3)(0.25), Fixed(3)(0.00012), Fixed(3)(0.0), Fixed(3)(-0.00012, sign="+")
        ('0.250', '1.200e−04', '0.000', '−0.000')
        """
        if not math.isfinite(value):
            return number(value)
        if sign != "+" and 0 < abs(value) < 0.5 * 10.0**-self.places:
            return number(value)
        return f"{value:{sign},.{self.places}f}".replace("-", "−")

    def interval(self, low: float, high: float) -> str:
        """Return both limits, or a dash if there is no interval."""
        return interval(low, high, show=self)

    def row_interval(self, row: Mapping[str, Any], *, value: str = "value", sign: str = "-") -> str:
        """Return the interval of a row, preceded by the corrected estimate if the value is outside it."""
        return row_interval(row, value=value, show=partial(self, sign=sign))


def probability(value: float) -> str:
    """Return a p-value with three decimals.

    >>> probability(0.0004), probability(0.25), probability(float("nan"))
    ('< 0.001', '0.250', '–')
    """
    return "–" if value != value else ("< 0.001" if value < 1e-3 else f"{value:.3f}")
