"""The protocol of a plot: compute the numbers first, then draw them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from invariscope.common.registry import Registry
from invariscope.plots.shared import labels as names

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.plots.shared.grid import PixelGrid
    from invariscope.results.result import Result

PLOTS: Registry[Plot] = Registry("plot", "invariscope.plots", also=("invariscope.lab.plots",))


class Plot(ABC):
    """The prepared numbers of one figure; each plot is a frozen dataclass in its own file.

    Class attributes, shown in the report and in listings:
        title: the heading.
        reading: how to read the plot, in a few sentences.
        order: position in the report, ascending.
    """

    title: ClassVar[str]
    reading: ClassVar[str]
    order: ClassVar[int] = 100

    def __init_subclass__(cls, *, name: str = "", **kwargs: Any) -> None:
        """Register the plot, so that adding a plot takes only a new file."""
        super().__init_subclass__(**kwargs)
        PLOTS.add(cls, name)

    @classmethod
    @abstractmethod
    def prepare(cls, *args: Any, **kwargs: Any) -> Self:
        """Compute the numbers of the figure from one result (for some plots, several) and options."""

    @classmethod
    @abstractmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return the views that a report of these results shows, most important first; may be empty."""

    @abstractmethod
    def draw(self, *, theme: str = "light") -> Figure:
        """Draw a matplotlib figure in the "light" or the "dark" theme."""

    def save(self, path: Any, *, theme: str = "light") -> None:
        """Draw and save the figure; the file's suffix (svg, pdf, png) selects the format."""
        self.draw(theme=theme).savefig(path)


@dataclass(frozen=True)
class View:
    """One entry of a plot's menu in the report."""

    label: str
    plot: Plot


def measure_views(
    plot: Any, results: Sequence[Result], measures_of: Callable[[Result], list[str]]
) -> list[View]:
    """Return a view per measure and result, for plots of a single result; headline measures first."""
    named = list(zip(names.model_names(results), results, strict=True))
    return [
        View(
            names.of_model(names.measure_title(measure), name, len(named)),
            replace(plot.prepare(result, measure=measure), model=name),
        )
        for measure in names.headline_first(m for result in results for m in measures_of(result))
        for name, result in named
        if measure in measures_of(result)
    ]


class ChartPlot(Plot):
    """A plot that also has an interactive version."""

    @abstractmethod
    def chart(self) -> UIElement:
        """Return a Bokeh model with the properties of both themes (`interactive.themed`)."""


class GridPlot(Plot):
    """A plot that consists of small images in rows and columns."""

    @abstractmethod
    def grid(self) -> PixelGrid:
        """Return the images with their labels."""

    def draw(self, *, theme: str = "light") -> Figure:
        """Draw the images as a matplotlib figure."""
        from invariscope.plots.shared.static import draw_grid

        return draw_grid(self.grid(), theme=theme)
