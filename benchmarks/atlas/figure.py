"""The figure of the atlas: every row as a share of its null, one panel per section of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from invariscope.plots.shared.readable import ReadableFigure
from invariscope.plots.shared.theme import LIGHT, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN, LEGEND_IN, BELOW_IN = 6.8, 0.25, 0.26, 0.4
COLUMNS = 2  # of a legend
MOST = 1.1
TICKS = {0.0: "0", 0.01: "0.01", 0.05: "0.05", 0.1: "0.1", 0.2: "0.2", 0.5: "0.5", 1.0: "1"}
AXIS = "share of the null: 0 is invariant, 1 as different as unrelated samples"

Row: TypeAlias = dict[str, Any]


def draw(worlds: dict[str, list[Row]]) -> Figure:
    """Return the figure of the rows of each section; rows without a null are not shown."""
    shown = {world: [row for row in rows if row["null"]] for world, rows in worlds.items()}
    heights = [height_of(rows) for rows in shown.values()]
    size = (WIDTH_IN, sum(heights) + BELOW_IN)
    figure = ReadableFigure(figsize=size, layout="constrained", facecolor=LIGHT.surface)
    grid = {"height_ratios": heights}
    panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, gridspec_kw=grid)[:, 0]
    for ax, (world, rows) in zip(panels, shown.items(), strict=True):
        draw_world(ax, world, rows)
    panels[-1].set_xlabel(AXIS, fontsize=LIGHT.small_size, color=LIGHT.muted)
    return figure


def height_of(rows: list[Row]) -> float:
    """Return the height of a panel with its title and legend in inches."""
    lines = -(-len(series_of(rows)) // COLUMNS)
    return ROW_IN * (len(symmetries(rows)) + 0.5) + LEGEND_IN * lines


def draw_world(ax: Axes, world: str, rows: list[Row]) -> None:
    """Draw a line per symmetry and a marker per model."""
    names, series = symmetries(rows), series_of(rows)
    style(ax, names)
    title(ax, world)
    for number, name in enumerate(series):
        own = [row for row in rows if series_name(row) == name]
        lines = [names.index(row["symmetry"]) + shift(row, rows) for row in own]
        colour, marker = LIGHT.series[number], list(MARKERS.values())[number % len(MARKERS)]
        values = [row["value"] / row["null"] for row in own]
        ax.plot(values, lines, linestyle="", marker=marker, markersize=5.5, color=colour, label=name)
        for row, line in zip(own, lines, strict=True):
            if row["ci_low"] is not None:
                ends = row["ci_low"] / row["null"], row["ci_high"] / row["null"]
                ax.hlines(line, *ends, color=colour, linewidth=1.8, alpha=0.5)
    legend(ax, len(series))


def title(ax: Axes, text: str) -> None:
    """Write the title above the names of the symmetries."""
    look: dict[str, Any] = {"fontsize": LIGHT.text_size, "color": LIGHT.text, "fontweight": "bold"}
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": ("figure fraction", "axes fraction")}
    ax.annotate(text, xytext=(4, 4), textcoords="offset points", va="bottom", **place, **look)


def style(ax: Axes, names: list[str]) -> None:
    """Set the axes: square roots of values, so that small ones stay apart, and calm lines."""
    ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    ax.set_xlim(0, MOST)
    ax.set_xticks(list(TICKS), list(TICKS.values()))
    ax.minorticks_off()
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, pad=7, labelsize=LIGHT.small_size, labelcolor=LIGHT.text)
    ax.set_facecolor(LIGHT.surface)
    ax.grid(axis="both", color=LIGHT.line, linewidth=0.8)
    ax.axvline(1, color=LIGHT.muted, linewidth=1)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for line in ax.lines:
        line.set_zorder(1)


def legend(ax: Axes, count: int) -> None:
    """Name the models above the right end of a panel, beside its title."""
    look: dict[str, Any] = {"frameon": False, "labelcolor": LIGHT.text, "fontsize": LIGHT.small_size}
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderpad": 0.1}
    space = {"handletextpad": 0.2, "columnspacing": 1.2, "labelspacing": 0.25, "handlelength": 1.4}
    found = ax.legend(ncols=min(count, COLUMNS), **place, **look, **space)
    for handle in found.legend_handles:
        handle.set_clip_on(False)
    for line in ax.lines[1:]:
        line.set_clip_on(False)  # markers at 0 are not cut


def symmetries(rows: list[Row]) -> list[str]:
    """Return the symmetries of a section, each once."""
    return list(dict.fromkeys(row["symmetry"] for row in rows))


def series_of(rows: list[Row]) -> list[str]:
    """Return the names of what is drawn in one colour."""
    return list(dict.fromkeys(map(series_name, rows)))


def series_name(row: Row) -> str:
    """Return the name of a model and its data."""
    return f"{row['model']}, {row['data']['name']}"


def shift(row: Row, rows: list[Row]) -> float:
    """Return how far below its line a row is drawn, so that equal values do not hide each other."""
    beside = [other for other in rows if other["symmetry"] == row["symmetry"]]
    return 0.0 if len(beside) == 1 else 0.48 * (beside.index(row) / (len(beside) - 1) - 0.5)
