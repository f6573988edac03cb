"""The one loop: plan, forward each transformed input once, reduce inside the reader, assemble."""

from invariscope.engine.api import measure

__all__ = ["measure"]
