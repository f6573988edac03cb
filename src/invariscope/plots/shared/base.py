"""The protocol of a plot: numbers first, pictures from the numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from invariscope.common.registry import Registry

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.plots.shared.grid import PixelGrid
    from invariscope.results.result import Result

PLOTS: Registry[Plot] = Registry("plot", "invariscope.plots", also=("invariscope.lab.plots",))


class Plot(ABC):
    """Prepared numbers of one figure; concrete plots are frozen dataclasses, one a file.

    Class attributes, which the report and the listing show:
        title: a heading.
        reading: one or two sentences that say how to read it.
        order: its place in the report, small first.
    """

    title: ClassVar[str]
    reading: ClassVar[str]
    order: ClassVar[int] = 100

    def __init_subclass__(cls, *, name: str = "", **kwargs: Any) -> None:
        """Registers the plot, so that one new file is all that a new plot needs."""
        super().__init_subclass__(**kwargs)
        PLOTS.add(cls, name)

    @classmethod
    @abstractmethod
    def prepare(cls, *args: Any, **kwargs: Any) -> Self:
        """The numbers of the figure, from one result (some plots: several) and keyword options."""

    @classmethod
    @abstractmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """The pictures worth showing of these results, the most important first; none is fine."""

    @abstractmethod
    def draw(self, *, theme: str = "light") -> Figure:
        """A matplotlib figure, in the "light" or the "dark" theme."""

    def save(self, path: Any, *, theme: str = "light") -> None:
        """Draws and writes the figure; the file's suffix (svg, pdf, png) gives the format."""
        self.draw(theme=theme).savefig(path)


@dataclass(frozen=True)
class View:
    """One entry of a plot's menu in the report."""

    label: str
    plot: Plot


class ChartPlot(Plot):
    """A plot that also has an interactive form."""

    @abstractmethod
    def chart(self) -> UIElement:
        """A Bokeh model that carries the properties of both themes (`interactive.themed`)."""


class GridPlot(Plot):
    """A plot that consists of small images in rows and columns."""

    @abstractmethod
    def grid(self) -> PixelGrid:
        """The images with their labels."""

    def draw(self, *, theme: str = "light") -> Figure:
        """The images as a matplotlib figure: a row of axes per row, a column per element."""
        from invariscope.plots.shared.static import draw_grid

        return draw_grid(self.grid(), theme=theme)
