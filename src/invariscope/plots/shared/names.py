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
# Distance between lines of text in units of its size: comfortable, and at least.
_LINE, _TIGHT = 1.35, 1.2
# Names are written this much smaller, and in at least so many points, before some are left out.
_SMALLER, _LEAST = 0.85, 6.0


def name_axis(canvas: Canvas, ax: Axes, labels: Sequence[str], axis: str) -> None:
    """Set ticks at 0, 1, 2, ... with as many labels as have room, and lines between blocks.

    If a slightly smaller size lets all labels fit, it is used; otherwise, some are left out.
    """
    most = max(8, min(_LONGEST, int(_SHARE * canvas.width / canvas.inches_of(1))))
    texts, found, inches = axis_labels(labels, most), ticks.blocks(labels), canvas.room_of(axis)
    line = _LINE * canvas.colours.small_size / 72  # inches per line of text
    size = _size_of_all(len(texts), inches, canvas.colours.small_size)
    places = list(range(len(texts))) if size else ticks.every(len(texts), inches / line)
    size = size or canvas.colours.small_size
    _separate(canvas, ax, ticks.edges(found), axis)
    crowded = len(texts) * 2 * line > inches and max(map(len, without_prefix(labels)), default=0) > most
    if axis == "y":
        ax.set_yticks(places, [texts[i] for i in places], fontsize=size)
        _begin_heading(canvas, max(len(texts[i]) for i in places))
    elif found and (len(places) < len(texts) or crowded):
        shown = ticks.with_room(found, inches / len(texts), canvas.inches_of)
        ax.set_xticks([block.centre for block in shown], [block.name for block in shown])
    else:
        _turned(canvas, ax, places, [texts[i] for i in places], size)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])


def _size_of_all(count: int, inches: float, usual: float) -> float:
    """Return the size in points at which so many lines of text fit into a length; 0 if it is too small."""
    size = min(usual, 72 * inches / (_TIGHT * max(count, 1)))
    return size if size >= max(_LEAST, _SMALLER * usual) else 0.0


def _turned(canvas: Canvas, ax: Axes, places: Sequence[int], shown: Sequence[str], size: float) -> None:
    """Write names below an axis, slanted if they would touch, and upright if there is little space."""
    inches, wide = canvas.room_of("x"), canvas.inches_of(max(map(len, shown), default=0))
    options: dict[str, Any] = {}
    if wide > 0.9 * inches / max(len(shown), 1):
        steep = len(shown) * 2 * _LINE * canvas.colours.small_size / 72 > inches
        slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        options = {"rotation": 90} if steep else slanted
        canvas.grow(max(0.0, wide * (1.0 if steep else 0.64) - 0.4))
    ax.set_xticks(places, shown, fontsize=size, **options)


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
