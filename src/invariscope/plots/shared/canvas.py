"""Draw on matplotlib figures in the library's style, without pyplot: no global state, no windows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from invariscope.plots.shared.grid import frame_choice
from invariscope.plots.shared.labels import axis_labels, shorten
from invariscope.plots.shared.look import Look
from invariscope.plots.shared.theme import LINE_STYLES, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from matplotlib.text import Text

    from invariscope.plots.shared.grid import PixelGrid

# Maximum number of entries of a legend placed above the axes, of entries in a column beside it, and
# characters per inch in its lines.
MANY_ENTRIES, MANY, CHARACTERS_AN_INCH, HANDLE_CHARACTERS = 8, 24, 12.0, 6
# Share of a figure's width that its axes take, if there are no colour bars.
INSIDE = 0.84
# Characters per line above an image of a grid.
COLUMN_CHARACTERS = 10
SMALLEST = 0.6  # inches per image
# Text remains text in SVG files, and fonts are embedded as TrueType in PDF and PostScript files.
_FONTS: Any = {"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}


class ReadableFigure(Figure):
    """A matplotlib figure that notebooks display, and whose files contain text that can be searched."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure like any other, with text as text."""
        with matplotlib.rc_context(_FONTS):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, facecolor=self.get_facecolor())
        return buffer.getvalue()


class Canvas:
    """A figure, or a part of one, on which a plot draws.

    Args:
        look: the options that every plot takes.
        figure: where to draw; None: a new figure, or the one to which the given axes belong.

    Attributes:
        figure: see above.
        colours: the colours and sizes of the theme.
    """

    def __init__(self, look: Look, figure: Figure | SubFigure | None = None) -> None:
        self.look, self.colours = look, look.colours
        if figure is None:
            figure = look.axes[0].figure if look.axes else self._new()
        self.figure: Any = figure
        self.width = self.height = 0.0  # in inches, as soon as there are panels
        self._columns, self._titled = 1, False

    def _new(self) -> Figure:
        return ReadableFigure(layout="constrained", facecolor=self.colours.surface)

    def panel(self, width: float, height: float) -> Axes:
        """Return the axes of a plot with a single panel; the size is that of the figure in inches."""
        return self.panels(width, height)[0, 0]

    def panels(self, width: float, height: float, *, rows: int = 1, columns: int = 1) -> np.ndarray:
        """Return the 2D array of axes of a plot; the size is that of the figure in inches.

        Raises:
            ValueError: other numbers of axes were given to draw into.
        """
        given, self._columns = self.look.axes, columns
        if given:
            if len(given) != rows * columns:
                raise ValueError(f"ax= must have {rows * columns} axes, one per panel; got {len(given)}")
            axes = np.array(given, dtype=object).reshape(rows, columns)
            self.width, self.height = (float(side) for side in self.figure.bbox.size / self.figure.dpi)
            self.width *= float(given[0].get_position().width) * columns / INSIDE
        else:
            axes = self._subplots(self.colours.scale * width, self.colours.scale * height, rows, columns)
        for ax in axes.flat:
            self._calm(ax)
        return axes

    def _subplots(self, width: float, height: float, rows: int, columns: int) -> np.ndarray:
        """Return new axes; panels lie below each other if the row is much wider than the theme allows."""
        below = rows == 1 and columns > 1 and width > 1.5 * self.colours.column
        own = (min(width, self.colours.column), height * (columns if below else 1))
        self.width, self.height = self.look.figsize or own
        if isinstance(self.figure, Figure):
            self.figure.set_size_inches(self.width, self.height)
        self._columns = 1 if below else columns
        shape = (columns, 1) if below else (rows, columns)
        return self.figure.subplots(*shape, squeeze=False).reshape(rows, columns)

    def _calm(self, ax: Axes) -> None:
        ax.set_facecolor(self.colours.surface)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(self.colours.line)
        ax.tick_params(colors=self.colours.muted, labelsize=self.colours.small_size, length=0)
        ax.set_axisbelow(True)

    def beside(self, count: int) -> list[Canvas]:
        """Divide the figure into equal parts, one canvas each, or divide the given axes.

        Parts lie beside each other, or below each other if the theme limits the width of figures.
        """
        given = self.look.axes
        if given:
            if len(given) % count:
                raise ValueError(f"ax= must have the same number of axes for each of {count} results")
            each = len(given) // count
            return [Canvas(replace(self.look, ax=given[i * each : (i + 1) * each])) for i in range(count)]
        rows, columns = (count, 1) if self._stacked else (1, count)
        size = None if self.look.figsize is None else np.divide(self.look.figsize, (columns, rows))
        own = replace(self.look, title=None, figsize=None if size is None else tuple(size.tolist()))
        parts = np.atleast_1d(self.figure.subfigures(rows, columns))
        return [Canvas(own, part) for part in parts.flat]

    @property
    def _stacked(self) -> bool:
        return bool(np.isfinite(self.colours.column))

    def fit(self, parts: Sequence[Canvas]) -> None:
        """Make the figure as large as its parts together."""
        if self.look.axes:
            return
        over, along = (sum, max) if self._stacked else (max, sum)
        size = along(part.width for part in parts), over(part.height for part in parts)
        self.figure.set_size_inches(*(self.look.figsize or size))

    def finish(self) -> None:
        """Add the title, unless the plot has put it at its place; no text of a new figure is a formula."""
        if self.look.title and not self._titled:
            self.title(self.look.title)
        if not self.look.axes:
            _plain([text for ax in self.figure.axes for text in ax.texts])

    def title(self, text: str) -> None:
        """Write a title above the figure or above the given axes."""
        style: dict[str, Any] = {"color": self.colours.text, "fontsize": self.colours.text_size + 1}
        if self.look.axes:
            self.look.axes[0].set_title(text, loc="left", parse_math=False, **style)
        else:
            self.figure.suptitle(text, x=0.01, ha="left", **style).set_parse_math(False)
        self._titled = True

    def heading(self, ax: Axes, text: str) -> None:
        """Write a left-aligned title as plain text, since names may contain dollar signs."""
        requested, size = self.look.title, self.colours.text_size + 1
        if requested is not None and not self._titled:
            text, self._titled = requested, True
        if text:
            ax.set_title(text, loc="left", color=self.colours.text, fontsize=size, parse_math=False)

    def axis_titles(self, ax: Axes, x: str, y: str) -> None:
        """Set the labels of both axes."""
        style: dict[str, Any] = {"color": self.colours.muted, "fontsize": self.colours.text_size}
        ax.set_xlabel(x, parse_math=False, **style)
        ax.set_ylabel(y, parse_math=False, **style)

    def value_axis(self, ax: Axes, low: float, high: float) -> None:
        """Set the ends of the vertical axis, unless others are requested."""
        ax.set_ylim(*self.look.span(low, high))

    def name_ticks(self, ax: Axes, labels: Sequence[str], *, axis: str = "x") -> None:
        """Set ticks at 0, 1, 2, ... with as many labels as have room, rotated if they would overlap."""
        texts = axis_labels(labels)
        line = 1.35 * self.colours.small_size / 72  # inches per line of text
        if axis == "y":
            room = 0.8 * self.height / line
            places = _every(len(texts), room)
            ax.set_yticks(places, [texts[i] for i in places])
            _plain(ax.get_yticklabels())
            return
        inches = INSIDE * self.width / self._columns
        places = _every(len(texts), inches / line)
        shown = [texts[i] for i in places]
        wide = self._inches_of(max(map(len, shown), default=0))
        options: dict[str, Any] = {}
        if wide > 0.9 * inches / max(len(texts), 1) * (len(texts) / max(len(shown), 1)):
            steep = len(shown) * 2 * line > inches
            options = {"rotation": 90} if steep else {
                "rotation": 40, "ha": "right", "rotation_mode": "anchor"}  # fmt: skip
        ax.set_xticks(places, shown, **options)
        _plain(ax.get_xticklabels())

    def _inches_of(self, characters: int) -> float:
        """Return the usual length of small text in inches."""
        return 0.58 * self.colours.small_size / 72 * characters

    def horizontal_grid(self, ax: Axes) -> None:
        """Draw faint horizontal grid lines."""
        ax.grid(axis="y", color=self.colours.line, linewidth=0.8 * self.colours.scale)

    def plain_log_ticks(self, ax: Axes) -> None:
        """Write plain numbers along logarithmic axes, with 2 and 5 between powers of ten if there is space.

        An axis that spans less than a factor of six has evenly spaced tick values.
        """
        for axis in (axis for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"):
            low, high = axis.get_view_interval()
            subs = (1, 2, 5) if high < 1000 * low else (1,)
            axis.set_major_locator(MaxNLocator(5) if high < 6 * low else LogLocator(subs=subs))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_locator(NullLocator())

    def legend(self, ax: Axes, handles: Sequence[Any] = (), *, dotted: str = "") -> None:
        """Add a frameless legend above the axes, or to their right if there are many entries.

        Args:
            handles: what to list, besides everything with a label.
            dotted: what dotted lines of any colour show.
        """
        found = [*ax.get_legend_handles_labels()[0], *handles]
        if dotted:
            found.append(self.line_of(dotted, dash="dotted"))
        texts, inches = [str(handle.get_label()) for handle in found], self.width / self._columns
        place: dict[str, Any] = {"fontsize": self.colours.small_size}
        if self.look.axes:
            place["loc"] = "best"
        elif len(texts) > MANY_ENTRIES:
            place |= {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": -(-len(texts) // MANY)}
        else:
            longest = max(map(len, texts), default=0) + HANDLE_CHARACTERS
            characters = inches * CHARACTERS_AN_INCH / self.colours.scale
            place |= {"loc": "lower left", "bbox_to_anchor": (0, 1)}
            place["ncols"] = max(1, min(4, int(characters / longest)))
        style = {"frameon": False, "labelcolor": self.colours.text, "borderaxespad": 0.2, "handlelength": 1.8}
        box = ax.legend(found, texts, **place, **style)
        _plain(box.get_texts())

    def colour(self, i: int) -> str:
        """Return the colour of network number `i`."""
        return self.colours.series[i % len(self.colours.series)]

    def series_style(self, i: int) -> dict[str, Any]:
        """Return colour and marker of network number `i`, as options of `Axes.plot`."""
        return {"color": self.colour(i), "marker": list(MARKERS.values())[i % 4]}

    def line_of(self, label: str, *, number: int | None = None, dash: str = "solid") -> Line2D:
        """Return an entry of a legend: a line in the colour of a network, or in grey."""
        colour = self.colours.muted if number is None else self.colour(number)
        style: Any = {"color": colour, "linestyle": LINE_STYLES[dash]}
        return Line2D([], [], label=label, **style)

    def draw_curve(
        self, ax: Axes, i: int, name: str, x: np.ndarray, bounds: tuple[np.ndarray, ...], *,
        size: int = 3, dash: str = "solid",
    ) -> None:  # fmt: skip
        """Draw the curve of network number `i` as a line with dots, over a band.

        Args:
            bounds: (value, low, high).
            dash: "solid", "dashed", "dotdash" or "dotted", by the quantity shown.
        """
        value, low, high = bounds
        style = {**self.series_style(i), "marker": "o", "linestyle": LINE_STYLES[dash]}
        ax.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
        scale = self.colours.scale
        ax.plot(x, value, label=name or "_", linewidth=1.7 * scale, markersize=size * scale, **style)

    def draw_matrix(
        self, ax: Axes, matrix: np.ndarray, rows: Sequence[str], span: tuple[float, float]
    ) -> None:
        """Draw a matrix as coloured cells with a name per row; NaN cells are hatched."""
        self.hatched(ax, -0.5, -0.5, matrix.shape[1], len(rows))
        ax.imshow(
            np.ma.masked_invalid(matrix), cmap=self.look.cmap, norm=self._scale(span), aspect="auto",
            interpolation="nearest", zorder=2,
        )  # fmt: skip
        ax.spines[:].set_visible(False)
        self.name_ticks(ax, rows, axis="y")

    def draw_strip(
        self, ax: Axes, image: np.ndarray, *, left: float, width: float, span: tuple[float, float]
    ) -> None:
        """Draw a rectangle of coloured cells between two edges, first row on top; NaN cells are hatched."""
        ax.imshow(
            np.ma.masked_invalid(image), cmap=self.look.cmap, norm=self._scale(span), aspect="auto",
            interpolation="nearest", extent=(left, left + width, 1, 0), zorder=2,
        )  # fmt: skip

    def _scale(self, span: tuple[float, float]) -> Normalize:
        return Normalize(*self.look.span(*span))

    def hatched(self, ax: Axes, left: float, bottom: float, width: float, height: float) -> None:
        """Draw the hatched background that marks dead units."""
        box = Rectangle((left, bottom), width, height, linewidth=0, zorder=1, **self._hatch)
        ax.add_patch(box)

    @property
    def _hatch(self) -> dict[str, Any]:
        return {"facecolor": self.colours.surface, "edgecolor": self.colours.hatch, "hatch": "/////"}

    def explain_hatch(self, text: str) -> None:
        """Say below the figure what hatched cells are; given axes have no room for that."""
        if not self.look.axes:
            self.figure.legend(
                [Patch(linewidth=0, **self._hatch)], [text], loc="outside lower left", frameon=False,
                labelcolor=self.colours.text, fontsize=self.colours.small_size, handlelength=1.8,
            )  # fmt: skip

    def colour_bar(
        self, axes: Any, span: tuple[float, float], title: str, *, values: np.ndarray | None = None
    ) -> None:
        """Add a slim colour scale with a title, and arrows at ends beyond which there are values.

        Args:
            span: the ends of the scale, unless others are requested.
            values: what the colours show; None: all values are within `span`.
        """
        scale, known = self._scale(span), np.array(span) if values is None else np.asarray(values)
        known = known[np.isfinite(known)]
        beyond = (bool((known < scale.vmin).any()), bool((known > scale.vmax).any()))
        extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        bar = self.figure.colorbar(
            ScalarMappable(scale, self.look.cmap), ax=axes, fraction=0.03, pad=0.015, extend=extend[beyond]
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=self.colours.muted, labelsize=self.colours.small_size, length=0)
        bar.set_label(title, color=self.colours.muted, fontsize=self.colours.text_size, parse_math=False)

    def draw_grid(self, grid: PixelGrid) -> None:
        """Draw images with labels in rows and columns of a single axes, one unit square per image."""
        texts = [f"{shorten(row.label, 22)}\n{row.detail}".strip() for row in grid.rows]
        beside = 0.3 + self._inches_of(max(len(line) for text in texts for line in text.split("\n")))
        room = (self.colours.column - beside) / (SMALLEST * self.colours.scale)
        shown = frame_choice(len(grid.columns), limit=max(1, int(min(room, len(grid.columns)))))
        count, rows = len(shown), len(grid.rows)
        side = min(0.72, (self.colours.column - beside) / (self.colours.scale * count) - 0.02)
        ax = self.panel(max(1.8, beside / self.colours.scale) + 0.72 * count, 0.45 + (side + 0.02) * rows)
        for i, row in enumerate(grid.rows):
            for j, image in enumerate(row.pixels()[shown]):
                ax.imshow(image, extent=_inside(j, i, image.shape), interpolation="nearest")
        ax.set(xlim=(0, count), ylim=(rows, 0), aspect="equal", anchor="E")
        ax.spines[:].set_visible(False)
        ax.xaxis.tick_top()
        labels = [grid.columns[place] for place in shown]
        columns = [fill(label, COLUMN_CHARACTERS, break_long_words=False) for label in labels]
        ax.set_xticks([j + 0.5 for j in range(count)], columns)
        ax.set_yticks([i + 0.5 for i in range(rows)], texts)
        _plain([*ax.get_xticklabels(), *ax.get_yticklabels()])


def _every(count: int, room: float) -> list[int]:
    """Return evenly spaced places from 0, as many as there is room for."""
    return list(range(0, count, max(1, int(np.ceil(count / max(room, 1.0))))))


def _plain(texts: Sequence[Text]) -> None:
    for text in texts:
        text.set_parse_math(False)


def _inside(x: float, y: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return the extent of an image in the unit square at (x, y), keeping its proportions."""
    high, wide = (0.92 * size / max(shape[:2]) for size in shape[:2])
    left, top = x + (1 - wide) / 2, y + (1 - high) / 2
    return left, left + wide, top + high, top
