"""The measuring loop: plan a pass, forward each transformed input once, reduce, and assemble results."""

from invariscope.engine.api import measure

__all__ = ["measure"]
