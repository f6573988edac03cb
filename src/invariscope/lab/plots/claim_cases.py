"""The cases of a claim: values with intervals, beside the range in which the claim holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared.base import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas

# Colour (number in the theme's series, None: grey), marker, and whether the marker is filled.
_STYLES = {
    "confirmed": (2, "o", True),
    "refuted": (1, "s", True),
    "undecided": (None, "D", False),
    "not tested": (None, "x", False),
}
_WORDS = {
    "confirmed": "for the claim",
    "refuted": "against it",
    "undecided": "undecided",
    "not tested": "not tested",
}


@dataclass(frozen=True)
class ClaimCase:
    """One case: its name, its value with the interval (NaN if missing), and the verdict on it."""

    name: str
    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class ClaimCases(Drawing):
    """The cases of one claim in rows, with the range of values for which it holds shaded.

    The figure is made from the verdicts of a recipe, not from results, so it is not part of reports.

    Args:
        cases: one per row.
        least, most: the range; infinite if one-sided.
        beyond: whether the claim holds outside of the range.
        logarithmic: whether the axis is logarithmic, for ratios.
        axis: title of the axis.
    """

    cases: tuple[ClaimCase, ...]
    least: float
    most: float
    beyond: bool
    logarithmic: bool
    axis: str = ""

    @classmethod
    def prepare(
        cls, cases: Sequence[ClaimCase], *, least: float, most: float, beyond: bool = False, axis: str = ""
    ) -> ClaimCases:
        """Collect the cases; the axis is logarithmic if all values are positive and far apart.

        Raises:
            ValueError: no case has a finite value.
        """
        known = [case for case in cases if math.isfinite(case.value)]
        if not known:
            raise ValueError("no case has a value")
        values = np.array([case.value for case in known])
        ends = np.array([end for end in (least, most) if math.isfinite(end)])
        positive = bool((values > 0).all() and (ends > 0).all())
        return cls(tuple(known), least, most, beyond, positive and values.max() > 20 * values.min(), axis)

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the axis: all values and bounds, and intervals unless they are much wider."""
        values = np.array([case.value for case in self.cases])
        bounds = [end for end in (self.least, self.most) if math.isfinite(end)]
        if self.logarithmic:
            known = np.log([*values, *bounds])
            reach = np.log([max(x, 1e-300) for case in self.cases for x in (case.low, case.high) if x > 0])
        else:
            known = np.array([*values, *bounds])
            reach = np.array([x for case in self.cases for x in (case.low, case.high)])
        room = max(float(np.ptp(known)), 1e-9)
        reach = reach[np.isfinite(reach)]
        low = max(min(float(known.min()), *reach.tolist()), float(known.min()) - 1.5 * room)
        high = min(max(float(known.max()), *reach.tolist()), float(known.max()) + 1.5 * room)
        margin = 0.04 * (high - low)
        ends = (low - margin, high + margin)
        return (math.exp(ends[0]), math.exp(ends[1])) if self.logarithmic else ends

    def paint(self, canvas: Canvas) -> None:
        """Draw a row per case, the range in which the claim holds, and a legend of the verdicts."""
        count = len(self.cases)
        ax = canvas.panel(6.8, 0.95 + 0.24 * count)
        if self.logarithmic:
            ax.set_xscale("log")
        ax.set_xlim(*self.span)
        self._shade(ax, canvas)
        for row, case in enumerate(self.cases):
            _draw_case(ax, row, case, self.span, canvas)
        canvas.axis_titles(ax, self.axis, "")
        ax.set_ylim(count - 0.4, -0.6)
        ax.set_yticks(range(count), [case.name for case in self.cases])
        ax.spines["left"].set_visible(False)
        if self.logarithmic:
            canvas.plain_log_ticks(ax)
        self._legend(ax, canvas)

    def _shade(self, ax: Axes, canvas: Canvas) -> None:
        low, high = self.span
        ranges = [(self.least, self.most)]
        if self.beyond:
            ranges = [(-math.inf, self.least), (self.most, math.inf)]
        for left, right in ranges:
            ax.axvspan(max(left, low), min(right, high), color=canvas.colour(2), alpha=0.1, linewidth=0)
        for bound in (self.least, self.most):
            if math.isfinite(bound):
                ax.axvline(bound, color=canvas.colours.muted, linewidth=1)

    def _legend(self, ax: Axes, canvas: Canvas) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        present = [verdict for verdict in _STYLES if any(case.verdict == verdict for case in self.cases)]
        handles = [
            Line2D([], [], linestyle="", markersize=6, label=_WORDS[verdict], **_marker(verdict, canvas))
            for verdict in present
        ]
        shade = Patch(color=canvas.colour(2), alpha=0.1, label="range in which the claim holds")
        canvas.legend(ax, [*handles, shade])


def _marker(verdict: str, canvas: Canvas) -> dict[str, Any]:
    number, marker, is_filled = _STYLES[verdict]
    colour = canvas.colours.muted if number is None else canvas.colour(number)
    face = colour if is_filled else canvas.colours.surface
    return {"color": colour, "marker": marker, "markerfacecolor": face, "markeredgewidth": 1.3}


def _draw_case(ax: Axes, row: int, case: ClaimCase, span: tuple[float, float], canvas: Canvas) -> None:
    style = _marker(case.verdict, canvas)
    colour = str(style["color"])
    ax.hlines(row, case.low, case.high, color=colour, linewidth=1.8, alpha=0.6)
    for end, marker, beyond in ((span[0], "<", case.low < span[0]), (span[1], ">", case.high > span[1])):
        if beyond:  # the interval goes on
            ax.plot([end], [row], linestyle="", marker=marker, markersize=5, color=colour, clip_on=False)
    ax.plot([case.value], [row], linestyle="", markersize=6, **style)
