"""Small images in rows and columns, drawn with matplotlib."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from invariscope.common.wording import shorten
from invariscope.plots.shared.grid import frame_choice
from invariscope.plots.shared.legends import plain

if TYPE_CHECKING:
    from invariscope.plots.shared.canvas import Canvas
    from invariscope.plots.shared.grid import PixelGrid

# Characters per line above an image.
COLUMN_CHARACTERS = 10
SMALLEST = 0.6  # inches per image


def draw_grid(canvas: Canvas, grid: PixelGrid) -> None:
    """Draw images with labels in a single axes, one unit square per image."""
    texts = [f"{shorten(row.label, 22)}\n{row.detail}".strip() for row in grid.rows]
    beside = 0.3 + canvas.inches_of(max(len(line) for text in texts for line in text.split("\n")))
    room = (canvas.colours.column - beside) / (SMALLEST * canvas.colours.scale)
    shown = frame_choice(len(grid.columns), limit=max(1, int(min(room, len(grid.columns)))))
    count, rows = len(shown), len(grid.rows)
    side = min(0.72, (canvas.colours.column - beside) / (canvas.colours.scale * count) - 0.02)
    ax = canvas.panel(
        max(1.8, beside / canvas.colours.scale) + 0.72 * count,
        0.45 + (side + 0.02) * rows,
        rows=rows,
        firm=True,
    )
    canvas.room = 0.85 * (side + 0.02) * canvas.colours.scale * count
    for i, row in enumerate(grid.rows):
        for j, image in enumerate(row.pixels()[shown]):
            ax.imshow(image, extent=_inside(j, i, image.shape), interpolation="none")
    ax.set(xlim=(0, count), ylim=(rows, 0), aspect="equal", anchor="E")
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    labels = [grid.columns[place] for place in shown]
    columns = [fill(label, COLUMN_CHARACTERS, break_long_words=False) for label in labels]
    ax.set_xticks([j + 0.5 for j in range(count)], columns)
    ax.set_yticks([i + 0.5 for i in range(rows)], texts)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])


def _inside(x: float, y: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return the extent of an image in the unit square at (x, y), keeping its proportions."""
    high, wide = (0.92 * size / max(shape[:2]) for size in shape[:2])
    left, top = x + (1 - wide) / 2, y + (1 - high) / 2
    return left, left + wide, top + high, top
