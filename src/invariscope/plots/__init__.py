"""Figures: `Plot.prepare(results)` computes the numbers, and `draw()` turns them into a matplotlib figure.

    iv.plot("layer_profile", [plain, rotated], theme="paper").savefig("profile.pdf")

A new plot is one new file in this package: a frozen dataclass that derives from `Plot`, `ChartPlot`
or `GridPlot`. It is then listed, tested and shown in the report automatically.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invariscope.common.wording import visible
from invariscope.plots.shared.base import PLOTS, ChartPlot, GridPlot, Plot, View, draw_beside
from invariscope.plots.shared.labels import as_results, model_names
from invariscope.plots.shared.look import Look
from invariscope.plots.shared.options import checked
from invariscope.results.readable import readable, shown_entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "ChartPlot", "GridPlot", "Plot", "View", "draw", "plot"]


def draw(
    name: str,
    results: Any,
    *,
    theme: str = "light",
    ax: Axes | Sequence[Axes] | None = None,
    figsize: tuple[float, float] | None = None,
    title: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "viridis",
    **options: Any,
) -> Figure:
    """Prepare the plot called `name` from one or several results, and draw it.

    Several results share a figure and a scale: in the same panel or, if a plot shows one result only, beside
    each other. Names of layers, classes and models appear as plain text: control characters as escapes, and
    very long names shortened.

    Args:
        name: a registry name, such as "layer_profile"; `iv.list_plots()` lists them.
        results: one result, or several.
        theme: "light", "dark", or "paper": 3.4 inches wide, the width of a column, with text of 8 points.
        ax: matplotlib axes to draw into, or a sequence of as many axes as there are panels.
        figsize: width and height of a new figure in inches.
        title: title of the figure; None: the plot's own; "": none.
        vmin, vmax: ends of the colour scale or, for plots without one, of the value axis.
        cmap: name of a matplotlib colour map.
        options: keyword options of that plot's `prepare`, such as `measure` or `layers`; `layers="auto"`, the
            default, shows block outputs of networks with more than 40 layers.
    Returns:
        A matplotlib figure, which notebooks display. Its files contain text as text (SVG) and TrueType fonts
        (PDF).
    Raises:
        ValueError: unknown plot, with the closest names, or results without what the plot shows.
        TypeError: an option that the plot does not take, or `results` that are no results.
    """
    plot = PLOTS.get(name)
    look = Look(theme, ax, figsize, title and visible(title, keep="\n"), vmin, vmax, cmap)
    several = [readable(result) for result in as_results(results)]
    options = {option: shown_entry(value) for option, value in checked(plot, options, name=name).items()}
    if not plot.single:
        return plot.prepare(several, **options).draw_as(look)
    drawings = [plot.prepare(result, **options) for result in several]
    if len(drawings) == 1:
        return drawings[0].draw_as(look)
    return draw_beside(drawings, look, model_names(several))


plot = draw  # `iv.plot`
