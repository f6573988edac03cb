"""Measures of invariance and equivariance: the statistics that each needs, and its formula."""

from invariscope.measures.base import MEASURES, Measure

__all__ = ["MEASURES", "Measure"]
