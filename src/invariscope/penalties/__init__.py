"""Measures as training penalties: losses whose gradients flow into a model's parameters.

penalty = iv.penalties.NormalizedVariance(iv.Rotation.circle(16), layers="fc*", elements=4)
for step, (x, y) in enumerate(batches):
    loss = criterion(model(x), y) + 0.1 * penalty(model, x, step=step)
"""

from invariscope.penalties.base import Penalty
from invariscope.penalties.equivariance_deviation import EquivarianceDeviation
from invariscope.penalties.normalized_variance import NormalizedVariance
from invariscope.penalties.stability import Stability

__all__ = ["EquivarianceDeviation", "NormalizedVariance", "Penalty", "Stability"]
