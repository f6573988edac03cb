"""Plots as sections of the page: interactive charts, grids of small images, static images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots import PLOTS, ChartPlot, GridPlot, Plot, View
from invariscope.report import captions

if TYPE_CHECKING:
    from invariscope.plots.shared.grid import PixelRow
    from invariscope.results.result import Result

# Plots with a smaller order are above the table of all rows, the others below it.
TABLE_ORDER = 30
# Frames are stored at twice the displayed size, for high-resolution screens.
FRAME, GAP, SHOWN_FRAME = 112, 8, 56


@dataclass(frozen=True)
class Entry:
    """One entry of a legend, with the number of its colour and its dashes."""

    name: str
    colour: int
    dash: str


@dataclass(frozen=True)
class Picture:
    """One view of a section of the report, ready for the template.

    Args:
        label: its entry in the menu.
        target: HTML id of its element.
        kind: "chart", "grid" or "image".
        legend: the series; empty if there are fewer than two.
        content: the images of a grid, or one image per theme; None for a chart, whose data are in the
            payload.
        alt: what it shows, in a sentence.
        gaps: how many values have no interval, and why; empty if all have one.
        reading: how to read this view, in addition to the section's `reading`; may be empty.
    """

    label: str
    target: str
    kind: str
    legend: tuple[Entry, ...]
    content: Any = None
    alt: str = ""
    gaps: str = ""
    reading: str = ""


@dataclass(frozen=True)
class Section:
    """Section of the page for one registered plot, with its views."""

    name: str
    title: str
    reading: str
    order: int
    pictures: tuple[Picture, ...]


ALL = "-all"


@dataclass(frozen=True)
class Charts:
    """Interactive charts as Bokeh's JSON, by HTML id; the page adds the elements of those of all layers.

    Args:
        items: the charts.
        depths: for charts that show only some layers: how many, and of how many.
    """

    items: dict[str, Any] = field(default_factory=dict)
    depths: dict[str, tuple[int, int]] = field(default_factory=dict)

    def put(self, target: str, chart: Any, whole: Any = None) -> None:
        """Add a chart and, if it shows only some layers, the chart of all layers."""
        self.items[target] = chart_json(chart, target)
        if whole is not None and layer_count(chart):
            self.items[target + ALL] = chart_json(whole, target + ALL)
            self.depths[target] = layer_count(chart), layer_count(whole)

    def add(self, others: Charts) -> None:
        """Add all charts of another collection."""
        self.items.update(others.items)
        self.depths.update(others.depths)


def sections(results: Sequence[Result]) -> tuple[list[Section], Charts]:
    """Return one section per plot that has something to show, and the charts."""
    charts = Charts()
    found = []
    for name, plot in sorted(PLOTS.classes().items(), key=lambda entry: (entry[1].order, entry[0])):
        views = plot.views(results)
        if views:
            pictures = tuple(
                replace(
                    _picture(view, f"{name}-{i}", charts),
                    alt=captions.described(view.plot, view.label),
                    gaps=captions.without_interval(view.plot, results),
                    reading=view.reading,
                )
                for i, view in enumerate(views)
            )
            found.append(Section(name, plot.title, plot.reading, plot.order, pictures))
    return found, charts


def _picture(view: View, target: str, charts: Charts) -> Picture:
    plot = view.plot
    if isinstance(plot, ChartPlot):
        whole = view.whole.chart() if isinstance(view.whole, ChartPlot) else None
        charts.put(target, plot.chart(), whole)
        return Picture(view.label, target, "chart", _legend(plot))
    if isinstance(plot, GridPlot):
        grid = plot.grid()
        layers = getattr(plot, "row_layers", [""] * len(grid.rows))
        return Picture(
            view.label, target, "grid", (), {"columns": grid.columns, "rows": _strips(grid.rows, layers)}
        )
    return Picture(
        view.label, target, "image", (), {theme: _drawn(plot, theme) for theme in ("light", "dark")}
    )


def _legend(plot: Any) -> tuple[Entry, ...]:
    series = getattr(plot, "series", None) or getattr(plot, "families", ())
    if len(series) < 2:
        return ()
    return tuple(
        Entry(one.name, getattr(one, "colour", i), getattr(one, "dash", "solid"))
        for i, one in enumerate(series)
    )


def layer_count(chart: Any) -> int:
    """Return the number of layers that a chart shows."""
    from invariscope.plots.shared.layer_axis import layer_count as counted

    return counted(chart)


def chart_json(model: Any, target: str) -> Any:
    """Convert a Bokeh model to plain JSON."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    return json_item(model, ID(target))


def _strips(rows: Sequence[PixelRow], layers: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "label": row.label,
            "detail": row.detail,
            "layer": layer,
            "image": data_uri(strip(row.pixels())),
            "height": SHOWN_FRAME,
        }
        for row, layer in zip(rows, layers, strict=True)
    ]


def strip(pixels: np.ndarray) -> np.ndarray:
    """Join images (m, h, w, 3) side by side, with transparent gaps, to (FRAME, m·(FRAME + GAP), 4).

    All frames have the same size, so that rows of different resolution are aligned. Images that are not
    square keep their proportions.

    >>> strip(np.zeros((2, 3, 3, 3), np.uint8)).shape
    (112, 240, 4)
    """
    count, height, width = pixels.shape[:3]
    longest = max(height, width)
    high, wide = max(1, FRAME * height // longest), max(1, FRAME * width // longest)
    top, left = (FRAME - high) // 2, (FRAME - wide) // 2
    frames = np.zeros((count, FRAME, FRAME + GAP, 4), np.uint8)
    frames[:, top : top + high, left : left + wide, :3] = _resized(_resized(pixels, 1, high), 2, wide)
    frames[:, top : top + high, left : left + wide, 3] = 255
    return np.moveaxis(frames, 0, 1).reshape(FRAME, -1, 4)


def _resized(pixels: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Resize one axis by repeating pixels, or by averaging them if there are too many."""
    length = pixels.shape[axis]
    places = np.arange(size) * length // size
    if size >= length:
        return np.take(pixels, places, axis=axis)
    sums = np.add.reduceat(pixels.astype(np.float64), places, axis=axis)
    widths = np.diff(np.r_[places, length]).reshape([-1 if i == axis else 1 for i in range(pixels.ndim)])
    return np.round(sums / widths).astype(np.uint8)


def data_uri(image: np.ndarray) -> str:
    """Encode an RGBA image as a PNG data URI."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(image), format="png", pil_kwargs={"optimize": True})
    return _png(buffer)


def _drawn(plot: Plot, theme: str) -> str:
    buffer = io.BytesIO()
    plot.draw(theme=theme).savefig(buffer, format="png", dpi=160)
    return _png(buffer)


def _png(buffer: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
