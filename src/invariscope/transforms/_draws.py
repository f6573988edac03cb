"""Where the transforms find their draws."""

from invariscope.draws import _GOLDEN, Draws, _mix, sample_indices

__all__ = ["_GOLDEN", "Draws", "_mix", "sample_indices"]
