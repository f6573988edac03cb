"""Bokeh charts in the library's look, each carrying the properties of both themes.

User text never becomes markup here: hover templates name columns only, and the texts on the
canvas are `PlainText`, which Bokeh does not parse for formulas (a formula would fetch MathJax).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from bokeh.models import (
    BasicTicker,
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
from invariscope.plots.shared.theme import DARK, LIGHT, Theme, palette

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
MANY, MIN_WIDTH = 24, 300
# Pixels a column: fewer, and upright names touch; fewer than the second, and slanted ones do.
UPRIGHT, SLANTED = 14, 20
EDGES = 80
M = TypeVar("M", bound=Any)


def themed(model: M, **properties: str) -> M:
    """Sets colour properties by their role in the theme and tags the model with both forms.

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
    """An empty chart without a toolbar, as wide as its box but never narrower than `min_width`."""
    chart = bokeh_figure(
        height=height, min_width=min_width, sizing_mode="stretch_width", tools="", toolbar_location=None,
        **options,
    )  # fmt: skip
    chart.outline_line_color = None
    chart.min_border_left, chart.min_border_right, chart.min_border_top = 34, 14, 8
    # Transparent: the box around the chart has the theme's surface already.
    chart.background_fill_color = chart.border_fill_color = None
    for axis in chart.axis:
        _calm_axis(axis)
    chart.xgrid.grid_line_color = None
    themed(chart.ygrid[0], grid_line_color="line")
    return chart


def _calm_axis(axis: Any) -> None:
    axis.update(
        major_tick_line_color=None, minor_tick_line_color=None, axis_label_text_font=FONT,
        major_label_text_font=FONT, major_label_text_font_size="12px", axis_label_text_font_size="13px",
        axis_label_text_font_style="normal",
    )  # fmt: skip
    themed(axis, axis_line_color="line", major_label_text_color="muted", axis_label_text_color="muted")


def fixed(start: float, end: float) -> Range1d:
    """An axis range that does not follow the data."""
    return Range1d(start=start, end=end)


def literal(text: str) -> str | PlainText:
    """A text for the canvas that is not searched for formulas; most need no model of their own for that."""
    return PlainText(text=text) if "$" in text or "\\" in text else text


def axis_title(axis: Any, text: str) -> None:
    """A label that is taken literally."""
    axis.axis_label = literal(text)


def name_ticks(axis: Any, labels: Sequence[str]) -> None:
    """One tick per label at 0, 1, 2, ..."""
    axis.ticker = FixedTicker(ticks=list(range(len(labels))))
    axis.major_label_overrides = {i: literal(text) for i, text in enumerate(axis_labels(labels))}


def name_columns(chart: Any, labels: Sequence[str]) -> None:
    """Names below the columns: slanted where they would touch, upright where there are many or little room.

    The chart grows by the room that they take, so that the picture itself keeps its height.
    """
    name_ticks(chart.xaxis[0], labels)
    texts = axis_labels(labels)
    longest = max(map(len, texts), default=0)
    chart.min_width = max(chart.min_width, EDGES + UPRIGHT * len(texts))
    upright, slanted = chart.height + int(6.5 * longest), chart.height + int(4.6 * longest)
    if len(texts) > MANY:
        chart.xaxis[0].major_label_orientation = math.pi / 2
        chart.height = upright
    elif sum(map(len, texts)) > 40:
        below = EDGES + SLANTED * len(texts)
        chart.min_border_left = max(chart.min_border_left, min(64, int(4.4 * len(texts[0]))))
        fitted(chart.xaxis[0], below, major_label_orientation=(math.pi / 2, 0.75))
        fitted(chart, below, height=(upright, slanted))


def fitted(model: Any, below: int, **properties: tuple[Any, Any]) -> None:
    """Sets properties that follow the width: (in a box narrower than `below` pixels, in a wider one)."""
    narrow, wide = ({name: pair[i] for name, pair in properties.items()} for i in (0, 1))
    model.update(**wide)
    model.tags = [*model.tags, {"fit": {"below": below, "narrow": narrow, "wide": wide}}]


def hover(chart: Any, renderers: Sequence[GlyphRenderer], columns: Mapping[str, str]) -> None:
    """Shows columns of the source under the pointer: {label of ours: "@column"}."""
    chart.add_tools(HoverTool(renderers=list(renderers), tooltips=list(columns.items())))


def hover_points(chart: Any, source: ColumnDataSource, columns: Mapping[str, str]) -> None:
    """Shows columns near the points (x, y) of a source: the target is larger than any marker, for fingers."""
    target = chart.scatter("x", "y", source=source, size=24, fill_alpha=0, line_alpha=0)
    hover(chart, [target], columns)


def colour_scale(span: tuple[float, float]) -> LinearColorMapper:
    """The sequential scale; NaN is transparent, so that the hatch behind it shows."""
    return LinearColorMapper(palette=list(palette()), low=span[0], high=span[1], nan_color="rgba(0, 0, 0, 0)")


def colour_bar(chart: Any, scale: LinearColorMapper) -> None:
    """A slim colour scale above the chart."""
    bar = ColorBar(
        color_mapper=scale, orientation="horizontal", height=8, width=180, title=None, margin=0, padding=4,
        major_tick_line_color=None, bar_line_color=None, major_label_text_font=FONT,
        major_label_text_font_size="11px", ticker=BasicTicker(desired_num_ticks=4), location=(0, 0),
    )  # fmt: skip
    bar.background_fill_color = None
    chart.add_layout(themed(bar, major_label_text_color="muted"), "above")


def hatched(chart: Any, boxes: Mapping[str, Sequence[float]]) -> None:
    """Hatched rectangles (left, right, bottom, top) behind images: what shows through is dead."""
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
    """Images at places (x, y, dw, dh); a column holds per image a value, or an array of its cells.

    Thousands of cells stay fast, because each image is one glyph with one binary array.
    """
    cells = [np.ascontiguousarray(image, dtype=np.float32) for image in images]
    source = ColumnDataSource(data={"image": cells, **places, **columns})
    edges = {name: name for name in ("image", "x", "y", "dw", "dh")}
    return chart.image(**edges, source=source, color_mapper=scale)
