"""Axes of layers in Bokeh charts: names, blocks, and the mark of the picked layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from bokeh.models import BoxAnnotation, ColumnDataSource, FixedTicker, LinearAxis, NoOverlap

from invariscope.common.wording import shorten
from invariscope.plots.shared import interactive as live
from invariscope.plots.shared.labels import axis_labels, layer_axis, modules_of, without_prefix

# With more names than this, all are upright, and those that would overlap are left out.
MANY = 24
# Minimum number of pixels per column for slanted names.
SLANTED = 20
EDGES, CHARACTER = 80, live.CHARACTER
# Blocks are named only if there are at least so many layers, and not more blocks than this.
_GROUPED, _MOST_BLOCKS = 13, 24


def layer_columns(chart: Any, labels: Sequence[str]) -> None:
    """Name one column per layer, and the blocks above; let the page pick and mark a layer."""
    name_columns(chart, labels)
    name_prefix(chart.xaxis[0], labels)
    name_blocks(chart, labels)
    pickable(chart, labels, axis="x")


def name_prefix(axis: Any, labels: Sequence[str]) -> None:
    """Title an axis of layers with the module that contains all of them, which the names leave out."""
    if labels and without_prefix(labels)[0] != labels[0]:
        live.axis_title(axis, layer_axis(labels))


def name_columns(chart: Any, labels: Sequence[str]) -> None:
    """Put names below the columns: slanted if they would touch, upright if there is little space.

    The chart is never wider than its box: the page leaves out names that would overlap until they fit.
    It grows by the height that the names take, so that the plot area keeps its height.
    """
    live.name_ticks(chart.xaxis[0], labels)
    chart.tags = [*chart.tags, {"names": len(labels)}]
    texts = axis_labels(labels)
    longest = max(map(len, texts), default=0)
    upright, slanted = chart.height + int(6.5 * longest), chart.height + int(4.6 * longest)
    if len(texts) > MANY:
        chart.xaxis[0].major_label_orientation = math.pi / 2
        chart.height = upright
    elif sum(map(len, texts)) > 40:
        below = EDGES + SLANTED * len(texts)
        chart.min_border_left = max(chart.min_border_left, min(64, int(4.4 * len(texts[0]))))
        live.fitted(chart.xaxis[0], below, major_label_orientation=(math.pi / 2, 0.75))
        live.fitted(chart, below, height=(upright, slanted))
    else:
        below = EDGES + _level_width(texts)
        live.fitted(chart.xaxis[0], below, major_label_orientation=(0.75, "horizontal"))
        live.fitted(chart, below, height=(slanted, chart.height))


def _level_width(texts: Sequence[str]) -> int:
    """Return the width of columns whose level names do not touch, in pixels."""
    widest = max((len(a) + len(b) for a, b in pairwise(texts)), default=0)
    return int(len(texts) * (CHARACTER * widest / 2 + CHARACTER))


def blocks(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (name, first, last) for each run of layers in one module, at the finest level with few runs.

    Empty if there are few layers, or no level at which most layers share a module with a neighbour.

    >>> blocks([f"net.stage{i}.{j}" for i in range(2) for j in range(8)])
    [('stage0', 0, 7), ('stage1', 8, 15)]
    >>> blocks(["conv1", "conv2"]), blocks([str(i) for i in range(40)])
    ([], [])
    """
    if len(labels) < _GROUPED:
        return []
    parts = list(map(modules_of, without_prefix(labels)))
    best: list[tuple[str, int, int]] = []
    for depth in range(1, max(map(len, parts)) + 1):
        runs, at = [], 0
        for name, run in groupby(".".join(part[:depth]) for part in parts):
            size = len(list(run))
            runs.append((name, at, at + size - 1))
            at += size
        shared = sum(last - first + 1 for _, first, last in runs if last > first)
        if len(runs) > _MOST_BLOCKS or 2 * shared < len(labels):
            break
        best = runs
    return best if len(best) > 1 else []


def name_blocks(chart: Any, labels: Sequence[str]) -> None:
    """Shade every other block of layers, and put the names of blocks above the columns."""
    found = blocks(labels)
    if not found:
        return
    for _, first, last in found[1::2]:
        shade = BoxAnnotation(
            left=first - 0.5, right=last + 0.5, level="underlay", fill_alpha=0.35, line_color=None
        )
        chart.add_layout(live.themed(shade, fill_color="line"))
    named = [(name, (first + last) / 2) for name, first, last in found if last > first]
    axis: Any = LinearAxis()
    axis.ticker = FixedTicker(ticks=[place for _, place in named])
    axis.major_label_overrides = {place: live.literal(shorten(name, 18)) for name, place in named}
    live.calm_axis(axis)
    axis.major_label_policy = NoOverlap(min_distance=10)
    axis.update(axis_line_color=None, major_label_text_font_size="11px", major_label_standoff=2)
    chart.add_layout(axis, "above")


def pickable(chart: Any, labels: Sequence[str], *, axis: str) -> None:
    """Let the page find the layer at a position 0, 1, 2, ... of an axis ("x" or "y"), and mark it."""
    for name, alpha in (("picked", 0.16), ("cursor", 0.07)):
        box = BoxAnnotation(name=name, visible=False, fill_alpha=alpha, line_alpha=0.6, line_width=1)
        chart.add_layout(live.themed(box, fill_color="text", line_color="text"))
    chart.tags = [*chart.tags, {"layers": {"axis": axis, "labels": list(labels)}}]


def pickable_points(chart: Any, sources: Sequence[ColumnDataSource]) -> None:
    """Let the page find the layer of the nearest point (x, y, layer), and mark a layer with a ring."""
    for source in sources:
        source.tags = [*source.tags, "points"]
    for name, width in (("picked", 2.5), ("cursor", 1.2)):
        ring = chart.scatter(
            "x",
            "y",
            source=ColumnDataSource({"x": [], "y": []}),
            size=18,
            fill_alpha=0,
            line_width=width,
            name=name,
        )
        live.themed(ring.glyph, line_color="text")


def layer_count(chart: Any) -> int:
    """Return the number of layers that a chart shows, as declared by `pickable` and `pickable_points`."""
    for model in chart.references():
        for tag in model.tags:
            if isinstance(tag, Mapping) and "layers" in tag:
                return len(tag["layers"]["labels"])
    points = [model for model in chart.references() if "points" in model.tags]
    return max((len(model.data["layer"]) for model in points), default=0)
