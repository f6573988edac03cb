"""The measuring loop: plan a pass, run the model once per transformed input, and reduce its responses."""

from invariscope.engine.api import measure

__all__ = ["measure"]
