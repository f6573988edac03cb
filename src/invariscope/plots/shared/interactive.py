"""Bokeh charts in the library's style, with the properties of both themes.

User text never becomes markup: hover templates contain only column names, and texts on the canvas are
`PlainText`, which Bokeh does not parse for formulas (a formula would download MathJax).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    LinearColorMapper,
    PlainText,
    Range1d,
)
from bokeh.plotting import figure as bokeh_figure

from invariscope.plots.shared.labels import axis_labels
from invariscope.plots.shared.scales import log_ticks
from invariscope.plots.shared.theme import DARK, LIGHT, MARKERS, Theme, palette

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
MIN_WIDTH = 240
_SMALL = -5  # ticks below this power of ten have exponents
CHARACTER = 7  # pixels of an average character of a name
M = TypeVar("M", bound=Any)


def themed(model: M, **properties: str) -> M:
    """Set colour properties by role, and tag the model with the colours of both themes.

    `themed(axis, major_label_text_color="muted")`. A role is a field of `Theme`, or "series:2".
    """
    forms = {
        theme.name: {name: _colour(theme, role) for name, role in properties.items()}
        for theme in (LIGHT, DARK)
    }
    model.update(**forms["light"])
    model.tags = [*model.tags, {"theme": forms}]
    return model


def _colour(theme: Theme, role: str) -> str:
    if role.startswith("series:"):
        return theme.series[int(role[7:]) % len(theme.series)]
    return getattr(theme, role)


def new_chart(*, height: int, min_width: int = MIN_WIDTH, **options: Any) -> Any:
    """Return an empty chart without a toolbar, as wide as its box but at least `min_width`."""
    chart = bokeh_figure(
        height=height, min_width=min_width, sizing_mode="stretch_width", tools="", toolbar_location=None,
        **options,
    )  # fmt: skip
    chart.outline_line_color = None
    chart.min_border_left, chart.min_border_right, chart.min_border_top = 34, 14, 8
    # Transparent, because the box around the chart already has the theme's surface colour.
    chart.background_fill_color = chart.border_fill_color = None
    for axis in chart.axis:
        calm_axis(axis)
        if isinstance(axis.formatter, BasicTickFormatter):
            axis.formatter.power_limit_low = _SMALL
    chart.xgrid.grid_line_color = None
    themed(chart.ygrid[0], grid_line_color="line")
    return chart


def calm_axis(axis: Any) -> None:
    """Give an axis the library's fonts and colours, without tick lines."""
    axis.update(
        major_tick_line_color=None, minor_tick_line_color=None, axis_label_text_font=FONT,
        major_label_text_font=FONT, major_label_text_font_size="12px", axis_label_text_font_size="13px",
        axis_label_text_font_style="normal",
    )  # fmt: skip
    themed(axis, axis_line_color="line", major_label_text_color="muted", axis_label_text_color="muted")


def fixed(start: float, end: float) -> Range1d:
    """Return an axis range that does not follow the data."""
    return Range1d(start=start, end=end)


def literal(text: str) -> str | PlainText:
    """Return canvas text that Bokeh draws literally, without looking for formulas in it."""
    return PlainText(text=text) if "$" in text or "\\" in text else text


def axis_title(axis: Any, text: str) -> None:
    """Set an axis label, without parsing it for formulas."""
    axis.axis_label = literal(text)


def log_axis(axis: Any, values: np.ndarray) -> None:
    """Mark round numbers along a logarithmic axis; Bokeh's own ticks leave parts of it without any."""
    ticks = log_ticks(values)
    axis.ticker = FixedTicker(ticks=ticks, minor_ticks=[])
    axis.major_label_overrides = {tick: f"{tick:g}".replace("-", "−") for tick in ticks}


def name_ticks(axis: Any, labels: Sequence[str]) -> None:
    """Set one tick per label at 0, 1, 2, ..."""
    axis.ticker = FixedTicker(ticks=list(range(len(labels))))
    axis.major_label_overrides = {i: literal(text) for i, text in enumerate(axis_labels(labels))}


def fitted(model: Any, below: int, **properties: tuple[Any, Any]) -> None:
    """Set each property to its first value if the chart is narrower than `below` pixels, else the second."""
    narrow, wide = ({name: pair[i] for name, pair in properties.items()} for i in (0, 1))
    model.update(**wide)
    model.tags = [*model.tags, {"fit": {"below": below, "narrow": narrow, "wide": wide}}]


def hover(chart: Any, renderers: Sequence[GlyphRenderer], columns: Mapping[str, str]) -> None:
    """Show columns of the data source on hover, given as {label: "@column"}."""
    chart.add_tools(HoverTool(renderers=list(renderers), tooltips=list(columns.items())))


def hover_points(
    chart: Any,
    source: ColumnDataSource,
    columns: Mapping[str, str],
    numbers: Mapping[str, str] | None = None,
) -> None:
    """Show columns on hover near the points (x, y); the hit area exceeds the marker, for touch screens.

    Args:
        columns: texts shown on hover, as in `hover`.
        numbers: what the page saves as CSV, as in `saved`.
    """
    # Hit areas of many points overlap, and each would show its own text.
    size = 24 if len(source.data["x"]) <= 40 else 10
    target = chart.scatter("x", "y", source=source, size=size, fill_alpha=0, line_alpha=0)
    hover(chart, [target], columns)
    if numbers is not None:
        saved(source, numbers)


def saved(source: Any, columns: Mapping[str, str]) -> None:
    """Let the page save columns of the data source as CSV, given as {heading: column}."""
    source.tags = [*source.tags, {"csv": [list(pair) for pair in columns.items()]}]


def colour_scale(span: tuple[float, float]) -> LinearColorMapper:
    """Return the sequential scale; NaN is transparent and shows the hatch behind it."""
    return LinearColorMapper(palette=list(palette()), low=span[0], high=span[1], nan_color="rgba(0, 0, 0, 0)")


def colour_bar(chart: Any, scale: LinearColorMapper) -> None:
    """Add a slim colour scale above the chart."""
    bar = ColorBar(
        color_mapper=scale, orientation="horizontal", height=8, width=180, title=None, margin=0, padding=4,
        major_tick_line_color=None, bar_line_color=None, major_label_text_font=FONT,
        major_label_text_font_size="11px", ticker=BasicTicker(desired_num_ticks=4), location=(0, 0),
    )  # fmt: skip
    bar.background_fill_color = None
    chart.add_layout(themed(bar, major_label_text_color="muted"), "above")


def hatched(chart: Any, boxes: Mapping[str, Sequence[float]]) -> None:
    """Draw hatched rectangles (left, right, bottom, top) behind images, visible where cells are dead."""
    source = ColumnDataSource(data=dict(boxes))
    renderer = chart.quad(
        left="left", right="right", bottom="bottom", top="top", source=source,
        line_color=None, fill_alpha=0, hatch_pattern="/", hatch_scale=6, hatch_weight=1,
    )  # fmt: skip
    themed(renderer.glyph, hatch_color="hatch")


def strips(
    chart: Any, images: Sequence[np.ndarray], places: Mapping[str, Sequence[float]],
    columns: Mapping[str, Sequence[Any]], scale: LinearColorMapper,
) -> GlyphRenderer:  # fmt: skip
    """Draw images at (x, y) with size (dw, dh); hover columns hold one value, or one array, per image.

    This is fast for thousands of cells, because each image is one glyph with one binary array.
    """
    cells = [np.ascontiguousarray(image, dtype=np.float32) for image in images]
    source = ColumnDataSource(data={"image": cells, **places, **columns})
    edges = {name: name for name in ("image", "x", "y", "dw", "dh")}
    return chart.image(**edges, source=source, color_mapper=scale)


def matrix(
    chart: Any, values: np.ndarray, columns: Mapping[str, Sequence[Any]], scale: LinearColorMapper
) -> GlyphRenderer:
    """Draw a matrix as one image per row, with the first row on top; `columns` are as in `strips`."""
    rows, width = values.shape
    chart.x_range, chart.y_range = fixed(-0.5, width - 0.5), fixed(rows - 0.5, -0.5)
    chart.ygrid.visible = False
    bottom = [row - 0.47 for row in range(rows)]
    # Slightly smaller than the images, so that the hatch is not visible at their edges.
    inside = {"left": [-0.49] * rows, "right": [width - 0.51] * rows}
    hatched(chart, {**inside, "bottom": [y + 0.03 for y in bottom], "top": [y + 0.91 for y in bottom]})
    places = {"x": [-0.5] * rows, "y": bottom, "dw": [width] * rows, "dh": [0.94] * rows}
    return strips(chart, [row[None] for row in values], places, columns, scale)


def line_with_dots(
    chart: Any, source: ColumnDataSource, i: int, *, size: float = 9, marker: str = "", dash: str = "solid"
) -> None:
    """Draw the columns x and y in colour number `i`."""
    role = f"series:{i}"
    line = chart.line("x", "y", source=source, line_width=2, line_dash=dash)
    themed(line.glyph, line_color=role)
    dots = chart.scatter("x", "y", source=source, size=size, marker=marker or list(MARKERS)[i % 4])
    themed(dots.glyph, fill_color=role, line_color="surface")


def curve(
    chart: Any, columns: Mapping[str, Any], i: int, *, size: float = 6, dash: str = "solid"
) -> ColumnDataSource:
    """Draw colour number `i` as a line with dots over a band; `columns` include x, y, low and high."""
    source = ColumnDataSource(dict(columns))
    if np.isfinite(columns["high"]).any():
        band = chart.varea("x", "low", "high", source=source, fill_alpha=0.16)
        themed(band.glyph, fill_color=f"series:{i}")
    line_with_dots(chart, source, i, size=size, marker="circle", dash=dash)
    return source
