"""Faults of a drawn figure: texts over each other or outside, small type, missing titles, hidden data."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.legend import Legend
from matplotlib.text import Text

SMALLEST_TYPE = 6.0  # points
SLACK = 1.0  # points by which boxes of texts may overlap, since glyphs are smaller than their boxes


def corners(text: Text) -> np.ndarray:
    """The corners of a text's rotated box in pixels, (4, 2)."""
    outer, angle = text.get_window_extent(), np.deg2rad(text.get_rotation())
    text.set_rotation(0)
    level = text.get_window_extent()
    text.set_rotation(np.rad2deg(angle))
    middle = np.array([(outer.x0 + outer.x1) / 2, (outer.y0 + outer.y1) / 2])
    slack = SLACK * text.figure.dpi / 72
    half = np.maximum(np.array([level.width, level.height]) / 2 - slack, 0.5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return middle + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ turn


def crossing(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two convex polygons overlap: no edge of either separates them."""
    for polygon in (one, other):
        edges = np.roll(polygon, -1, axis=0) - polygon
        normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
        left, right = one @ normals.T, other @ normals.T
        if ((left.max(axis=0) <= right.min(axis=0)) | (right.max(axis=0) <= left.min(axis=0))).any():
            return False
    return True


def drawn_texts(figure) -> list[Text]:
    """The texts that a renderer receives, in the order in which it draws them."""
    found: dict[int, Text] = {}
    figure.draw_without_rendering()
    plain = Text.draw

    def remember(self: Any, renderer: Any, *args: Any, **kwargs: Any) -> Any:
        if self.get_visible() and self.get_text().strip():
            found[id(self)] = self
        return plain(self, renderer, *args, **kwargs)

    Text.draw = remember
    try:
        figure.draw_without_rendering()
    finally:
        Text.draw = plain
    return list(found.values())


def faults(figure) -> list[str]:
    """What is wrong with a figure, a line per fault; empty if it is fit to print."""
    texts = drawn_texts(figure)
    boxes = [corners(text) for text in texts]
    return [
        *_overlapping(texts, boxes), *_outside(figure, texts, boxes), *_small(texts), *_unnamed(figure),
        *_covered(figure),
    ]  # fmt: skip


def _overlapping(texts, boxes):
    for (a, one), (b, other) in combinations(zip(texts, boxes, strict=True), 2):
        if crossing(one, other):
            yield f"{a.get_text()!r} is printed over {b.get_text()!r}"


def _outside(figure, texts, boxes):
    width, height = figure.bbox.size
    for text, box in zip(texts, boxes, strict=True):
        if box.min() < 0 or box[:, 0].max() > width or box[:, 1].max() > height:
            yield f"{text.get_text()!r} leaves the figure"


def _small(texts):
    for text in texts:
        if text.get_fontsize() < SMALLEST_TYPE:
            yield f"{text.get_text()!r} has {text.get_fontsize():.1f} points"


def _unnamed(figure):
    """Axes with tick labels but without a title, and colour bars without one."""
    for ax in figure.axes:
        named = figure.get_supylabel(), figure.get_supxlabel()
        for axis, of_figure in ((ax.yaxis, named[0]), (ax.xaxis, named[1])):
            ticks = [t for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            numbers = ax.axison and ticks and not axis.get_label_text() and not of_figure
            if numbers and all(_number(tick.get_text()) for tick in ticks) and _visible(axis, ax, figure):
                yield f"numbers {ticks[0].get_text()} ... along an axis without a title"


def _visible(axis, ax, figure) -> bool:
    side = {"x": ("labelbottom", "labeltop"), "y": ("labelleft", "labelright")}[axis.axis_name]
    shown = axis.get_tick_params()
    return any(shown.get(name, name in ("labelbottom", "labelleft")) for name in side)


def _number(text: str) -> bool:
    try:
        float(text.replace("−", "-"))
    except ValueError:
        return False
    return True


def _covered(figure):
    """Legends that lie over the axes."""
    for ax in figure.axes:
        legend = ax.get_legend()
        if isinstance(legend, Legend) and len(figure.axes) == 1:
            box, inside = legend.get_window_extent(), ax.get_window_extent()
            if box.shrunk(0.98, 0.98).overlaps(inside.shrunk(0.99, 0.99)):
                yield "the legend lies over the data"
    for ax in figure.axes:
        box = ax.get_window_extent()
        if ax.axison and (box.width < 0.03 * figure.dpi or box.height < 0.03 * figure.dpi):
            yield f"axes of {box.width / figure.dpi:.2f} by {box.height / figure.dpi:.2f} inches"
