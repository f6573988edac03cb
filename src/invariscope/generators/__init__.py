"""Infinitesimal transforms of images: generators of shifts, rotations and others, and image derivatives."""

from invariscope.generators.base import Generator
from invariscope.generators.derivatives import Derivatives
from invariscope.generators.flows import AffineFlow, Blur, Intensity, UserFlow, as_generators

__all__ = ["AffineFlow", "Blur", "Derivatives", "Generator", "Intensity", "UserFlow", "as_generators"]
