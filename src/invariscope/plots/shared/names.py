"""Write names of layers, classes or units along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared import ticks
from invariscope.plots.shared.labels import axis_labels, without_prefix
from invariscope.plots.shared.legends import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas

# Share of a figure's width that a name may take, and its largest number of characters.
_SHARE, _LONGEST = 0.3, 26


def name_axis(canvas: Canvas, ax: Axes, labels: Sequence[str], axis: str) -> None:
    """Set ticks at 0, 1, 2, ... with as many labels as have room, and lines between blocks."""
    most = max(8, min(_LONGEST, int(_SHARE * canvas.width / canvas.inches_of(1))))
    texts, found, inches = axis_labels(labels, most), ticks.blocks(labels), canvas.room_of(axis)
    line = 1.35 * canvas.colours.small_size / 72  # inches per line of text
    places = ticks.every(len(texts), inches / line)
    _separate(canvas, ax, ticks.edges(found), axis)
    crowded = len(texts) * 2 * line > inches and max(map(len, without_prefix(labels)), default=0) > most
    if axis == "y":
        ax.set_yticks(places, [texts[i] for i in places])
        _begin_heading(canvas, max(len(texts[i]) for i in places))
    elif found and (len(places) < len(texts) or crowded):
        shown = ticks.with_room(found, inches / len(texts), canvas.inches_of)
        ax.set_xticks([block.centre for block in shown], [block.name for block in shown])
    else:
        _turned(canvas, ax, places, [texts[i] for i in places])
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])


def _turned(canvas: Canvas, ax: Axes, places: Sequence[int], shown: Sequence[str]) -> None:
    """Write names below an axis, slanted if they would touch, and upright if there is little space."""
    inches, wide = canvas.room_of("x"), canvas.inches_of(max(map(len, shown), default=0))
    options: dict[str, Any] = {}
    if wide > 0.9 * inches / max(len(shown), 1):
        steep = len(shown) * 2 * 1.35 * canvas.colours.small_size / 72 > inches
        slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        options = {"rotation": 90} if steep else slanted
        canvas.grow(max(0.0, wide * (1.0 if steep else 0.64) - 0.4))
    ax.set_xticks(places, shown, **options)


def _begin_heading(canvas: Canvas, characters: int) -> None:
    """Let the heading of a narrow figure with a single panel begin above the names beside the axes."""
    inches = 0.8 * canvas.inches_of(characters)
    if canvas.narrow and canvas.columns == 1:
        canvas.indent = -inches / max(canvas.width - inches, 1.0)


def _separate(canvas: Canvas, ax: Axes, edges: Sequence[float], axis: str) -> None:
    """Draw thin lines between blocks, over images or behind lines."""
    scale, colours = canvas.colours.scale, canvas.colours
    style: dict[str, Any] = {"color": colours.line, "linewidth": 0.8 * scale, "zorder": 0.6}
    if ax.images:
        style |= {"color": colours.surface, "linewidth": 1.4 * scale, "zorder": 3}
    for edge in edges:
        (ax.axvline if axis == "x" else ax.axhline)(edge, **style)
