"""Errors relative to the size of a response, and their means, shared by several measures."""

from __future__ import annotations

import numpy as np

from invariscope.measures.interval_limits import OF_RELATIVE, few_decide, few_decisive, reach_of_uneven
from invariscope.measures.values import LayerValues
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.rounding import quotient


def relative(table: SampleTable, *, of: str = "", which: str = "", over_zero: float = np.inf) -> np.ndarray:
    """Return (sample, element) gaps of a `Discrepancy`, divided by sizes; NaN for 0/0 and undefined gaps.

    Args:
        of: suffix of the column names.
        which: prefix of the column names, such as "null_".
        over_zero: value for a non-zero gap divided by a size of 0.
    """
    gap, size, count = (table[f"{which}{name}{of}"] for name in ("gap", "size", "count"))
    found = np.where(count > 0, quotient(gap, size), np.nan)
    return np.where(np.isinf(found), over_zero, found)


def mean_error(
    table: SampleTable, *, of: str = "", null: float = float("nan"), note: str = ""
) -> LayerValues:
    """Return the mean of relative errors as a layer's value, with the fields that limit its interval.

    Args:
        of: suffix of the column names.
        null, note: null and note of the value; the note precedes the one on infinite errors.
    """
    errors, size, count = relative(table, of=of), table[f"size{of}"], table[f"count{of}"]
    known = np.isfinite(errors)
    sums = np.where(known, errors, 0.0).sum(axis=1)
    parts = table.decisive(np.divide(sums, known.sum(axis=1), out=0 * sums, where=known.any(axis=1)))
    return LayerValues(
        table.replicates(lambda part: relative_mean(relative(part, of=of))),
        null=null,
        undefined=int(((size == 0) & (count > 0)).sum()),
        note="; ".join(filter(None, (note, about_infinite(errors)))),
        uncovered=few_decide(errors, size) or few_decisive(*parts),
        reach=OF_RELATIVE * reach_of_uneven(*parts),
    )


def relative_mean(errors: np.ndarray) -> float:
    """Return the mean of finite errors; if there are none, infinity if any error is x/0, otherwise NaN.

    >>> relative_mean(np.array([0.5, 1.5, np.nan, np.inf])), relative_mean(np.array([np.nan, np.inf]))
    (1.0, inf)
    """
    defined = errors[np.isfinite(errors)]
    if defined.size:
        return float(defined.mean())
    return float("inf") if np.isinf(errors).any() else float("nan")


def about_infinite(errors: np.ndarray) -> str:
    """Return a note on pairs with a response to the transformed input only; "" if there are none.

    >>> about_infinite(np.array([0.5, np.inf]))
    '1 of 2 errors is infinite (no response to the untransformed sample) and left out of the mean'
    """
    infinite = int(np.isinf(errors).sum())
    left_out = " and left out of the mean" if np.isfinite(errors).any() else ""
    verb = "is" if infinite == 1 else "are"
    whole = infinite + int(np.isfinite(errors).sum())
    reason = "no response to the untransformed sample"
    return f"{infinite} of {whole} errors {verb} infinite ({reason}){left_out}" if infinite else ""
