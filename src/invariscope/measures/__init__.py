"""Measures, one family per file: the statistics they need, and how values are computed from them."""

from invariscope.measures.base import MEASURES, Measure

__all__ = ["MEASURES", "Measure"]
