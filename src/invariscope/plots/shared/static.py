"""Matplotlib figures in the library's style, without pyplot: no global state, no windows."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from invariscope.plots.shared.labels import axis_labels, shorten
from invariscope.plots.shared.theme import COLOUR_MAP, DASHES, LINE_STYLES, MARKERS, Theme, get_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from invariscope.plots.shared.grid import PixelGrid

TEXT_SIZE, SMALL_SIZE, MANY = 10.5, 9.5, 24
# Maximum number of entries of a legend placed above the axes, and characters per inch in its lines.
MANY_ENTRIES, CHARACTERS_AN_INCH, HANDLE_CHARACTERS = 8, 12.0, 6
# Characters per line above an image of a grid.
COLUMN_CHARACTERS = 10


def new_figure(width: float, height: float, theme: str, *, rows: int = 1, columns: int = 1) -> tuple:
    """Return (figure, 2D array of axes, Theme) for an empty figure; sizes are in inches."""
    colours = get_theme(theme)
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=colours.surface)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        _calm(ax, colours)
    return figure, axes, colours


def _calm(ax: Axes, colours: Theme) -> None:
    ax.set_facecolor(colours.surface)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.line)
    ax.tick_params(colors=colours.muted, labelsize=SMALL_SIZE, length=0)
    ax.set_axisbelow(True)


def heading(ax: Axes, text: str, colours: Theme) -> None:
    """Set a left-aligned title as plain text, since names may contain dollar signs."""
    ax.set_title(text, loc="left", color=colours.text, fontsize=TEXT_SIZE + 1, parse_math=False)


def axis_titles(ax: Axes, x: str, y: str, colours: Theme) -> None:
    """Set the labels of both axes."""
    ax.set_xlabel(x, color=colours.muted, fontsize=TEXT_SIZE, parse_math=False)
    ax.set_ylabel(y, color=colours.muted, fontsize=TEXT_SIZE, parse_math=False)


def name_ticks(ax: Axes, labels: Sequence[str], *, axis: str = "x") -> None:
    """Set one tick per label at 0, 1, 2, ..., rotated if labels would overlap."""
    texts = axis_labels(labels)
    if axis == "y":
        ax.set_yticks(range(len(texts)), texts)
        _plain(ax.get_yticklabels())
        return
    options: dict[str, Any] = {}
    if len(texts) > MANY:
        options = {"rotation": 90}
    elif sum(map(len, texts)) > 40:
        options = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(texts)), texts, **options)
    _plain(ax.get_xticklabels())


def horizontal_grid(ax: Axes, colours: Theme) -> None:
    """Draw faint horizontal grid lines."""
    ax.grid(axis="y", color=colours.line, linewidth=0.8)


def plain_log_ticks(ax: Axes) -> None:
    """Write plain numbers along logarithmic axes, with 2 and 5 between powers of ten if there is space.

    An axis that spans less than a factor of six has evenly spaced tick values.
    """
    for axis in (axis for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"):
        low, high = axis.get_view_interval()
        subs = (1, 2, 5) if high < 1000 * low else (1,)
        axis.set_major_locator(MaxNLocator(5) if high < 6 * low else LogLocator(subs=subs))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def legend(ax: Axes, colours: Theme) -> None:
    """Add a frameless legend above the axes, or to their right if there are many entries."""
    texts = ax.get_legend_handles_labels()[1]
    if len(texts) > MANY_ENTRIES:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": SMALL_SIZE}
        place["ncols"] = -(-len(texts) // MANY)
    else:
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "fontsize": TEXT_SIZE}
        longest = max(map(len, texts), default=0) + HANDLE_CHARACTERS
        place["ncols"] = max(1, min(4, int(_inches(ax) * CHARACTERS_AN_INCH / longest)))
    box = ax.legend(**place, frameon=False, labelcolor=colours.text, borderaxespad=0.2, handlelength=1.8)
    _plain(box.get_texts())


def _inches(ax: Axes) -> float:
    """Return the width of the axes' figure."""
    return float(ax.figure.bbox.width / ax.figure.dpi)


def _plain(texts: Sequence[Text]) -> None:
    for text in texts:
        text.set_parse_math(False)


def series_style(i: int, colours: Theme) -> dict[str, Any]:
    """Return colour, dashes and marker of series number `i`, as options of `Axes.plot`."""
    return {
        "color": colours.series[i % len(colours.series)],
        "linestyle": LINE_STYLES[DASHES[i % 4]],
        "marker": list(MARKERS.values())[i % 4],
    }


def draw_curve(
    ax: Axes, i: int, name: str, x: np.ndarray, bounds: tuple[np.ndarray, ...], colours: Theme, size: int = 3
) -> None:
    """Draw series number `i` as a line with dots, over a band; `bounds` are (value, low, high)."""
    value, low, high = bounds
    style = {**series_style(i, colours), "marker": "o"}
    ax.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
    ax.plot(x, value, label=name, linewidth=1.7, markersize=size, **style)


def draw_matrix(
    ax: Axes, matrix: np.ndarray, rows: Sequence[str], span: tuple[float, float], colours: Theme
) -> None:
    """Draw a matrix as coloured cells with a name per row; NaN cells are hatched."""
    hatched(ax, -0.5, -0.5, matrix.shape[1], len(rows), colours)
    ax.imshow(
        np.ma.masked_invalid(matrix), cmap=COLOUR_MAP, norm=Normalize(*span), aspect="auto",
        interpolation="nearest", zorder=2,
    )  # fmt: skip
    ax.spines[:].set_visible(False)
    name_ticks(ax, rows, axis="y")


def draw_strip(ax: Axes, image: np.ndarray, *, left: float, width: float, span: tuple[float, float]) -> None:
    """Draw a rectangle of coloured cells between the given edges, first row on top; NaN cells are hatched."""
    scale = Normalize(*span)
    ax.imshow(
        np.ma.masked_invalid(image), cmap=COLOUR_MAP, norm=scale, aspect="auto", interpolation="nearest",
        extent=(left, left + width, 1, 0), zorder=2,
    )  # fmt: skip


def hatched(ax: Axes, left: float, bottom: float, width: float, height: float, colours: Theme) -> None:
    """Draw the hatched background that marks dead units."""
    box = Rectangle(
        (left, bottom), width, height, facecolor=colours.surface, edgecolor=colours.hatch, hatch="/////",
        linewidth=0, zorder=1,
    )  # fmt: skip
    ax.add_patch(box)


def colour_bar(figure: Figure, axes: Any, span: tuple[float, float], title: str, colours: Theme) -> None:
    """Add a slim colour scale with a title."""
    bar = figure.colorbar(ScalarMappable(Normalize(*span), COLOUR_MAP), ax=axes, fraction=0.03, pad=0.015)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=colours.muted, labelsize=SMALL_SIZE, length=0)
    bar.set_label(title, color=colours.muted, fontsize=TEXT_SIZE, parse_math=False)


def draw_grid(grid: PixelGrid, *, theme: str) -> Figure:
    """Draw images with labels in rows and columns of a single axes, one unit square per image."""
    count, rows = len(grid.columns), len(grid.rows)
    figure, axes, _ = new_figure(1.8 + 0.72 * count, 0.45 + 0.74 * rows, theme)
    ax = axes[0, 0]
    for i, row in enumerate(grid.rows):
        for j, image in enumerate(row.pixels()):
            ax.imshow(image, extent=_inside(j, i, image.shape), interpolation="nearest")
    ax.set(xlim=(0, count), ylim=(rows, 0), aspect="equal")
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    columns = [fill(label, COLUMN_CHARACTERS, break_long_words=False) for label in grid.columns]
    ax.set_xticks([j + 0.5 for j in range(count)], columns)
    texts = [f"{shorten(row.label, 22)}\n{row.detail}".strip() for row in grid.rows]
    ax.set_yticks([i + 0.5 for i in range(rows)], texts)
    _plain([*ax.get_xticklabels(), *ax.get_yticklabels()])
    return figure


def _inside(x: float, y: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return the extent of an image in the unit square at (x, y), keeping its proportions."""
    high, wide = (0.92 * size / max(shape[:2]) for size in shape[:2])
    left, top = x + (1 - wide) / 2, y + (1 - high) / 2
    return left, left + wide, top + high, top
