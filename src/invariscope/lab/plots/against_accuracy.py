"""Measured invariance against accuracy, over many networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.intervals import LEVEL
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.theme import MARKERS

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

# Measures of predictive performance, in order of preference.
ACCURACIES = ("test.error", "test.accuracy", "prediction.accuracy")
# Measures that may have a logarithmic axis; accuracies, which are at most 1, may not.
_ERRORS = ("test.error",)
_FEWEST, _SPAN = (
    3,
    4,
)  # Minimum number of networks for a fitted line; ratio of the largest to the smallest value above which axes
# are logarithmic.


@dataclass(frozen=True)
class Family:
    """Networks whose names agree up to the first comma, with (network,) values and (network, 2) intervals."""

    name: str
    networks: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    x_interval: np.ndarray
    y_interval: np.ndarray


@dataclass(frozen=True)
class Line:
    """A least-squares line: its slope with a t interval, and its two end points."""

    slope: float
    low: float
    high: float
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class AgainstAccuracy(ChartPlot):
    """Accuracy or error of each network against a measure of one of its layers.

    Args:
        measure: measure on the x axis.
        accuracy: measure on the y axis: "test.error", "test.accuracy" or "prediction.accuracy".
        families: the networks; those in one family share a colour and a marker, and are joined in order.
        logarithmic: whether the x axis and, for an error, the y axis are logarithmic; the slope is then that
            of the logarithms. Accuracy axes are always linear.
        line: the fit through all networks; None for fewer than three, or if not requested.
    """

    title = "Invariance against accuracy"
    reading = (
        "Each dot is a network; bars are 95 % intervals over samples. The slope is that of the least-squares "
        "line, in decimal logarithms on logarithmic axes. Its t interval treats the networks as independent."
    )
    order = 80

    measure: str
    accuracy: str
    families: tuple[Family, ...]
    logarithmic: bool
    line: Line | None

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        measure: str | None = None,
        layer: str | None = None,
        accuracy: str | None = None,
        logarithmic: bool | None = None,
        fit: bool = True,
    ) -> AgainstAccuracy:
        """Collect the networks that have both values.

        Args:
            results: one result per network.
            measure: a measure of the table; None: normalized variance if present, else the first.
            layer: the layer; None: the last layer of each network that has a value.
            accuracy: None: the first available of "test.error", "test.accuracy" and "prediction.accuracy".
            logarithmic: whether the x axis and, for an error, the y axis are logarithmic; None: if all values
                are positive and those on the x axis span a factor of 4.
            fit: whether to draw the least-squares line.
        Raises:
            ValueError: unknown measure, no network with both values, or logarithmic axes for values that are
                not all positive.
        """
        several = names.as_results(results)
        present = names.table_measures(several)
        accuracy = names.choose("accuracy", accuracy, [name for name in ACCURACIES if name in present])
        measure = names.choose("measure", measure, [name for name in present if name not in ACCURACIES])
        families = _families(several, measure, layer, accuracy)
        if not families:
            where = "its last layer" if layer is None else f"layer {layer!r}"
            raise ValueError(f"no network has both {measure} of {where} and {accuracy}")
        x, y = (np.concatenate([getattr(family, axis) for family in families]) for axis in "xy")
        positive = bool((x > 0).all() and ((y > 0).all() or accuracy not in _ERRORS))
        if logarithmic and not positive:
            raise ValueError(f"logarithmic axes need positive values of {measure} and {accuracy}")
        if logarithmic is None:
            logarithmic = positive and bool(x.max() > _SPAN * x.min())
        plain = cls(measure, accuracy, families, logarithmic, None)
        return replace(plain, line=_fitted(x, y, plain.scales)) if fit else plain

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per measure for which at least two networks have a value and an accuracy."""
        present = names.table_measures(results)
        accuracy = next((name for name in ACCURACIES if name in present), None)
        measures = [name for name in present if accuracy is not None and name not in ACCURACIES]
        plots = {name: _families(results, name, None, accuracy or "") for name in measures}
        return [
            View(names.measure_title(name), cls.prepare(results, measure=name))
            for name, families in plots.items()
            if sum(len(family.networks) for family in families) > 1
        ]

    @property
    def scales(self) -> tuple[bool, bool]:
        """Two flags: whether the x axis is logarithmic, and whether the y axis is."""
        return self.logarithmic, self.logarithmic and self.accuracy in _ERRORS

    @property
    def slope(self) -> str:
        """The slope as text; empty if no line was fitted."""
        if self.line is None:
            return ""
        slope, low, high = (
            names.number(value, digits=2) for value in (self.line.slope, self.line.low, self.line.high)
        )
        return f"slope {slope} ({low} to {high})"

    def paint(self, canvas: Canvas) -> None:
        """Draw dots with intervals, a line joining each family, and the fitted line."""
        ax = canvas.panel(8.4, 5.2)
        for i, family in enumerate(self.families):
            _draw_family(ax, self._shown(family), i, canvas)
        if self.line is not None:
            style = {"color": canvas.colours.muted, "linewidth": 1.4, "linestyle": "--", "zorder": 1}
            ax.plot(self.line.x, self.line.y, label=self.slope, **style)
        for logarithmic, rescale in zip(self.scales, (ax.set_xscale, ax.set_yscale), strict=True):
            if logarithmic:
                rescale("log")
        canvas.value_axis(ax)
        canvas.plain_log_ticks(ax)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, *self._titles)
        canvas.legend(ax)

    def chart(self) -> UIElement:
        """Draw an interactive chart that shows network, values and intervals on hover."""
        from invariscope.plots.shared import interactive as live

        x, y = ("log" if logarithmic else "linear" for logarithmic in self.scales)
        chart = live.new_chart(height=380, min_width=300, x_axis_type=x, y_axis_type=y)
        for axis, title in zip((chart.xaxis[0], chart.yaxis[0]), self._titles, strict=True):
            live.axis_title(axis, title)
        if self.line is not None:
            line = chart.line(self.line.x, self.line.y, line_width=1.5, line_dash="dashed")
            live.themed(line.glyph, line_color="muted")
        shown = {"network": "@network", "measured": "@x_text", "measured, 95 %": "@x_span"}
        shown |= {"accuracy": "@y_text", "accuracy, 95 %": "@y_span"}
        for i, family in enumerate(self.families):
            live.hover_points(chart, _chart_family(chart, self._shown(family), i), shown)
        return chart

    def _shown(self, family: Family) -> Family:
        """Return the family, with interval bounds moved to the dot if a logarithmic axis cannot show them."""
        pairs = ((family.x, family.x_interval), (family.y, family.y_interval))
        x, y = (
            np.where(interval > 0, interval, value[:, None]) if logarithmic else interval
            for logarithmic, (value, interval) in zip(self.scales, pairs, strict=True)
        )
        return replace(family, x_interval=x, y_interval=y)

    @property
    def _titles(self) -> tuple[str, str]:
        return names.measure_title(self.measure), names.measure_title(self.accuracy)


def _families(
    results: Sequence[Result], measure: str, layer: str | None, accuracy: str
) -> tuple[Family, ...]:
    points: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for name, result in zip(names.model_names(results), results, strict=True):
        x, y = _point(result, measure, layer), _point(result, accuracy, None)
        if x is not None and y is not None:
            points.setdefault(name.partition(", ")[0], []).append((name, x, y))
    return tuple(_family(name, members) for name, members in points.items())


def _family(name: str, members: list[tuple[str, np.ndarray, np.ndarray]]) -> Family:
    x, y = (np.stack([member[axis] for member in members]) for axis in (1, 2))
    networks = tuple(member[0] for member in members)
    return Family(name, networks, x[:, 0], y[:, 0], x[:, 1:], y[:, 1:])


def _point(result: Result, measure: str, layer: str | None) -> np.ndarray | None:
    """Return the value and its interval bounds; None if there is no value."""
    rows: Any = names.rows_of(result, measure)
    rows = rows[np.isfinite(rows["value"].to_numpy(float))]
    if layer is not None:
        rows = rows[rows["label"] == layer]
    return rows[["value", "ci_low", "ci_high"]].to_numpy(float)[-1] if len(rows) else None


def _fitted(x: np.ndarray, y: np.ndarray, scales: tuple[bool, bool]) -> Line | None:
    from scipy import special

    u, v = (np.log10(part) if log else part for log, part in zip(scales, (x, y), strict=True))
    along = u - u.mean()
    if len(u) < _FEWEST or not along.any():
        return None
    slope = float(along @ v / (along @ along))
    left = v - v.mean() - slope * along
    error = math.sqrt(float(left @ left) / (len(u) - 2) / float(along @ along))
    reach = float(special.stdtrit(len(u) - 2, 0.5 + LEVEL / 2)) * error
    ends = np.array([u.min(), u.max()])
    heights = v.mean() + slope * (ends - u.mean())
    ends, heights = (10**part if log else part for log, part in zip(scales, (ends, heights), strict=True))
    return Line(slope, slope - reach, slope + reach, ends, heights)


def _draw_family(ax: Axes, family: Family, i: int, canvas: Canvas) -> None:
    colour = canvas.colour(i)
    ax.hlines(family.y, *family.x_interval.T, color=colour, linewidth=1.1, alpha=0.5)
    ax.vlines(family.x, *family.y_interval.T, color=colour, linewidth=1.1, alpha=0.5)
    ax.plot(family.x, family.y, color=colour, linewidth=0.8, alpha=0.5)
    # An edge in the background colour separates overlapping dots.
    style = {"linestyle": "", "marker": list(MARKERS.values())[i % len(MARKERS)], "markersize": 7}
    style |= {"markeredgecolor": canvas.colours.surface, "markeredgewidth": 0.8, "alpha": 0.85}
    ax.plot(family.x, family.y, color=colour, label=family.name, **style)


def _chart_family(chart: Any, family: Family, i: int) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    (left, right), (low, high) = family.x_interval.T, family.y_interval.T
    source, role = ColumnDataSource({
        "x": family.x, "y": family.y, "left": left, "right": right, "low": low, "high": high,
        "network": list(family.networks),
        "x_text": [names.number(v) for v in family.x], "y_text": [names.number(v) for v in family.y],
        "x_span": [names.interval(*pair) for pair in family.x_interval],
        "y_span": [names.interval(*pair) for pair in family.y_interval],
    }), f"series:{i}"  # fmt: skip
    bars = [
        chart.segment("left", "y", "right", "y", source=source, line_width=1.5, line_alpha=0.5),
        chart.segment("x", "low", "x", "high", source=source, line_width=1.5, line_alpha=0.5),
        chart.line("x", "y", source=source, line_width=1, line_alpha=0.5),
    ]
    for renderer in bars:
        live.themed(renderer.glyph, line_color=role)
    dots = chart.scatter("x", "y", source=source, size=9, marker=list(MARKERS)[i % len(MARKERS)])
    live.themed(dots.glyph, fill_color=role, line_color="surface")
    return source
