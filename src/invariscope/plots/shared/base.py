"""The protocol of a plot: compute the numbers first, then draw them."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from invariscope.common.registry import Registry
from invariscope.common.wording import shorten_all
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.depth import is_deep
from invariscope.plots.shared.look import Look

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.plots.shared.grid import PixelGrid
    from invariscope.results.result import Result

# Characters of models' names above their parts of a figure.
NARROW_NAME, WIDE_NAME = 34, 60
PLOTS: Registry[Plot] = Registry("plot", "invariscope.plots", also=("invariscope.lab.plots",))


class Drawing(ABC):
    """The prepared numbers of one figure."""

    @abstractmethod
    def paint(self, canvas: Canvas) -> None:
        """Draw with matplotlib on a canvas, after asking it for one or several panels."""

    def draw(self, **options: Any) -> Figure:
        """Return a matplotlib figure, which notebooks display.

        Args:
            options: see `Look`: `theme`, `ax`, `figsize`, `title`, `vmin`, `vmax`, `cmap`.
        """
        return self.draw_as(Look(**options))

    def draw_as(self, look: Look) -> Figure:
        """Return a matplotlib figure with the given look."""
        from invariscope.plots.shared.canvas import Canvas

        canvas = Canvas(look)
        self.paint(canvas)
        canvas.finish()
        return canvas.figure

    def save(self, path: Any, **options: Any) -> None:
        """Draw and save the figure; the file's suffix (svg, pdf, png) selects the format."""
        self.draw(**options).savefig(path)


def draw_beside(drawings: Sequence[Drawing], look: Look, models: Sequence[str]) -> Figure:
    """Draw several results beside each other, with a common scale of values and a name each."""
    from invariscope.plots.shared.canvas import Canvas

    ends = [span for drawing in drawings if (span := getattr(drawing, "span", None)) is not None]
    if ends:
        low, high = look.span(min(low for low, _ in ends), max(high for _, high in ends))
        look = replace(look, vmin=low, vmax=high) if low < high else look
    canvas = Canvas(look)
    parts = canvas.beside(len(drawings))
    models = shorten_all(models, NARROW_NAME if canvas.narrow else WIDE_NAME)
    for drawing, part, model in zip(drawings, parts, models, strict=True):
        named: Any = replace(drawing, model=model) if hasattr(drawing, "model") else drawing  # type: ignore[type-var]
        named.paint(part)
        part.name(model)
    canvas.finish()
    return canvas.figure


class Plot(Drawing):
    """The prepared numbers of one figure; each plot is a frozen dataclass in its own file.

    Class attributes, shown in the report and in listings:
        title: the heading.
        reading: how to read the plot, in a few sentences.
        details: how to read what only some figures have; reports show what applies, as `View.reading`.
        order: position in the report, ascending.
        single: whether `prepare` takes a single result, so that several are drawn beside each other.
    """

    title: ClassVar[str]
    reading: ClassVar[str]
    details: ClassVar[str] = ""
    order: ClassVar[int] = 100
    single: ClassVar[bool] = False

    def __init_subclass__(cls, *, name: str = "", **kwargs: Any) -> None:
        """Register the plot, so that adding a plot takes only a new file."""
        super().__init_subclass__(**kwargs)
        PLOTS.add(cls, name)

    @classmethod
    def explain(cls) -> str:
        """Return how to read the plot, and its options in docstring format."""
        _, start, options = (inspect.getdoc(cls.prepare) or "").partition("\nArgs:\n")
        return f"{cls.title}. {cls.reading} {cls.details}".rstrip() + f"\n{start}{options}"

    @classmethod
    @abstractmethod
    def prepare(cls, *args: Any, **kwargs: Any) -> Self:
        """Compute the numbers of the figure from one result (for some plots, several) and options."""

    @classmethod
    @abstractmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return the views that a report of these results shows, most important first; may be empty."""


@dataclass(frozen=True)
class View:
    """One entry of a plot's menu in the report.

    Args:
        label: its text.
        plot: the plot; of a deep network, it shows only the outputs of blocks.
        whole: the same plot of all layers, if that is more.
        reading: how to read this view, if the `reading` of the plot does not say; may be empty.
    """

    label: str
    plot: Plot
    whole: Plot | None = None
    reading: str = ""


def whole_plot(
    prepare: Callable[..., Plot], results: Sequence[Result], *args: Any, **options: Any
) -> Plot | None:
    """Return the plot of all layers; None if the default already shows all of them."""
    if not any(is_deep(result) for result in results):
        return None
    return prepare(*args, layers=None, **options)


def measure_views(
    plot: Any,
    results: Sequence[Result],
    measures_of: Callable[[Result], list[str]],
    **of_whole: Any,
) -> list[View]:
    """Return a view per measure and result, for plots of a single result; headline measures first.

    Args:
        of_whole: options of the plots of all layers.
    """
    named = list(zip(names.model_names(results), results, strict=True))

    def of(model: str, made: Any) -> Any:
        return made and replace(made, model=model)

    return [
        View(
            names.of_model(names.measure_title(measure), name, len(named)),
            of(name, plot.prepare(result, measure=measure)),
            of(name, whole_plot(plot.prepare, [result], result, measure=measure, **of_whole)),
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


@dataclass(frozen=True)
class MeasurePlot(ChartPlot):
    """A plot of one measure.

    Args:
        measure: the measure shown.
        stratum: the class whose samples are shown; "all" for all of them.
    """

    measure: str
    stratum: str = field(default="all", kw_only=True)


@dataclass(frozen=True)
class ModelPlot(MeasurePlot):
    """A plot of one measure of one model; several results are drawn beside each other.

    Args:
        model: the model's name.
    """

    model: str


class GridPlot(Plot):
    """A plot that consists of small images in rows and columns."""

    @abstractmethod
    def grid(self) -> PixelGrid:
        """Return the images with their labels."""

    def paint(self, canvas: Canvas) -> None:
        """Draw the images."""
        canvas.draw_grid(self.grid())
