"""Equivariance deviation under a fitted action, from regression sums."""

from __future__ import annotations

import numpy as np

from invariscope.actions.fitted_action import FittedAction
from invariscope.measures.ridge_maps import held_out, naively_predicted
from invariscope.measures.values import ElementValues, LayerValues, Values
from invariscope.statistics.moments.orbit_regression import RegressionSums
from invariscope.statistics.rounding import ratio


def fitted_deviation(
    sums: RegressionSums, action: FittedAction, *, exclude_identity: bool
) -> dict[str, Values]:
    """Return ⟨‖f(gx) − M_g f(x) − b_g‖²⟩, its null with f(x) of another sample, and their ratio."""
    parts = [held_out(sums, replicate, ridge=action.ridge) for replicate in range(len(sums.count))]
    by_element = np.stack([part.residual / part.samples for part in parts])
    crossed = np.stack([part.crossed / part.samples for part in parts])
    kept = sums.moving if exclude_identity else np.ones_like(sums.moving)
    values, null = by_element[:, kept].mean(axis=1), crossed[:, kept].mean(axis=1)
    note = "" if action.dims >= sums.units else f"{sums.units} units projected to {action.dims} directions"
    return {
        "": LayerValues(values, float(null[0]), note=note),
        "by_element": ElementValues(np.where(kept, by_element, np.nan)),
        "to_null": LayerValues(ratio(values, null), 1.0, note=note),
    }


def naive_fitted_deviation(
    activations: np.ndarray, indices: np.ndarray | None, action: FittedAction, *, exclude_identity: bool
) -> dict[str, np.ndarray]:
    """Compute the deviation sample by sample, for the oracle."""
    flat, predicted, _ = naively_predicted(activations, indices, ridge=action.ridge, seed=action.seed)
    by_element = ((flat - predicted) ** 2).sum(axis=2).mean(axis=0)
    if exclude_identity:
        by_element[0] = np.nan
    return {"": np.asarray(np.nanmean(by_element)), "by_element": by_element}
