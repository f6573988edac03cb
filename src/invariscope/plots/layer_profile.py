"""Values per layer, for one or several models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.symbols import is_relative
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.band import Band, band_of, chart_bands, draw_bands
from invariscope.plots.shared.base import MeasurePlot, View, whole_plot
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.scales import far_apart

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

BOUNDS = {"value": ("ci_low", "ci_high"), "value_ratio": ("ratio_low", "ratio_high")}
COLUMN_TITLES = {"value": "mean over units", "value_ratio": "ratio of layer means"}
DODGE, SPREAD = 0.14, 0.7  # distance of the dots of two networks, and of the first from the last
NUMBERS = {"model": "model", "layer": "layer", "value": "y", "low": "low", "high": "high", "null": "expected"}
# If there are more layers, intervals are bands instead of bars, and dots are small.
DEEP = 24
NULL = "A dotted line is the null: the value if orbits consisted of unrelated samples."
BAND = "A shaded band covers 95 % of networks with random weights."
LOGARITHMIC = (
    "On a logarithmic axis, used if values differ by more than a factor of 100, a value of zero has no dot."
)
DOUBTFUL = 0.5  # share of dead or sparse units above which a value has a hollow dot


@dataclass(frozen=True)
class ProfileSeries:
    """The profile of one model, an entry per layer; NaN if missing. `spans` are the intervals as text.

    `excluded` is the share of units that are dead or sparse, which the value leaves out.
    """

    name: str
    layers: tuple[str, ...]
    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray
    units: np.ndarray
    random: Band
    spans: tuple[str, ...]
    excluded: np.ndarray


@dataclass(frozen=True)
class LayerProfile(MeasurePlot):
    """Profile of layer values with intervals, and the null as a reference.

    Args:
        column: "value" (mean over units) or "value_ratio" (ratio of layer means).
        series: one per model.
        relative: whether x is the depth from 0 (first layer) to 1 (last) instead of the layer's number.
        logarithmic: whether the y axis is logarithmic; values that are not positive are then hidden.
    """

    title = "Layer by layer"
    reading = (
        "Each dot is a layer, in the order in which layers run. The bar is the 95 % interval over samples."
    )
    details = f"{NULL} {BAND} {LOGARITHMIC}"
    order = 10

    column: str
    series: tuple[ProfileSeries, ...]
    relative: bool
    logarithmic: bool

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        measure: str | None = None,
        column: str = "value",
        stratum: str = "all",
        relative: bool | None = None,
        layers: Sequence[str] | str | None = "auto",
        logarithmic: bool | None = None,
    ) -> LayerProfile:
        """Collect the profile of each result that has the measure.

        Args:
            results: one or several; they may differ in depth.
            measure: a measure of the table; None for normalized variance if present, otherwise the first.
            column: "value" or "value_ratio".
            stratum: "all", a class, or "mean".
            relative: whether the x axis is relative depth; None: only if the models' layers differ.
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
            logarithmic: whether the y axis is logarithmic. By default, it is logarithmic if values differ by
                more than a factor of 100 and none is negative. It stays linear for measures relative to a
                change of sample, whose small values are negligible.
        Raises:
            ValueError: no such measure or stratum in any result.
        """
        several = names.as_results(results)
        column = names.choose("column", column, list(BOUNDS))
        measure = names.choose("measure", measure, names.table_measures(several, column=column))
        rows = [names.rows_of(result, measure, stratum) for result in several]
        kept = [shown_layers(list(part["label"]), layers) for part in rows]
        bands = [band_of(result, measure, stratum).of(k) for result, k in zip(several, kept, strict=True)]
        rows = [part.loc[k] for part, k in zip(rows, kept, strict=True)]
        found = [part for part in zip(names.model_names(several), rows, bands, strict=True) if len(part[1])]
        if not found:
            raise ValueError(f"no rows of {measure!r} for stratum {stratum!r}; result.table lists the strata")
        if relative is None:
            relative = len({tuple(r["label"]) for _, r, _ in found}) > 1
        series = tuple(_series(name, r, column, relative, band) for name, r, band in found)
        if logarithmic is None:
            values = np.concatenate([one.value for one in series])
            logarithmic = not is_relative(measure) and far_apart(values)
        return cls(measure, column, series, relative, logarithmic, stratum=stratum)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per measure, or two (the mean and the ratio of means) if a measure has both.

        Measures that only summarise curves of their own family, such as the radius at which a curve crosses
        one half, are left out, because the plots of the curves show them.
        """
        found = {
            column: [
                name
                for name in names.layered_measures(results, column=column)
                if not _sums_up_curves(name, results)
            ]
            for column in BOUNDS
        }
        return [
            View(
                _view_label(measure, column, found),
                plot := cls.prepare(results, measure=measure, column=column),
                whole_plot(cls.prepare, results, results, measure=measure, column=column),
                plot.remarks,
            )
            for measure in names.headline_first([*found["value"], *found["value_ratio"]])
            for column in BOUNDS
            if measure in found[column]
        ]

    @property
    def remarks(self) -> str:
        """Return how to read the null, the band of random networks and the axis, if the figure has them."""
        nulls = any(np.isfinite(series.null).any() for series in self.series)
        present = {NULL: nulls, BAND: self._banded, LOGARITHMIC: self.logarithmic}
        return " ".join(text for text, shown in present.items() if shown)

    @property
    def top(self) -> float:
        """Return the upper end of the axis; intervals much wider than the values are cut off."""
        known = np.concatenate([np.r_[s.value, s.null, s.random.mean] for s in self.series])
        reach = np.concatenate([np.r_[s.high, s.value, s.null, s.random.high] for s in self.series])
        if not np.isfinite(known).any():
            return 1.0
        return 1.08 * min(float(np.nanmax(reach)), 1.6 * float(np.nanmax(known))) or 1.0

    @property
    def bottom(self) -> float:
        """Return the lower end of the axis: 0, or less if there are negative values."""
        known = np.concatenate([np.r_[s.value, s.random.mean] for s in self.series])
        least = float(np.nanmin(known)) if np.isfinite(known).any() else 0.0
        return 0.0 if least >= 0 else 1.15 * least

    def paint(self, canvas: Canvas) -> None:
        """Draw dots with intervals, joined by lines, the null dotted, and random weights as a band."""
        deepest = max(len(s.layers) for s in self.series)
        ax = canvas.panel(min(14.0, 4.5 + 0.4 * deepest), 4.2)
        draw_bands(ax, *self._bands, canvas)
        for i, series in enumerate(self._shown):
            _draw_series(ax, series, i, self._dodge(i) if deepest <= DEEP else 0.0, canvas)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, self._x_title or names.layer_axis(self.series[0].layers), self._y_title)
        if not self.relative:
            canvas.name_ticks(ax, self.series[0].layers)
        if deepest == 1:
            ax.set_xlim(-0.6, 0.6)
        if self.logarithmic:
            ax.set_yscale("log")
            canvas.value_axis(ax)
            canvas.plain_log_ticks(ax)
        else:
            canvas.value_axis(ax, self.bottom, self.top)
            if self.bottom < 0:
                ax.axhline(0, color=canvas.colours.muted, linewidth=0.6, zorder=0.7)
        nulls = _draw_nulls(ax, self._shown, canvas)
        shifts = [self._dodge(i) if deepest <= DEEP else 0.0 for i in range(len(self.series))]
        marks = _draw_marks(ax, self._shown, shifts, canvas)
        if len(self.series) > 1 or self._banded or nulls or marks:
            canvas.legend(ax, marks, dotted="null" if nulls else "")

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, value, interval, null and random weights."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        deepest = max(len(s.layers) for s in self.series)
        chart = live.new_chart(height=320, y_axis_type="log" if self.logarithmic else "linear")
        if self.logarithmic:
            live.log_axis(chart.yaxis[0], np.concatenate([series.value for series in self.series]))
        else:
            chart.y_range = live.fixed(self.bottom, self.top)
        live.axis_title(chart.yaxis[0], self._y_title)
        if self.relative:
            live.axis_title(chart.xaxis[0], self._x_title)
        else:
            layer_axis.layer_columns(chart, self.series[0].layers)
            chart.x_range = live.fixed(-0.6, deepest - 0.4)
        chart_bands(chart, *self._bands)
        sources = [_chart_series(chart, s, i, self._dodge(i)) for i, s in enumerate(self._shown)]
        shown = {"model": "@model", "layer": "@layer", "value": "@text", "95 %": "@interval", "null": "@null"}
        shown |= {"random nets": "@random"} if self._banded else {}
        for source in sources:
            live.hover_points(chart, source, {**shown, "units": "@units"}, NUMBERS)
        if self.relative:
            layer_axis.pickable_points(chart, sources)
        return chart

    @property
    def _shown(self) -> tuple[ProfileSeries, ...]:
        """Return the series without the values that the axis cannot show."""
        return tuple(map(_positive, self.series)) if self.logarithmic else self.series

    @property
    def _bands(self) -> tuple[list[np.ndarray], list[Band]]:
        return [s.x for s in self.series], [s.random for s in self.series]

    @property
    def _banded(self) -> bool:
        return any(s.random.known for s in self.series)

    @property
    def _x_title(self) -> str:
        return "relative depth (0 first layer, 1 last)" if self.relative else ""

    @property
    def _y_title(self) -> str:
        title = names.titled(self.measure, self.stratum)
        return f"{title}, {COLUMN_TITLES[self.column]}" if self.column != "value" else title

    def _dodge(self, i: int) -> float:
        last = len(self.series) - 1
        return 0.0 if self.relative or not last else min(DODGE, SPREAD / last) * (i - last / 2)


def _series(name: str, rows: Any, column: str, relative: bool, band: Band) -> ProfileSeries:
    layers = tuple(rows["label"])
    x = np.arange(len(layers), dtype=float)
    low, high = (rows[bound].to_numpy(float) for bound in BOUNDS[column])
    # Nulls and values of random networks exist only for the mean over units.
    absent = np.full(len(layers), np.nan)
    null, random = (
        (rows["null"].to_numpy(float), band) if column == "value" else (absent, Band(*[absent] * 3))
    )
    return ProfileSeries(
        name=name,
        layers=layers,
        x=x / max(1, len(layers) - 1) if relative else x,
        value=rows[column].to_numpy(float),
        low=low,
        high=high,
        null=null,
        units=rows["units"].to_numpy(float),
        excluded=((rows["dead_units"] + rows["sparse_units"]) / rows["units"].clip(lower=1)).to_numpy(float),
        random=random,
        spans=tuple(_span(row, column) for row in rows.to_dict("records")),
    )


def _span(row: dict[str, Any], column: str) -> str:
    if column == "value":
        return names.row_interval(row)
    return names.interval(*(row[bound] for bound in BOUNDS[column]))


def _sums_up_curves(measure: str, results: Sequence[Result]) -> bool:
    """Return whether a measure has a value for only one layer per result, and its family has curves."""
    family = f"{measure.rpartition('.')[0]}."
    curved = any(str(row["measure"]).startswith(family) for result in results for row in result.curve_rows)
    return curved and max(len(names.rows_of(result, measure)) for result in results) < 2


def _positive(series: ProfileSeries) -> ProfileSeries:
    """Return the series for a logarithmic axis, on which intervals that reach zero start at the value."""
    value, null = (np.where(part > 0, part, np.nan) for part in (series.value, series.null))
    return replace(series, value=value, null=null, low=np.where(series.low <= 0, value, series.low))


def _view_label(measure: str, column: str, found: dict[str, list[str]]) -> str:
    title = names.measure_title(measure)
    both = all(measure in measures for measures in found.values())
    return f"{title} ({COLUMN_TITLES[column]})" if both else title


def _draw_series(ax: Axes, series: ProfileSeries, i: int, shift: float, canvas: Canvas) -> None:
    colour, x = canvas.colour(i), series.x + shift
    deep, scale = len(x) > DEEP, canvas.colours.scale
    style = {**canvas.series_style(i), "markersize": (2.2 if deep else 4.5) * scale}
    if deep:
        ax.fill_between(x, series.low, series.high, color=colour, alpha=0.2, linewidth=0)
    else:
        ax.vlines(x, series.low, series.high, color=colour, linewidth=1.6 * scale, alpha=0.7)
    ax.plot(x, series.value, linewidth=(1.1 if deep else 1.4) * scale, label=series.name, **style)
    doubtful = series.excluded > DOUBTFUL
    hollow = {**style, "linestyle": "", "markerfacecolor": canvas.colours.surface, "markersize": 5.0 * scale}
    if doubtful.any():
        ax.plot(x[doubtful], series.value[doubtful], **hollow)


def _draw_nulls(ax: Axes, shown: Sequence[ProfileSeries], canvas: Canvas) -> bool:
    """Draw dotted lines at the nulls, one for all networks if they agree; return whether there are any."""
    known = [(i, series) for i, series in enumerate(shown) if np.isfinite(series.null).any()]
    if not known:
        return False
    style: dict[str, Any] = {"linewidth": 1.2 * canvas.colours.scale, "linestyle": ":", "alpha": 0.8}
    first = known[0][1]
    agree = all(
        s.null.shape == first.null.shape and np.allclose(s.null, first.null, rtol=0.02, equal_nan=True)
        for _, s in known
    )
    if agree and len(known) > 1:
        ax.plot(first.x, first.null, color=canvas.colours.muted, **style)
    else:
        for i, series in known:
            ax.plot(series.x, series.null, color=canvas.colour(i), **style)
    return True


def _draw_marks(
    ax: Axes, shown: Sequence[ProfileSeries], shifts: Sequence[float], canvas: Canvas
) -> list[Any]:
    """Mark layers without a value at the lower end of the axis, and return entries of the legend."""
    missing = [(i, shifts[i] + s.x[np.isnan(s.value) & (s.excluded >= 1)]) for i, s in enumerate(shown)]
    for i, x in missing:
        canvas.draw_missing(ax, x, canvas.colour(i))
    doubtful = any((np.isfinite(s.value) & (s.excluded > DOUBTFUL)).any() for s in shown)
    marks = {"all units dead or sparse": ("x", any(len(x) for _, x in missing))}
    marks["most units dead or sparse"] = ("o", doubtful)
    return [canvas.mark_of(text, marker) for text, (marker, present) in marks.items() if present]


def _chart_series(chart: Any, series: ProfileSeries, i: int, shift: float) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    source = ColumnDataSource({
        "x": series.x + shift, "y": series.value, "low": series.low, "high": series.high,
        "expected": series.null, "layer": list(series.layers), "model": [series.name] * len(series.layers),
        "text": [names.number(v) for v in series.value], "null": [names.number(v) for v in series.null],
        "interval": list(series.spans),
        "random": names.intervals(series.random.low, series.random.high),
        "units": [f"{n:,.0f}" for n in series.units],
    })  # fmt: skip
    null = chart.line("x", "expected", source=source, line_width=1.3, line_dash="dotted", line_alpha=0.8)
    bar = chart.segment("x", "low", "x", "high", source=source, line_width=2, line_alpha=0.6)
    for renderer in (null, bar):
        live.themed(renderer.glyph, line_color=f"series:{i}")
    live.line_with_dots(chart, source, i, size=9 if len(series.x) <= 60 else 5)
    return source
