"""Draw on matplotlib figures in the library's style, without pyplot: no global state, no windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import StrMethodFormatter

from invariscope.common.wording import shorten
from invariscope.plots.shared.axes import LABEL, calm, plain_log_ticks, wrapped
from invariscope.plots.shared.legends import draw_below, draw_inside, draw_legend, plain
from invariscope.plots.shared.look import Look
from invariscope.plots.shared.parts import SHARE, Bar, Parts, raise_heading
from invariscope.plots.shared.readable import ReadableFigure
from invariscope.plots.shared.theme import LINE_STYLES, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.grid import PixelGrid

# Shares of a figure's width and height that its axes take, if there are no colour bars.
INSIDE, UPRIGHT = 0.84, 0.8
_MODEST = 1e-3, 1e5  # values that are written without an exponent
# Height of curves in a narrow column, relative to the usual proportions.
FLAT = 0.78


class Canvas:
    """A figure, or the part of one that shows one of several results.

    Args:
        look: the options that every plot takes.
        parts: the figure's parts, if this is one of them.
        number: number of this part.

    Attributes:
        figure: the figure, or the one to which the given axes belong.
        colours: the colours and sizes of the theme.
        columns: number of panels beside each other.
        number: number of this part.
    """

    def __init__(self, look: Look, parts: Parts | None = None, number: int = 0) -> None:
        self.look, self.colours = look, look.colours
        self._parts, self.number = parts, number
        self.figure: Any = look.axes[0].figure if look.axes else parts.figure if parts else self._new()
        self.width = self.height = 0.0  # in inches, as soon as there are panels
        self.room = 0.0  # inches for a heading, if less than the width
        self.indent = 0.0  # where a heading begins, relative to the axes' width
        self.columns, self._rows, self._titled, self._grown = 1, 1, False, 0.0
        self._notes: list[Any] = []
        self._shared: Parts | None = None
        self._axes: Any = None

    def _new(self) -> ReadableFigure:
        return ReadableFigure(layout="constrained", facecolor=self.colours.surface)

    def panel(self, width: float, height: float, *, rows: int = 0) -> Axes:
        """Return the axes of a plot with a single panel.

        Args:
            width, height: size of the figure in inches, in the light theme.
            rows: number of rows of a matrix, if there is one: its height is then kept in narrow columns.
        """
        return self.panels(width, height, flat=not rows)[0, 0]

    def panels(
        self, width: float, height: float, *, rows: int = 1, columns: int = 1, flat: bool = False
    ) -> np.ndarray:
        """Return the 2D array of axes of a plot; the size is that of the figure in inches.

        Args:
            flat: whether panels are lower if the theme limits the width.
        Raises:
            ValueError: other numbers of axes were given to draw into.
        """
        given, self.columns, self._rows = self.look.axes, columns, rows
        if given:
            if len(given) != rows * columns:
                raise ValueError(f"ax= must have {rows * columns} axes, one per panel; got {len(given)}")
            axes = np.array(given, dtype=object).reshape(rows, columns)
            self.width, self.height = (float(side) for side in self.figure.bbox.size / self.figure.dpi)
            place = given[0].get_position()
            self.width *= float(place.width) * columns / INSIDE
            self.height *= float(place.height) * rows / UPRIGHT
        else:
            low = FLAT if flat and self.narrow else 1.0
            size = self.colours.scale * width, low * self.colours.scale * height
            axes = self._subplots(size, rows, columns)
        for ax in axes.flat:
            calm(ax, self.colours)
        self._axes = axes
        return axes

    @property
    def narrow(self) -> bool:
        """Whether the theme limits the width of figures."""
        return bool(np.isfinite(self.colours.column))

    @property
    def page(self) -> float:
        """Largest height of this part of a figure in inches."""
        if self.look.axes or self.look.figsize:
            return float("inf")
        share = SHARE / self._parts.count if self._parts is not None else 1.0
        return share * self.colours.tallest

    def _subplots(self, size: tuple[float, float], rows: int, columns: int) -> np.ndarray:
        """Return new axes; panels lie below each other if the row is much wider than the theme allows."""
        width, height = size
        below = rows == 1 and columns > 1 and width > 1.5 * self.colours.column
        if self._parts is not None:
            below = below and columns > 2
            shape = (columns, 1) if below else (rows, columns)
            size = width, height * (columns if below else 1)
            axes, *own = self._parts.place(self.number, size, *shape)
            (self.width, self.height), (self._rows, self.columns) = own, shape
            return axes.reshape(rows, columns)
        own = min(width, self.colours.column), height * (FLAT * columns if below else 1)
        self.width, self.height = self.look.figsize or (own[0], min(own[1], self.colours.tallest))
        self.columns, self._rows = (1, columns) if below else (columns, rows)
        shape = (columns, 1) if below else (rows, columns)
        return self.figure.subplots(*shape, squeeze=False).reshape(rows, columns)

    def grow(self, inches: float) -> None:
        """Make a new figure higher by the room that legends or long labels take."""
        if self._parts is not None:
            self._parts.grow(self.number, inches)
        else:
            self._grown += inches

    def beside(self, count: int) -> list[Canvas]:
        """Return a canvas for each of several results, which share the figure, or divide the given axes."""
        given = self.look.axes
        if given:
            if len(given) % count:
                raise ValueError(f"ax= must have the same number of axes for each of {count} results")
            each = len(given) // count
            return [Canvas(replace(self.look, ax=given[i * each : (i + 1) * each])) for i in range(count)]
        self._shared = Parts(self.figure, self.look, count)
        own = replace(self.look, title=None)
        return [Canvas(own, self._shared, number) for number in range(count)]

    def finish(self) -> None:
        """Add the title, unless the plot has put it at its place, and what stands below the figure.

        No text of a new figure is a formula.
        """
        if self.look.title and not self._titled:
            self.title(self.look.title)
        if self._shared is not None:
            self._shared.finish()
        elif not self.look.axes:
            self.grow(draw_below(self.figure, self._notes, self.width, self.colours))
            size = self.width, min(self.height + self._grown, self.colours.tallest)
            self.figure.set_size_inches(*(self.look.figsize or size))
        if not self.look.axes:
            plain([text for ax in self.figure.axes for text in ax.texts])

    def title(self, text: str) -> None:
        """Write a title above the figure or above the given axes."""
        style: dict[str, Any] = {"color": self.colours.text, "fontsize": self.colours.text_size + 1}
        if self.look.axes:
            self.look.axes[0].set_title(text, loc="left", parse_math=False, **style)
        else:
            self.figure.suptitle(text, x=0.01, ha="left", **style).set_parse_math(False)
        self._titled = True

    def heading(self, ax: Axes, text: str, *, columns: int = 1) -> None:
        """Write a left-aligned title as plain text, since names may contain dollar signs.

        Args:
            columns: number of columns of panels above which it may extend.
        """
        requested, size = self.look.title, self.colours.text_size + 1
        if requested is not None and not self._titled:
            text, self._titled = requested, True
        else:
            inches = self.room or 0.78 * self.width * columns / self.columns
            text = shorten(text, max(8, int(inches / (0.6 * (self.colours.text_size + 1) / 72))))
        if text:
            style: dict[str, Any] = {"color": self.colours.text, "fontsize": size, "parse_math": False}
            ax.set_title(text, loc="left", x=self.indent, **style)

    def name(self, model: str) -> None:
        """Write the model's name above the part of a figure, unless the plot has done so."""
        if self._axes is None:
            return
        titles = [ax.get_title(loc="left") for ax in self._axes[0]]
        if not titles[0].startswith(model[:8]):
            columns = 1 if any(titles[1:]) else self.columns
            text = f"{model} · {titles[0]}" if titles[0] else model
            self.heading(self._axes[0, 0], text, columns=columns)

    def axis_titles(self, ax: Axes, x: str, y: str) -> None:
        """Set the labels of both axes."""
        style: dict[str, Any] = {"color": self.colours.muted, "fontsize": self.colours.text_size}
        x_text, y_text = wrapped(x, self.room_of("x"), style), wrapped(y, LABEL * self.room_of("y"), style)
        ax.set_xlabel(x_text, parse_math=False, **style)
        ax.set_ylabel(y_text, parse_math=False, **style)

    def value_axis(self, ax: Axes, low: float | None = None, high: float | None = None) -> None:
        """Set the ends of the vertical axis, unless others are requested; None: as matplotlib chooses.

        Raises:
            ValueError: the requested ends are impossible on this axis.
        """
        ends = self.look.ends(low, high)
        positive = ax.get_yscale() == "log"
        if positive and any(end is not None and end <= 0 for end in ends):
            raise ValueError(f"vmin= must be greater than 0 on a logarithmic axis; got {self.look.vmin!r}")
        now = ax.get_ylim()
        self.look.span(now[0] if low is None else low, now[1] if high is None else high)
        ax.set_ylim(*ends)
        if not positive and not _MODEST[0] <= max(map(abs, ax.get_ylim())) < _MODEST[1]:
            # A common factor of all ticks would be written over the heading.
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))

    def name_ticks(self, ax: Axes, labels: Sequence[str], *, axis: str = "x") -> None:
        """Set ticks at 0, 1, 2, ... with as many labels as have room, rotated if they would overlap.

        Lines separate the blocks of deep networks, whose names replace those of layers without room.
        """
        from invariscope.plots.shared.names import name_axis

        name_axis(self, ax, labels, axis)

    def room_of(self, axis: str) -> float:
        """Return the usual length of an axis of one panel in inches."""
        if axis == "y":
            return UPRIGHT * self.height / self._rows
        return INSIDE * self.width / self.columns

    def inches_of(self, characters: int) -> float:
        """Return the usual length of small text in inches."""
        return 0.58 * self.colours.small_size / 72 * characters

    def horizontal_grid(self, ax: Axes) -> None:
        """Draw faint horizontal grid lines."""
        ax.grid(axis="y", color=self.colours.line, linewidth=0.8 * self.colours.scale)

    def plain_log_ticks(self, ax: Axes) -> None:
        """Write plain numbers along logarithmic axes."""
        plain_log_ticks(ax)

    def legend(self, ax: Axes, handles: Sequence[Any] = (), *, dotted: str = "") -> None:
        """Add a frameless legend above the axes, or to their right if there are many entries and room.

        Args:
            handles: what to list, besides everything with a label.
            dotted: what dotted lines of any colour show.
        """
        found = [*ax.get_legend_handles_labels()[0], *handles]
        if dotted:
            found.append(self.line_of(dotted, dash="dotted"))
        if self._parts is not None:
            self._parts.legends.append((ax, found))
        elif self.look.axes:
            draw_inside(ax, found, self.colours)
        else:
            taken = draw_legend(ax, found, INSIDE * self.width / self.columns, self.colours)
            raise_heading(ax, taken, self.colours)
            self.grow(taken)

    def note(self, handle: Any) -> None:
        """List something below the figure; given axes have no room for that."""
        (self._notes if self._parts is None else self._parts.notes).append(handle)

    def say(self, text: str) -> None:
        """Write a remark below the figure."""
        self.note(Line2D([], [], label=text, linestyle=""))

    def colour(self, i: int) -> str:
        """Return the colour of network number `i`."""
        return self.colours.series[i % len(self.colours.series)]

    def ordered(self, i: int, count: int) -> str:
        """Return colour number `i` of a sequence, such as the layers of one network from first to last."""
        low, high = (0.3, 1.0) if self.colours.name == "dark" else (0.0, 0.85)
        share = low + (high - low) * i / max(count - 1, 1)
        return to_hex(colormaps[self.look.cmap](share))

    def series_style(self, i: int) -> dict[str, Any]:
        """Return colour and marker of network number `i`, as options of `Axes.plot`."""
        return {"color": self.colour(i), "marker": list(MARKERS.values())[i % 4]}

    def line_of(self, label: str, *, number: int | None = None, dash: str = "solid") -> Line2D:
        """Return an entry of a legend: a line in the colour of a network, or in grey."""
        colour = self.colours.muted if number is None else self.colour(number)
        style: Any = {"color": colour, "linestyle": LINE_STYLES[dash], "markersize": 4 * self.colours.scale}
        style |= {} if number is None else {"marker": self.series_style(number)["marker"]}
        return Line2D([], [], label=label, **style)

    def mark_of(self, label: str, marker: str) -> Line2D:
        """Return an entry of a legend: a hollow marker in grey."""
        style: Any = {"color": self.colours.muted, "marker": marker, "markersize": 5.0 * self.colours.scale}
        return Line2D([], [], label=label, linestyle="", markerfacecolor="none", **style)

    def draw_missing(self, ax: Axes, x: np.ndarray, colour: str) -> None:
        """Draw crosses at the lower end of the axis, for layers without a value."""
        if len(x):
            style: Any = {"color": colour, "marker": "x", "linestyle": "", "clip_on": False}
            style |= {"markersize": 4.5 * self.colours.scale, "transform": ax.get_xaxis_transform()}
            ax.plot(x, np.full(len(x), 0.02), **style)

    def draw_curve(
        self, ax: Axes, i: int, name: str, x: np.ndarray, bounds: tuple[np.ndarray, ...], *,
        size: int = 3, dash: str = "solid", colour: str = "",
    ) -> None:  # fmt: skip
        """Draw the curve of network number `i` as a line with dots, over a band.

        Args:
            bounds: (value, low, high).
            dash: "solid", "dashed", "dotdash" or "dotted", by the quantity shown.
            colour: another colour than that of the network.
        """
        value, low, high = bounds
        style: Any = {**self.series_style(i), "linestyle": LINE_STYLES[dash]}
        style |= {"color": colour, "marker": "o"} if colour else {}
        ax.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
        scale = self.colours.scale
        ax.plot(x, value, label=name or "_", linewidth=1.7 * scale, markersize=size * scale, **style)

    def draw_matrix(
        self, ax: Axes, matrix: np.ndarray, rows: Sequence[str], span: tuple[float, float]
    ) -> None:
        """Draw a matrix as coloured cells with a name per row; NaN cells are hatched."""
        self.hatched(ax, -0.5, -0.5, matrix.shape[1], len(rows))
        if not np.isfinite(matrix).all():
            self.explain_hatch("no value")
        ax.imshow(
            np.ma.masked_invalid(matrix), cmap=self.look.cmap, norm=self._scale(span), aspect="auto",
            interpolation="none", zorder=2,
        )  # fmt: skip
        ax.spines[:].set_visible(False)
        self.name_ticks(ax, rows, axis="y")

    def draw_strip(
        self, ax: Axes, image: np.ndarray, *, left: float, width: float, span: tuple[float, float]
    ) -> None:
        """Draw a rectangle of coloured cells between two edges, first row on top; NaN cells are hatched."""
        ax.imshow(
            np.ma.masked_invalid(image), cmap=self.look.cmap, norm=self._scale(span), aspect="auto",
            interpolation="none", extent=(left, left + width, 1, 0), zorder=2,
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
        """Say below the figure what hatched cells are."""
        self.note(Patch(linewidth=0, label=text, **self._hatch))

    def colour_bar(
        self, axes: Any, span: tuple[float, float], title: str, *, values: np.ndarray | None = None,
        null: float = float("nan"),
    ) -> None:  # fmt: skip
        """Add a slim colour scale with a title, and arrows at ends beyond which there are values.

        Args:
            span: the ends of the scale, unless others are requested.
            values: what the colours show; None: all values are within `span`.
            null: value of the null, marked by a line across the scale; NaN for none.
        """
        shown = np.array(span) if values is None else np.asarray(values)
        room = LABEL * UPRIGHT * self.height
        text = wrapped(title, room, {"fontsize": self.colours.text_size}) if self._parts is None else title
        bar = Bar(self._scale(span), text, shown, null)
        if bar.has_null:
            self.note(Line2D([], [], label="null", color=self.colour(1), linewidth=2.2 * self.colours.scale))
        if self._parts is not None:
            self._parts.bars.append(bar)
        else:
            bar.draw(self.figure, self.look, ax=axes, fraction=0.03, pad=0.015)

    def draw_grid(self, grid: PixelGrid) -> None:
        """Draw images with labels in rows and columns of a single axes, one unit square per image."""
        from invariscope.plots.shared.images import draw_grid

        draw_grid(self, grid)
