"""Figures: `Plot.prepare(results)` holds the numbers, `draw()` makes a matplotlib figure of them.

    iv.plot("layer_profile", [plain, rotated], theme="dark").savefig("profile.svg")

A new plot is one new file in this package: a frozen dataclass that derives from `Plot`, `ChartPlot`
or `GridPlot`. It is then listed, tested and shown in the report without another edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.plots.shared.base import PLOTS, ChartPlot, GridPlot, Plot, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "ChartPlot", "GridPlot", "Plot", "View", "draw", "plot"]


def draw(name: str, results: Any, *, theme: str = "light", **options: Any) -> Figure:
    """Prepares the plot called `name` from one or several results and draws it.

    Args:
        name: a registry name, such as "layer_profile".
        results: what that plot's `prepare` takes: one Result, or for some plots several.
        theme: "light" or "dark".
        options: keyword options of that plot's `prepare`.
    Raises:
        ValueError: no such plot; the closest names are given.
    """
    return PLOTS.get(name).prepare(results, **options).draw(theme=theme)


plot = draw  # `iv.plot`
