"""Combine the estimates of several training runs into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from invariscope.lab.recipes.quantities.base import Estimate, NoValueError, around, spread_over

TRAININGS = "trainings"


def nested(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over training runs, with an interval that nests samples within runs.

    .. math:: \\mathrm{error}^2 = \\frac{s^2}{K} + e^2, \\qquad
        \\nu = \\frac{\\mathrm{error}^4}{(s^2/K)^2/(K-1) + e^4/\\nu_e}

    where s is the standard deviation over the K training runs and e the error of their mean over samples.
    Runs measured on the same samples share their sampling error, so e is the jackknife error of the mean over
    the runs. If the groups of the runs cannot be matched, e is the root mean square of their errors, an upper
    bound. If no error over samples is known, e is 0, and the interval is over runs only. Ratios are averaged
    as logarithms. The part of s that comes from the interaction of sample and run is counted twice, which
    widens the intervals. For normally distributed values, 93 to 96 % of the intervals cover the true value
    for K = 3, and 94 to 95 % for K = 5 (benchmarks/nested_coverage.py); coverage is lowest if the error over
    samples is about a third of that over runs.

    Args:
        estimates: one per training run; a single one gives no interval.
    Raises:
        NoValueError: a value is not finite, or a ratio is not positive.

    >>> found = nested([Estimate(1.0), Estimate(2.0), Estimate(3.0)])
    >>> found.value, round(found.interval.error, 4), found.covers, found.trainings
    (2.0, 0.5774, 'trainings', 3)
    """
    if not all(math.isfinite(estimate.value) for estimate in estimates):
        raise NoValueError("a training run has no finite value")
    ratios = all(estimate.scale == "log" for estimate in estimates)
    parts = [estimate.logarithm() for estimate in estimates] if ratios else list(estimates)
    found = spread_over([part.value for part in parts], TRAININGS).holding(_within(parts))
    return replace(found.exponential() if ratios else found, trainings=len(estimates))


def _within(parts: Sequence[Estimate]) -> Estimate | None:
    """Return the mean with its interval over the samples that all runs share; None if that is unknown."""
    first, mean = parts[0], float(np.mean([part.value for part in parts]))
    if all(first.paired_with(part) for part in parts):
        omitted = np.mean([part.omitted for part in parts], axis=0).tolist()
        found = replace(Estimate.of(mean, omitted, first.sizes, first.pairing), over=first.over)
        inner = [part.inner for part in parts if part.inner is not None]
        return found.holding(_within(inner)) if len(inner) == len(parts) else found
    intervals = [part.interval for part in parts]
    errors = np.array([interval.error for interval in intervals])
    if not np.isfinite(errors).all():
        return None
    shift = float(np.mean([part.interval.centre - part.value for part in parts]))
    error = float(np.sqrt(np.mean(errors**2)))
    around_mean = around(mean + shift, error, min(interval.freedom for interval in intervals))
    return Estimate(mean, around_mean, over=first.over)
