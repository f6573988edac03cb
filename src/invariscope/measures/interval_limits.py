"""Reasons why a value has no valid interval, such as its dependence on too few samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from invariscope.intervals import DECISIVE, Reason

# Below these limits, intervals cover the true value too rarely (benchmarks/coverage.py, decisive.py).
_EVEN_SHARE = 0.85
EVENTS = 5
# Below this evenness (Σd)²/(n Σd²), intervals are widened in proportion to the shortfall.
_UNEVEN, _OF_UNEVEN = 0.3, 5.0
# Outputs that never have an interval, whatever the number of samples.
PLACE = "no interval: it is a position, not a quantity"
EXTREME = "no interval: a maximum grows with the number of samples"
# Factor that widens intervals of means of relative sizes, whose skewness makes them too narrow.
OF_RELATIVE = 1.1


def few_decisive(count: float, total: float, squares: float) -> str:
    r"""Explain why a mean of non-negative parts has no interval if few samples decide it; else return "".

    .. math:: n_\mathrm{eff} = \frac{(\sum_i d_i)^2}{\sum_i d_i^2} < 5

    If one or two of the eight groups contain nearly all of the total, the groups reveal little about its
    spread.

    Args:
        count: number of samples (or clusters).
        total: Σ d, with d ≥ 0 the contribution of a sample (or cluster).
        squares: Σ d².

    >>> few_decisive(64, 10.0, 10.0)
    ''
    >>> few_decisive(64, 12.0, 50.0)
    'no interval yet: 2.9 samples decide the value; 5 are needed'
    """
    if not squares > 0 or total**2 >= DECISIVE * squares:
        return ""
    found = total**2 / squares
    return Reason.few_decide(f"{found:.2g} samples decide the value; {DECISIVE:g} are needed")


def reach_of_uneven(count: float, total: float, squares: float) -> float:
    r"""Return the factor by which the interval of a mean of uneven non-negative parts must be widened.

    .. math:: 1 + 5 \max(0, 0.3 - n_\mathrm{eff}/n)

    If parts have a long tail, most sets of samples contain too little of it, and both the mean and its error
    are then too small. Parts are this uneven if the sensitivity of samples is log-normal with σ = 1 (median
    n_eff/n of 0.05 for 1,024 samples, 0.13 for 64), but not if ten classes differ by a factor of ten (0.37).

    Args:
        count, total, squares: as for `few_decisive`.

    >>> reach_of_uneven(64, 32.0, 32.0), round(reach_of_uneven(100, 10.0, 10.0), 2)
    (1.0, 2.0)
    """
    even = total**2 / (count * squares) if squares > 0 else 1.0
    return 1 + _OF_UNEVEN * max(0.0, _UNEVEN - even)


def limits_of_uneven(count: float, total: float, squares: float) -> dict[str, Any]:
    """Return the fields `uncovered` and `reach` of a mean of uneven parts, which limit its interval."""
    return {
        "uncovered": few_decisive(count, total, squares),
        "reach": reach_of_uneven(count, total, squares),
    }


def few_decide(errors: np.ndarray, sizes: np.ndarray) -> str:
    r"""Explain why a mean of relative errors has no interval if near-zero responses dominate; else "".

    .. math:: E(r) < 0.85 \, E(r s), \qquad E(d) = \frac{(\sum_i d_i)^2}{n \sum_i d_i^2}

    Responses near zero have huge relative errors r. The mean then depends on few samples, and may not even
    exist in the population. Relative errors are then much less even than the absolute errors r·s.

    Args:
        errors: (sample, element) relative errors; NaN if undefined. Elements without errors, such as the
            identity, do not count.
        sizes: (sample, element) the sizes to which the errors are relative.

    >>> few_decide(np.array([[1.0], [2.0], [9.0]]), np.ones((3, 1)))
    ''
    >>> sizes = np.array([[1.0, 1.0], [0.01, 0.01], [1.0, 1.0]])
    >>> few_decide(np.array([[np.nan, 0.1], [np.nan, 50.0], [np.nan, 0.2]]), sizes)[:20]
    'no interval yet: a f'
    """
    moving = np.isfinite(errors).any(axis=0)
    known = np.isfinite(errors[:, moving]).all(axis=1)
    relative, scale = errors[known][:, moving], sizes[known][:, moving]
    if not relative.any():  # perfect, or a dead layer, which has no value
        return ""
    if _evenness(relative.mean(axis=1)) >= _EVEN_SHARE * _evenness((relative * scale).mean(axis=1)):
        return ""
    return Reason.few_decide("a few samples with hardly any response decide the mean")


def _evenness(parts: np.ndarray) -> float:
    """Return (Σd)²/(n Σd²): 1 for equal parts, 1/n for a single one."""
    squares = np.square(parts).sum()
    return float(parts.sum() ** 2 / (len(parts) * squares)) if squares > 0 else 1.0


def few(happened: np.ndarray, samples: int) -> np.ndarray:
    """Return whether too few samples had an event, or too few did not have it, for a valid interval.

    >>> few(np.array([0, 5, 60, 64]), 64).tolist()
    [True, False, True, True]
    """
    return np.minimum(happened, samples - happened) < EVENTS


def few_events(happened: int, samples: int, what: str) -> str:
    """Explain why the share of samples with some event has no interval; "" if it has one.

    If no sample has it, the note gives an upper bound: fewer than 1 − 0.05^{1/n} of all samples, with 95 %
    confidence.

    >>> few_events(2, 64, "predictions change")
    'no interval yet: predictions change for only 2 of 64 samples'
    >>> few_events(0, 64, "predictions change")
    'no interval yet: predictions change for none of 64 samples (for fewer than 4.6 % of all, at 95 %)'
    """
    if happened >= EVENTS:
        return ""
    if happened:
        return Reason.few_decide(f"{what} for only {happened} of {samples} samples")
    most = 100 * (1 - 0.05 ** (1 / max(samples, 1)))
    known = f"for fewer than {most:.2g} % of all, at 95 %"
    return Reason.few_decide(f"{what} for none of {samples} samples ({known})")
