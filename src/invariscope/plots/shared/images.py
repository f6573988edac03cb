"""Small images in rows and columns, drawn with matplotlib."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from invariscope.common.wording import shorten_all
from invariscope.plots.shared.grid import frame_choice
from invariscope.plots.shared.legends import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.plots.shared.grid import PixelGrid, PixelRow

# Characters per line above an image, and beside the images.
COLUMN_CHARACTERS, ROW_CHARACTERS = 10, 22
# Inches per image in the light theme: usual size, the smallest width, and the distance to the next image.
USUAL, SMALLEST, GAP = 0.72, 0.6, 0.02
ABOVE = 0.45  # inches for the labels of columns


def draw_grid(canvas: Canvas, grid: PixelGrid) -> None:
    """Draw images with labels in a single axes, one unit square per image.

    Rows that do not fit on a page are left out, evenly from the second to the last; a note below says so.
    """
    scale = canvas.colours.scale
    chosen = _rows_with_room(canvas, len(grid.rows))
    rows = [grid.rows[i] for i in chosen]
    texts = _texts(rows)
    beside = 0.3 + canvas.inches_of(max(len(line) for text in texts for line in text.split("\n")))
    tallest = (canvas.page / scale - ABOVE) / len(rows) - GAP
    room = (canvas.colours.column - beside) / scale
    shown = frame_choice(
        len(grid.columns), limit=max(1, int(min(room / min(SMALLEST, tallest), len(grid.columns))))
    )
    side = min(USUAL, room / len(shown) - GAP, tallest)
    ax = canvas.panel(
        max(1.8, beside / scale) + USUAL * len(shown), ABOVE + (side + GAP) * len(rows), rows=len(rows)
    )
    images = (side + GAP) * scale * len(shown)
    canvas.room, canvas.indent = 0.9 * (beside + images), -beside / images
    for i, row in enumerate(rows):
        for j, image in enumerate(row.pixels()[shown]):
            ax.imshow(image, extent=_inside(j, i, image.shape), interpolation="none")
    ax.set(xlim=(0, len(shown)), ylim=(len(rows), 0), aspect="equal", anchor="E")
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    labels = [grid.columns[place] for place in shown]
    columns = [fill(label, COLUMN_CHARACTERS, break_long_words=False) for label in labels]
    ax.set_xticks([j + 0.5 for j in range(len(shown))], columns)
    ax.set_yticks([i + 0.5 for i in range(len(rows))], texts)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])
    if grid.axis and canvas.number == 0:
        ax.xaxis.set_label_position("top")
        ax.set_xlabel(grid.axis, color=canvas.colours.muted, fontsize=canvas.colours.small_size)
    if len(rows) < len(grid.rows):
        canvas.say(f"{len(rows)} of {len(grid.rows)} rows shown")


def _texts(rows: Sequence[PixelRow]) -> list[str]:
    """Return the labels of the rows: a name, and a remark below it."""
    names = shorten_all([row.label for row in rows], ROW_CHARACTERS)
    return [f"{name}\n{row.detail}".strip() for name, row in zip(names, rows, strict=True)]


def _rows_with_room(canvas: Canvas, count: int) -> list[int]:
    """Return the rows that fit on a page if each is as high as the lines of its label: always the first."""
    lowest = 2 * 1.35 * canvas.colours.small_size / 72
    room = (canvas.page - ABOVE * canvas.colours.scale) / lowest
    if room >= count:
        return list(range(count))
    if room < 1:
        raise ValueError(
            f"so many results do not fit on a page of the theme {canvas.colours.name!r}, which is "
            f"{canvas.colours.tallest:g} inches high: give fewer results, figsize=(width, height) or another "
            "theme="
        )
    return np.unique(np.linspace(0, count - 1, int(room)).round().astype(int)).tolist()


def _inside(x: float, y: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return the extent of an image in the unit square at (x, y), keeping its proportions."""
    high, wide = (0.92 * size / max(shape[:2]) for size in shape[:2])
    left, top = x + (1 - wide) / 2, y + (1 - high) / 2
    return left, left + wide, top + high, top
