"""Plot the layers of a model as connected boxes, coloured by a measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.wording import listed
from invariscope.plots.shared import graph_layout as places
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ModelPlot, View, measure_views
from invariscope.plots.shared.cells import shared_range
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.graph_layout import Edge, GraphLayout
from invariscope.plots.shared.theme import COLOUR_MAP

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

# Symbols of operations with several arguments, by the name of the layer.
NUMBERS = {"layer": "layer", "value": "value", "from": "sources"}
_SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "×"}
_OTHER_SYMBOL = "•"
_UNKNOWN = "connections unknown"
_ROW = 26  # pixels
# Inches beside the boxes, without names; inches per character and point; relative size of names in boxes.
_BESIDE, _CHARACTER, _SMALL = 0.9, 0.58 / 72, 0.72
_SMALLEST, _GLYPH = 6.0, 0.75  # smallest size of text in points, height of a digit relative to its size
_FILLED = 0.85  # fraction of a box's width that a name may take


@dataclass(frozen=True)
class ModelGraph(ModelPlot):
    """Layers in execution order, one row per block, with lines between connected layers.

    Args:
        layers: labels of the layers.
        names: names of the layers, without call numbers.
        value: (layer,) values; NaN if missing.
        intervals: (layer,) intervals as text.
        edges: (source, target) indices of connected layers.
        known: whether the result contains the connections.
        span: lowest and highest value of the colour scale.
    """

    title = "Model graph"
    reading = (
        "Each box is a layer, coloured by its value. Layers run from left to right and from top to bottom; "
        "in large networks, each row is a block. Lines lead from a layer to the layers that use its output, "
        "directly or through layers without a value. Where lines meet, a layer has several inputs; + is a "
        "sum."
    )
    details = (
        "Results of earlier versions, and of models that are not PyTorch modules, do not contain the "
        "connections; their boxes are in execution order, without lines."
    )
    order = 35
    single = True

    layers: tuple[str, ...]
    names: tuple[str, ...]
    value: np.ndarray
    intervals: tuple[str, ...]
    edges: tuple[Edge, ...]
    known: bool
    span: tuple[float, float]

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        stratum: str = "all",
        layers: Sequence[str] | str | None = None,
    ) -> ModelGraph:
        """Collect the layers that have a value, and the connections between them.

        Args:
            result: a result; several are drawn beside each other.
            measure: a measure in the result; None: normalized variance if present, otherwise the first.
            stratum: "all", a class, or "mean".
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
        Raises:
            ValueError: no such measure, stratum or layer.
        """
        measure = names.choose("measure", measure, names.table_measures([result]))
        rows = names.rows_of(result, measure, stratum)
        if not len(rows):
            raise ValueError(f"no rows of {measure!r} for stratum {stratum!r}; result.table lists the strata")
        if layers is not None:
            rows = rows.loc[shown_layers(list(rows["label"]), layers)]
        keys = [(str(layer), int(call)) for layer, call in zip(rows["layer"], rows["call"], strict=True)]
        edges = _edges(result.provenance.get("dataflow"), keys)
        value = rows["value"].to_numpy(float)
        return cls(
            measure,
            result.name,
            tuple(rows["label"]),
            tuple(layer for layer, _ in keys),
            value,
            tuple(names.row_interval(row) for row in rows.to_dict("records")),  # type: ignore[arg-type]
            edges or (),
            edges is not None,
            shared_range([value]),
            stratum=stratum,
        )

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per result and measure of several layers; a measure has one colour scale."""
        views = measure_views(cls, results, _measures_of_layers)
        plots: list[Any] = [view.plot for view in views]
        spans = {
            measure: shared_range(plot.value for plot in plots if plot.measure == measure)
            for measure in {plot.measure for plot in plots}
        }
        return [
            replace(
                view,
                plot=replace(plot, span=spans[plot.measure]),
                reading="" if plot.known else cls.details,
            )
            for view, plot in zip(views, plots, strict=True)
        ]

    @property
    def layout(self) -> GraphLayout:
        """Positions of boxes and lines."""
        own, labels = names.without_prefix(self.names), names.without_prefix(self.layers)
        return places.graph_layout(own, labels, self.edges)

    @property
    def joins(self) -> dict[int, str]:
        """Indices of layers with several inputs, with the symbol of each, or "" if it has none."""
        found = np.flatnonzero(places.joins(self.edges, len(self.names)))
        return {int(i): _SYMBOLS.get(places.leaf_of(self.names[i]), "") for i in found}

    def remarks(self, hidden: int) -> list[str]:
        """Return remarks on the lines, such as that connections are unknown.

        Args:
            hidden: number of connections that are not drawn.
        """
        prefix = names.shared_prefix(self.layers)
        lines = [f"layers of {prefix}"] if prefix else []
        lines += [] if self.known else [f"execution order; {_UNKNOWN}"]
        return lines + ([f"{hidden} long connections are not drawn"] if hidden else [])

    def paint(self, canvas: Canvas) -> None:
        """Draw boxes and lines, with a colour bar."""
        layout = self.layout
        ax = canvas.panel(5.2 if layout.single else 7.2, 1.1 + 0.25 * len(layout.titles))
        ax.set(
            xlim=(-0.45 if layout.single else -0.75, layout.right + 0.1),
            ylim=(len(layout.titles) - 0.4, -0.6),
            xticks=[],
        )
        ax.spines[:].set_visible(False)
        canvas.name_ticks(ax, layout.titles, axis="y")
        _draw_lines(ax, layout, canvas)
        self._draw_boxes(ax, layout, canvas)
        canvas.heading(ax, self.model)
        canvas.axis_titles(ax, ", ".join(self.remarks(layout.hidden)), "")
        canvas.colour_bar(ax, self.span, names.titled(self.measure, self.stratum), values=self.value)

    def _draw_boxes(self, ax: Axes, layout: GraphLayout, canvas: Canvas) -> None:
        from matplotlib.patches import Rectangle

        colours = self._colours(canvas.look.span(*self.span), canvas.look.cmap)
        texts = self._texts(layout, canvas)
        sides = 2 * places.HALF_WIDTH, 2 * places.HALF_HEIGHT
        for i, (x, y) in enumerate(zip(layout.x, layout.y, strict=True)):
            corner = (x - places.HALF_WIDTH, y - places.HALF_HEIGHT)
            if not np.isfinite(self.value[i]):
                canvas.hatched(ax, *corner, *sides)
                continue
            ax.add_patch(Rectangle(corner, *sides, facecolor=colours[i], linewidth=0, zorder=3))
            text, size = texts[i]
            style: Any = {"ha": "center", "va": "center_baseline", "zorder": 4, "parse_math": False}
            ax.text(x, y, text, color=_readable_on(colours[i]), fontsize=size, **style)
        if not np.isfinite(self.value).all():
            canvas.explain_hatch("no value")

    def _texts(self, layout: GraphLayout, canvas: Canvas) -> list[tuple[str, float]]:
        """Return the text in each box and its font size: values, or symbols and names that fit."""
        usual = canvas.colours.small_size
        small = max(_SMALL * usual, _SMALLEST)
        box = 2 * places.HALF_HEIGHT * canvas.room_of("y") / len(layout.titles)  # inches
        high = 72 * box / _GLYPH
        if layout.single:
            return [(names.number(value) if usual <= high else "", usual) for value in self.value]
        if small > high:
            return [("", small)] * len(self.value)
        longest = max(len(title) for title in names.axis_labels(layout.titles))
        inches = canvas.width - _BESIDE - _CHARACTER * usual * longest
        room = 2 * places.HALF_WIDTH * inches / (layout.right + 0.85) / (_CHARACTER * small)
        leaves = [places.leaf_of(name) for name in self.names]
        fits = [len(leaf) <= _FILLED * room for leaf in leaves]
        some = np.mean(fits) >= 0.5  # names in only a few boxes would look like a mistake
        shown = [(leaf if some and fit else "", small) for leaf, fit in zip(leaves, fits, strict=True)]
        signs = {i: sign or shown[i][0] or _OTHER_SYMBOL for i, sign in self.joins.items()}
        return [
            (signs[i], size if text == signs[i] else usual) if i in signs else (text, size)
            for i, (text, size) in enumerate(shown)
        ]

    def _colours(self, scale: tuple[float, float] | None = None, cmap: str = COLOUR_MAP) -> np.ndarray:
        """Return (layer, rgba) colours; missing values have the lowest colour."""
        from matplotlib import colormaps
        from matplotlib.colors import Normalize

        return colormaps[cmap](Normalize(*(scale or self.span), clip=True)(np.nan_to_num(self.value)))

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, value, interval and the preceding layers."""
        from bokeh.models import ColumnDataSource

        from invariscope.plots.shared import interactive as live

        layout = self.layout
        rows = len(layout.titles)
        chart = live.new_chart(height=90 + _ROW * rows, min_width=max(300, 140 + 14 * layout.columns))
        right = layout.right + (2.0 if layout.single else 0.1)
        chart.x_range, chart.y_range = (
            live.fixed(-0.45 if layout.single else -0.75, right),
            live.fixed(rows - 0.4, -0.6),
        )
        chart.xaxis.visible, chart.ygrid.visible, chart.yaxis.axis_line_alpha = False, False, 0
        live.name_ticks(chart.yaxis[0], layout.titles)
        corners = [line.T.tolist() for line in layout.lines]
        lines = chart.multi_line([xs for xs, _ in corners], [ys for _, ys in corners], line_width=1.4)
        live.themed(lines.glyph, line_color="hatch")
        scale = live.colour_scale(self.span)
        missing = ~np.isfinite(self.value)
        live.hatched(chart, _boxes(layout.x[missing], layout.y[missing]))
        size: Any = {"width": 2 * places.HALF_WIDTH, "height": 2 * places.HALF_HEIGHT}
        boxes = chart.rect(
            "x", "y", **size, source=ColumnDataSource(self._columns(layout)), line_color=None,
            fill_color={"field": "value", "transform": scale},
        )  # fmt: skip
        self._write_signs(chart, layout)
        shown = {"layer": "@layer", "value": "@text", "95 %": "@interval"}
        live.hover(chart, [boxes], shown | ({"from": "@sources"} if self.known else {}))
        live.saved(boxes.data_source, NUMBERS)
        live.colour_bar(chart, scale)
        if remarks := self.remarks(layout.hidden):
            chart.xaxis.visible, chart.xaxis[0].ticker = True, []
            live.axis_title(chart.xaxis[0], ", ".join(remarks))
        return chart

    def _columns(self, layout: GraphLayout) -> dict[str, Any]:
        """Return the data of the boxes, including the texts shown on hover."""
        sources: list[list[str]] = [[] for _ in self.layers]
        for source, target in self.edges:
            sources[target].append(self.layers[source])
        return {
            "x": layout.x, "y": layout.y, "value": self.value, "layer": list(self.layers),
            "text": list(map(names.number, self.value)), "interval": list(self.intervals),
            "sources": [listed(found) or "–" for found in sources],
        }  # fmt: skip

    def _write_signs(self, chart: Any, layout: GraphLayout) -> None:
        """Write values beside the boxes if each has its own row, otherwise symbols into the boxes."""
        from invariscope.plots.shared import interactive as live

        if layout.single:
            x, shown = [layout.right + 0.1] * len(self.value), list(enumerate(map(names.number, self.value)))
            text = chart.text(x, layout.y, [text for _, text in shown], text_baseline="middle")
            live.themed(text.glyph, text_color="text")
        else:
            joins, leaves = self.joins, list(map(places.leaf_of, self.names))
            signs = [joins.get(i) or leaf for i, leaf in enumerate(leaves)]
            text = chart.text(layout.x, layout.y, signs, text_baseline="middle", text_align="center")
            text.data_source.data["color"] = [_readable_on(colour) for colour in self._colours()]
            text.glyph.text_color = {"field": "color"}
            # Names are hidden if they would overlap the next box.
            wide = 140 + layout.columns * live.CHARACTER * (max(map(len, leaves)) + 2)
            live.fitted(text.glyph, wide, text_alpha=(0.0, 1.0))
        text.glyph.text_font, text.glyph.text_font_size = {"value": live.FONT}, {"value": "12px"}


def _edges(flow: Any, shown: Sequence[tuple[str, int]]) -> tuple[Edge, ...] | None:
    """Return the connections between the shown layers, direct or through layers that are not shown.

    Args:
        flow: the entry "dataflow" of the provenance, which is checked, because it may come from any file.
        shown: layer and call of each shown layer.
    Returns:
        (source, target) indices into `shown`; None if the connections are unknown.
    """
    if not isinstance(flow, list | tuple) or not all(map(_is_entry, flow, range(len(flow)))):
        return None
    place = {key: number for number, key in enumerate(shown)}
    if not place.keys() <= {(layer, call) for layer, call, _ in flow}:
        return None
    reached: list[frozenset[int]] = []
    edges: list[Edge] = []
    for layer, call, sources in flow:
        found = frozenset[int]().union(*(reached[source] for source in sources if source >= 0))
        target = place.get((layer, call))
        reached.append(found if target is None else frozenset([target]))
        edges += [] if target is None else [(source, target) for source in sorted(found)]
    return tuple(edge for edge in edges if edge[0] < edge[1])


def _is_entry(entry: Any, number: int) -> bool:
    """Return whether an entry has the form [layer, call, indices of earlier entries]."""
    if not isinstance(entry, list | tuple) or len(entry) != 3:
        return False
    layer, call, sources = entry
    places_ok = isinstance(sources, list | tuple) and all(
        type(source) is int and -1 <= source < number for source in sources
    )
    return isinstance(layer, str) and type(call) is int and places_ok


def _draw_lines(ax: Axes, layout: GraphLayout, canvas: Canvas) -> None:
    from matplotlib.collections import LineCollection

    style: Any = {"colors": canvas.colours.hatch, "linewidths": 1.1 * canvas.colours.scale, "zorder": 2}
    ax.add_collection(LineCollection(list(layout.lines), **style))


def _boxes(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    wide, high = places.HALF_WIDTH, places.HALF_HEIGHT
    edges = {"left": x - wide, "right": x + wide, "bottom": y + high, "top": y - high}
    return {name: list(found) for name, found in edges.items()}


def _readable_on(colour: Sequence[float]) -> str:
    """Return black or white, whichever contrasts more with a colour."""
    red, green, blue = colour[:3]
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"


def _measures_of_layers(result: Result) -> list[str]:
    """Return the measures with values for several layers; a graph of a single layer shows nothing."""
    found = names.layered_measures([result])
    return [name for name in found if len(names.rows_of(result, name)) > 1]
