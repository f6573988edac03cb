"""Generators of image transforms (shifts, rotations and other flows), and the image derivatives they need."""

from invariscope.generators.base import Generator
from invariscope.generators.derivatives import Derivatives
from invariscope.generators.flows import AffineFlow, Blur, Intensity, UserFlow, as_generators

__all__ = ["AffineFlow", "Blur", "Derivatives", "Generator", "Intensity", "UserFlow", "as_generators"]
