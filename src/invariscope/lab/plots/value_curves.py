"""Values of a table against one of its axes, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared.base import Drawing

if TYPE_CHECKING:
    from invariscope.plots.shared.canvas import Canvas

# How far beyond the values an interval extends the axis: a multiple of the range of the values.
_REACH = 0.35


@dataclass(frozen=True)
class ValueCurve(Drawing):
    """Curve of one value against another, with a band and, for ratios, a line at 1.

    The figure is made from a table of a recipe, not from results, so it is not part of reports.

    Args:
        x, value, low, high: the points, sorted by x; bounds are NaN without an interval.
        axis: title of the x axis.
        ratio: whether the value is a ratio; the axis is then logarithmic.
    """

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    axis: str
    ratio: bool

    @classmethod
    def prepare(
        cls, points: Sequence[tuple[float, float, float, float]], *, axis: str, ratio: bool = False
    ) -> ValueCurve:
        """Collect (x, value, low, high); values that a logarithmic axis cannot show are left out.

        Raises:
            ValueError: fewer than two points are left.
        """
        kept = sorted(p for p in points if math.isfinite(p[1]) and (p[1] > 0 or not ratio))
        if len(kept) < 2:
            raise ValueError("a curve needs at least two values")
        return cls(*np.array(kept, dtype=float).T, axis=axis, ratio=ratio)

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the y axis: all values, for ratios also 1, and intervals unless they reach far beyond."""
        scaled = np.log if self.ratio else np.asarray
        with np.errstate(divide="ignore", invalid="ignore"):
            known, low, high = scaled(self.value), scaled(self.low), scaled(self.high)
        ends = [*known, 0.0] if self.ratio else known
        bottom, top = float(np.min(ends)), float(np.max(ends))
        room = _REACH * max(top - bottom, 1e-9)
        bottom = min(bottom, max(float(np.nanmin([*low, bottom])), bottom - room)) - 0.1 * room
        top = max(top, min(float(np.nanmax([*high, top])), top + room)) + 0.1 * room
        return (math.exp(bottom), math.exp(top)) if self.ratio else (bottom, top)

    def paint(self, canvas: Canvas) -> None:
        """Draw the curve over its band."""
        ax = canvas.panel(6.8, 3.2)
        low = np.where(self.low > 0, self.low, self.span[0]) if self.ratio else self.low
        canvas.draw_curve(ax, 0, "", self.x, (self.value, low, self.high))
        if self.ratio:
            ax.set_yscale("log")
            ax.axhline(1, color=canvas.colours.muted, linewidth=1)
        canvas.value_axis(ax, *self.span)
        if self.ratio:
            canvas.plain_log_ticks(ax)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, self.axis, "ratio" if self.ratio else "value")
