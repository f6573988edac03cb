"""The figure of the atlas: every row as a share of its null, one panel per section of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.plots.shared.readable import ReadableFigure
from invariscope.plots.shared.theme import LIGHT, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN, AROUND_IN, BELOW_IN = 6.8, 0.235, 0.5, 0.35
# Values that are 0, and smaller ones than the axis shows, stand at its left end.
ZERO, LEAST, MOST = 1e-9, 1e-8, 4.0
TICKS = {ZERO: "0", 1e-7: "10⁻⁷", 1e-5: "10⁻⁵", 1e-3: "0.001", 1e-2: "0.01", 0.1: "0.1", 1.0: "1"}

Row = dict[str, Any]


def draw(worlds: dict[str, list[Row]]) -> Figure:
    """Return the figure of the rows of each section."""
    heights = [AROUND_IN + ROW_IN * len(symmetries(rows)) for rows in worlds.values()]
    size = (WIDTH_IN, sum(heights) + BELOW_IN)
    figure = ReadableFigure(figsize=size, layout="constrained", facecolor=LIGHT.surface)
    grid = {"height_ratios": heights}
    panels = figure.subplots(len(worlds), 1, squeeze=False, sharex=True, gridspec_kw=grid)[:, 0]
    for ax, (world, rows) in zip(panels, worlds.items(), strict=True):
        draw_world(ax, world, rows)
    panels[-1].set_xlabel(
        "share of the null: 0 is invariant, 1 as different as unrelated samples", fontsize=LIGHT.small_size
    )
    return figure


def draw_world(ax: Axes, world: str, rows: list[Row]) -> None:
    """Draw a line per symmetry and a marker per model."""
    names = symmetries(rows)
    models = list(dict.fromkeys(row["model"] for row in rows))
    style(ax, names)
    ax.set_title(world, loc="left", fontsize=LIGHT.text_size, color=LIGHT.text, fontweight="bold")
    for number, model in enumerate(models):
        own = [row for row in rows if row["model"] == model and row["null"]]
        lines = [names.index(row["symmetry"]) + shift(number, len(models)) for row in own]
        look = {"color": LIGHT.series[number], "marker": list(MARKERS.values())[number % len(MARKERS)]}
        ax.plot(
            [share(row["value"], row) for row in own], lines, linestyle="", markersize=6, label=model, **look
        )
        for row, line in zip(own, lines, strict=True):
            if row["ci_low"] is not None:
                ends = share(row["ci_low"], row), share(row["ci_high"], row)
                ax.hlines(line, *ends, color=LIGHT.series[number], linewidth=1.8, alpha=0.5)
    ax.legend(
        loc="center left",
        bbox_to_anchor=(0.06, 0.5),
        frameon=False,
        labelcolor=LIGHT.text,
        fontsize=LIGHT.small_size,
    )


def style(ax: Axes, names: list[str]) -> None:
    """Set the axes: logarithmic, with a place for 0, and calm lines."""
    ax.set_xscale("log")
    ax.set_xlim(ZERO / 2, MOST)
    ax.set_xticks(list(TICKS), list(TICKS.values()))
    ax.minorticks_off()
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, labelsize=LIGHT.small_size, labelcolor=LIGHT.text)
    ax.set_facecolor(LIGHT.surface)
    ax.grid(axis="both", color=LIGHT.line, linewidth=0.8)
    ax.axvline(1, color=LIGHT.muted, linewidth=1)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_visible(False)


def symmetries(rows: list[Row]) -> list[str]:
    """Return the symmetries of a section, each once."""
    return list(dict.fromkeys(row["symmetry"] for row in rows))


def shift(number: int, models: int) -> float:
    """Return how far below its line a model is drawn, so that equal values do not hide each other."""
    return 0.0 if models == 1 else 0.44 * (number / (models - 1) - 0.5)


def share(value: float, row: Row) -> float:
    """Return a value as a share of its null, moved to the end of the axis if it is smaller."""
    found = value / row["null"]
    return found if found >= LEAST else ZERO
