"""Quantities that summarise several networks."""

from __future__ import annotations

import math

import numpy as np

from invariscope.intervals import LEVEL, Interval
from invariscope.lab.recipes.quantities.base import (
    NV,
    Estimate,
    NoValueError,
    Results,
    estimate_of,
    pairing_of,
    quantity,
    replicates_of,
    rows_of,
    spread_over,
)
from invariscope.lab.recipes.quantities.layers import overall


@quantity
def spread_contrast(
    cells: Results, *, among: list[str], measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """Standard deviation over networks in the last layers minus the standard deviation in the earlier layers.

    The profile of each network is interpolated at 30 relative depths. The standard deviation over the
    networks is averaged over the last share of the depths, and over the others.
    """
    names = cells.matching(among)
    if len(names) < 2:
        raise NoValueError(f"fewer than two networks match {among}")
    profiles = [replicates_of(rows_of(cells, name, measure, stratum, finite=True)) for name in names]
    results = [cells.result(name) for name in names]
    alike = len({tuple(sizes) for _, sizes in profiles}) == len({pairing_of(x) for x in results}) == 1
    count = min(len(values) for values, _ in profiles) if alike else 1
    depths = np.linspace(0, 1, 30)
    curves = np.array([[_at_depths(values[k], depths) for values, _ in profiles] for k in range(count)])
    spread = curves.std(axis=1, ddof=1)
    last = depths >= 1 - share
    contrast = spread[:, last].mean(axis=1) - spread[:, ~last].mean(axis=1)
    return estimate_of(results[0], contrast, profiles[0][1])


def _at_depths(profile: np.ndarray, depths: np.ndarray) -> np.ndarray:
    return np.interp(depths, np.linspace(0, 1, len(profile)), profile)


@quantity
def mean_over(cells: Results, *, among: list[str], measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean of the overall values of several networks; the interval is over the networks."""
    found = [overall(cells, cell=name, measure=measure, stratum=stratum) for name in cells.matching(among)]
    return spread_over([estimate.value for estimate in found], "networks")


@quantity
def relative_spread(cells: Results, *, among: list[str], measure: str = NV, stratum: str = "all") -> Estimate:
    """Standard deviation of the overall values of several networks, relative to their mean.

    The interval is that of a standard deviation, and assumes normally distributed values.
    """
    from scipy import special

    found = [overall(cells, cell=name, measure=measure, stratum=stratum) for name in cells.matching(among)]
    if len(found) < 3:
        raise NoValueError(f"a spread needs three networks, {len(found)} match {among}")
    values = np.array([estimate.value for estimate in found])
    freedom, share = len(values) - 1, float(values.std(ddof=1) / values.mean())
    low, high = (
        share * math.sqrt(freedom / float(special.chdtri(freedom, p)))
        for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    )
    return Estimate(share, Interval(low, high, share), over="networks")
