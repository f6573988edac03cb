"""Mean of relative errors, shared by all measures that have one."""

from __future__ import annotations

import numpy as np

from invariscope.measures.uncovered import OF_RELATIVE, few_decide, few_decisive, reach_of_uneven
from invariscope.statistics.kept.sample_table import SampleTable


def relative_mean(errors: np.ndarray) -> float:
    """Return the mean over pairs whose denominator is not 0; without any, infinite for x/0, NaN for 0/0.

    >>> relative_mean(np.array([0.5, 1.5, np.nan, np.inf])), relative_mean(np.array([np.nan, np.inf]))
    (1.0, inf)
    """
    defined = errors[np.isfinite(errors)]
    if defined.size:
        return float(defined.mean())
    return float("inf") if np.isinf(errors).any() else float("nan")


def interval_of_errors(table: SampleTable, errors: np.ndarray, sizes: np.ndarray) -> tuple[str, float]:
    """Why the mean of (sample, element) errors relative to sizes can have no interval, and how wide it is."""
    known = np.isfinite(errors)
    sums = np.where(known, errors, 0.0).sum(axis=1)
    parts = table.decisive(np.divide(sums, known.sum(axis=1), out=0 * sums, where=known.any(axis=1)))
    return few_decide(errors, sizes) or few_decisive(*parts), OF_RELATIVE * reach_of_uneven(*parts)


def about_infinite(errors: np.ndarray) -> str:
    """Return a note on pairs that respond only to the transformed input; "" if there are none.

    >>> about_infinite(np.array([0.5, np.inf]))
    '1 of 2 errors is infinite (no response to the untransformed sample) and left out of the mean'
    """
    infinite = int(np.isinf(errors).sum())
    left_out = " and left out of the mean" if np.isfinite(errors).any() else ""
    verb = "is" if infinite == 1 else "are"
    whole = infinite + int(np.isfinite(errors).sum())
    reason = "no response to the untransformed sample"
    return f"{infinite} of {whole} errors {verb} infinite ({reason}){left_out}" if infinite else ""
