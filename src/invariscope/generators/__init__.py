"""What moves an image a little: generators of shifts, turns and the like, and their derivatives."""

from invariscope.generators.base import Generator, as_generators
from invariscope.generators.derivatives import Derivatives
from invariscope.generators.flows import AffineFlow, Blur, Intensity, UserFlow

__all__ = ["AffineFlow", "Blur", "Derivatives", "Generator", "Intensity", "UserFlow", "as_generators"]
