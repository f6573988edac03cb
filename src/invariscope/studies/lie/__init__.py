"""Lie derivatives layer by layer: the contribution of each layer to the loss of symmetry."""

from invariscope.studies.lie.layerwise import lie_derivative

__all__ = ["lie_derivative"]
