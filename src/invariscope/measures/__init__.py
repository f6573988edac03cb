"""Formulas, one family per file: which statistics they need, and how values follow from them."""

from invariscope.measures.base import MEASURES, Measure

__all__ = ["MEASURES", "Measure"]
