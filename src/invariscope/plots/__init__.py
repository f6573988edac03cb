"""Figures: `Plot.prepare(results)` computes the numbers, and `draw()` turns them into a matplotlib figure.

    iv.plot("layer_profile", [plain, rotated], theme="dark").savefig("profile.svg")

A new plot is one new file in this package: a frozen dataclass that derives from `Plot`, `ChartPlot`
or `GridPlot`. It is then listed, tested and shown in the report automatically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.plots.shared.base import PLOTS, ChartPlot, GridPlot, Plot, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "ChartPlot", "GridPlot", "Plot", "View", "draw", "plot"]


def draw(name: str, results: Any, *, theme: str = "light", **options: Any) -> Figure:
    """Prepare the plot called `name` from one or several results, and draw it.

    Args:
        name: a registry name, such as "layer_profile".
        results: the argument of the plot's `prepare`: one result or, for some plots, several.
        theme: "light" or "dark".
        options: keyword options of that plot's `prepare`.
    Raises:
        ValueError: unknown plot; the message lists the closest names.
    """
    return PLOTS.get(name).prepare(results, **options).draw(theme=theme)


plot = draw  # `iv.plot`
