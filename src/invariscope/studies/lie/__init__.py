"""Lie derivatives layer by layer: which layers take a network away from its symmetry."""

from invariscope.studies.lie.layerwise import lie_derivative

__all__ = ["lie_derivative"]
