"""Small charts inside the text of a card, as SVG in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invariscope.common.cards import MUTED, escaped

COLOUR = "#3b82c4"  # a contrast of at least 4 with white and with the dark themes of Jupyter and VS Code
_MOST_POINTS, _MOST_DOTS = 200, 40
_FAR = 4.0  # a reference that exceeds the values by more than this factor would flatten them
_NUMBERS = "flex-direction:column;line-height:1;text-align:right;white-space:nowrap"
_END = "min-width:0;overflow:hidden;text-overflow:ellipsis"
_LINE = 'fill="none" stroke-linecap="round" stroke-linejoin="round" vector-effect="non-scaling-stroke"'


class Scale(NamedTuple):
    """Ends of the vertical axis, and whether it shows the reference."""

    low: float
    high: float
    referenced: bool


@dataclass(frozen=True)
class Sparkline:
    """A line with a band, and a rule at zero.

    Args:
        values: one per point, from left to right; NaN leaves a gap.
        low, high: ends of the interval of each point; NaN for none.
        reference: height of a dashed line; NaN for none.
        ends: names of the first and the last point.
        title: what is shown, for the line above and for screen readers.
    """

    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    reference: float
    ends: tuple[str, str]
    title: str

    @property
    def scale(self) -> Scale:
        """The axis, which includes zero, and the reference unless it is far away."""
        shown = [v for v in (*self.values, *self.low, *self.high) if math.isfinite(v)] or [0.0]
        largest, least = max(*shown, 0.0), min(*shown, 0.0)
        near = math.isfinite(self.reference) and abs(self.reference) <= _FAR * max(map(abs, shown))
        if near:
            largest, least = max(largest, self.reference), min(least, self.reference)
        return Scale(least, max(largest, least + 1e-12), near)

    def html(self) -> str:
        """Return the chart with its title above and the names of both ends below.

        Fewer than three values return "".
        """
        if sum(map(math.isfinite, self.values)) < 3:
            return ""
        scale = self.scale
        top, bottom = (f"{end:.3g}".replace("-", "−") for end in (scale.high, scale.low))
        left, right = (escaped(end, 24) for end in self.ends)
        apart = f"{MUTED};display:flex;justify-content:space-between;gap:12px"
        return (
            f'<div style="{MUTED};margin-top:10px">{escaped(self._legend(scale))}</div>'
            '<div style="display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 10px;margin-top:6px">'
            f'<div style="{apart};{_NUMBERS}"><span>{top}</span><span>{bottom}</span></div>'
            f"{self._drawn(scale)}<span></span>"
            f'<div style="{apart};white-space:nowrap"><span style="{_END}">{left}</span>'
            f'<span style="{_END}">{right}</span></div></div>'
        )

    def _legend(self, scale: Scale) -> str:
        band = any(map(math.isfinite, self.low))
        more = ["95 % intervals shaded"] * band + ["null dashed"] * scale.referenced
        return "; ".join([self.title, *more])

    def _drawn(self, scale: Scale) -> str:
        places = self._places()
        across = np.array([100.0 * k / max(len(self.values) - 1, 1) for k in places])
        line, low, high = (
            _heights([column[k] for k in places], scale) for column in (self.values, self.low, self.high)
        )
        zero, rule = _heights([0.0, self.reference], scale)
        dashed = f'<path d="M0 {rule:.4g}H100" stroke="currentColor" stroke-dasharray="4 4" {_LINE}/>'
        dots = _moves(across, line, "h0") if len(places) <= _MOST_DOTS else ""
        return (
            f'<svg role="img" aria-label="{escaped(self.title)}, from {escaped(self.ends[0], 48)} to '
            f'{escaped(self.ends[1], 48)}" viewBox="-1 -4 102 108" preserveAspectRatio="none" '
            'style="width:100%;height:72px;display:block;overflow:visible">'
            f'<path d="M0 {zero:.4g}H100" stroke="currentColor" opacity=".35" {_LINE}/>'
            f"{dashed if scale.referenced else ''}{_band(across, low, high)}"
            f'<path d="{_moves(across, line)}" stroke="{COLOUR}" stroke-width="2" {_LINE}/>'
            + (f'<path d="{dots}" stroke="{COLOUR}" stroke-width="6" {_LINE}/>' if dots else "")
            + "</svg>"
        )

    def _places(self) -> list[int]:
        """Return the points to draw: all or, of very many, evenly spaced ones and the extremes."""
        count = len(self.values)
        known = [k for k in range(count) if math.isfinite(self.values[k])]
        if count <= _MOST_POINTS:
            return list(range(count))
        extremes = (pick(known, key=lambda k: self.values[k]) for pick in (min, max))
        return sorted({*np.linspace(0, count - 1, _MOST_POINTS).round().astype(int).tolist(), *extremes})


def _heights(values: Sequence[float], scale: Scale) -> np.ndarray:
    """Return distances from the top of the chart, 0 to 100."""
    return 100 * (scale.high - np.array(values, float)) / (scale.high - scale.low)


def _moves(across: np.ndarray, heights: np.ndarray, dot: str = "") -> str:
    """Return a path through the known points, or a dot at each of them."""
    parts, pen = [], "M"
    for x, y in zip(across, heights, strict=True):
        if not math.isfinite(y):
            pen = "M"
            continue
        parts.append(f"{'M' if dot else pen}{x:.4g} {y:.4g}{dot}")
        pen = "L"
    return "".join(parts)


def _band(across: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    known = np.isfinite(low) & np.isfinite(high)
    runs = np.split(np.flatnonzero(known), np.flatnonzero(np.diff(np.flatnonzero(known)) > 1) + 1)
    parts = []
    for run in runs:
        there = [f"{across[k]:.4g} {high[k]:.4g}" for k in run]
        back = [f"{across[k]:.4g} {low[k]:.4g}" for k in run[::-1]]
        parts.append(f"M{'L'.join(there + back)}Z" if len(run) else "")
    whole = "".join(parts)
    return f'<path d="{whole}" fill="{COLOUR}" opacity=".22"/>' if whole else ""
