"""Several results in one figure: panels of equal size on a common grid, with one scale and one legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import FixedFormatter

from invariscope.plots.shared.legends import draw_below, draw_legend
from invariscope.plots.shared.look import Look
from invariscope.plots.shared.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 16.0  # inches of a figure, if the theme sets no limit
# Share of a page for the panels of several results, and the lowest panels in inches.
SHARE, LOWEST = 0.93, 0.6
# Inches: height of a horizontal colour scale, and of its numbers and title.
_BAR, _BAR_TEXTS = 0.07, 0.4
EXTENDS = {
    (False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"
}  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """A colour scale with its title, and the values that its colours show."""

    scale: Normalize
    title: str
    values: np.ndarray
    null: float = float("nan")

    @property
    def extend(self) -> str:
        """The ends beyond which there are values, in matplotlib's words."""
        known = self.values[np.isfinite(self.values)]
        low, high = self.scale.vmin, self.scale.vmax
        return EXTENDS[bool((known < low).any()), bool((known > high).any())]

    def draw(self, figure: Figure, look: Look, **place: Any) -> None:
        """Draw the scale, with a line at the null if it has one."""
        colours = look.colours
        mappable = ScalarMappable(self.scale, look.cmap)
        bar = figure.colorbar(mappable, extend=self.extend, **place)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(colors=colours.muted, labelsize=colours.small_size, length=0)
        style: dict[str, Any] = {"color": colours.muted, "fontsize": colours.text_size}
        bar.set_label(self.title, parse_math=False, **style)
        if self.has_null:
            line = bar.ax.axvline if place.get("orientation") == "horizontal" else bar.ax.axhline
            line(self.null, color=colours.series[1], linewidth=2.2 * colours.scale)

    @property
    def has_null(self) -> bool:
        """Whether the null lies on the scale."""
        low, high = self.scale.vmin, self.scale.vmax
        return low is not None and high is not None and bool(low <= self.null <= high)


class Parts:
    """The parts of a figure, one per result: their axes, and the scales and legends that they share.

    Args:
        figure: the figure.
        look: the options that every plot takes.
        count: number of results.
    """

    def __init__(self, figure: Figure, look: Look, count: int) -> None:
        self.figure, self.look, self.count = figure, look, count
        self.across, self.width = 0, 0.0
        self.axes: dict[int, Any] = {}  # arrays of axes
        self.grid: Any = None
        self.heights: dict[int, float] = {}
        self.bars: list[Bar] = []
        self.legends: list[tuple[Axes, list[Any]]] = []
        self.notes: list[Any] = []

    @property
    def down(self) -> int:
        """Number of rows of results."""
        return -(-self.count // self.across)

    def place(
        self, number: int, size: tuple[float, float], rows: int, columns: int
    ) -> tuple[np.ndarray, float, float]:
        """Return new axes of a part, and the width and height that it may take.

        Parts lie beside each other as far as the width of a figure allows, and otherwise below each other.

        Raises:
            ValueError: the panels would be too low to read on a page of the theme.
        """
        colours, (width, height) = self.look.colours, size
        most = min(WIDEST, colours.column)
        if not self.across:
            self.across = max(1, min(self.count, int(most // width)))
        page = SHARE * colours.tallest / self.down
        own = min(width, most / self.across), min(height, page)
        if self.look.figsize:
            own = self.look.figsize[0] / self.across, self.look.figsize[1] / self.down
        elif page < LOWEST * rows:
            self._refuse(rows)
        self.width = max(self.width, own[0])
        axes = np.array([self.figure.add_subplot() for _ in range(rows * columns)], dtype=object)
        self.axes[number] = axes.reshape(rows, columns)
        self.heights[number] = own[1]
        return self.axes[number], *own

    def _refuse(self, rows: int) -> None:
        colours = self.look.colours
        most = int(SHARE * colours.tallest / (LOWEST * rows)) * self.across
        panels = f"with {rows} panels each " if rows > 1 else ""
        raise ValueError(
            f"{self.count} results {panels}do not fit on a page of the theme {colours.name!r}, which is "
            f"{colours.tallest:g} inches high: give at most {most} results, "
            "figsize=(width, height) or another theme="
        )

    def grow(self, number: int, inches: float) -> None:
        """Give a part more height, for long labels."""
        self.heights[number] += inches

    def finish(self) -> None:
        """Lay out all parts, and add what they share."""
        rows = [
            max(h for number, h in self.heights.items() if number // self.across == row)
            for row in range(self.down)
        ]
        extra = self._draw_legends()
        scales = self._scales()
        self._lay(rows, scales)
        for row, bar in enumerate(scales):
            ax = self.figure.add_subplot(self.grid[row - len(scales), :])
            bar.draw(self.figure, self.look, cax=ax, orientation="horizontal")
            extra += _BAR + _BAR_TEXTS
        self._share_labels()
        extra += draw_below(self.figure, self.notes, self.width * self.across, self.look.colours)
        size = self.across * self.width, min(sum(rows) + extra, self.look.colours.tallest)
        self.figure.set_size_inches(*(self.look.figsize or size))

    def _lay(self, heights: Sequence[float], scales: Sequence[Bar]) -> None:
        """Put all panels into one grid, so that they line up; parts of different shape get a grid each."""
        shapes = {axes.shape for axes in self.axes.values()}
        rows, columns = shapes.pop() if len(shapes) == 1 else (1, 1)
        ratios = [height / rows for height in heights for _ in range(rows)] + [_BAR] * len(scales)
        self.grid = self.figure.add_gridspec(len(ratios), self.across * columns, height_ratios=ratios)
        for number, axes in self.axes.items():
            down, across = divmod(number, self.across)
            if axes.shape == (rows, columns):
                for (i, j), ax in np.ndenumerate(axes):
                    ax.set_subplotspec(self.grid[down * rows + i, across * columns + j])
                continue
            inner = self.grid[down, across].subgridspec(*axes.shape)
            for place, ax in np.ndenumerate(axes):
                ax.set_subplotspec(inner[place])

    def _scales(self) -> list[Bar]:
        """Return the distinct scales, with the values and the median null of all parts."""
        found: dict[tuple[str, float, float], list[Bar]] = {}
        for bar in self.bars:
            found.setdefault((bar.title, float(bar.scale.vmin or 0), float(bar.scale.vmax or 0)), []).append(
                bar
            )
        return [
            Bar(
                bars[0].scale,
                bars[0].title,
                np.concatenate([bar.values.ravel() for bar in bars]),
                _middle(bars),
            )
            for bars in found.values()
        ]

    def _draw_legends(self) -> float:
        """Draw one legend if all parts have the same, otherwise one each; return the height added."""
        texts = {tuple(str(h.get_label()) for h in handles) for _, handles in self.legends}
        if len(texts) == 1:
            self.notes += self.legends[0][1]
            return 0.0
        colours, inches = self.look.colours, 0.84 * self.width
        taken = [draw_legend(ax, handles, inches, colours) for ax, handles in self.legends]
        for (ax, _), height in zip(self.legends, taken, strict=True):
            raise_heading(ax, height, colours)
        return self.down * max(taken, default=0.0)

    def _share_labels(self) -> None:
        """Write labels that repeat from part to part only below the last row and left of the first column."""
        for number, axes in self.axes.items():
            left = self.axes.get(number - 1)
            for place, ax in np.ndenumerate(axes):
                below = self._below(number, place)
                if below is not None and _alike(ax.xaxis, below.xaxis):
                    ax.tick_params(labelbottom=False)
                    ax.set_xlabel("")
                if number % self.across and left is not None and left.shape == axes.shape:
                    _hide_like(ax, left[place])
                if place[1]:
                    _hide_like(ax, axes[place[0], place[1] - 1])
        if self.across == 1 and self.count > 1:
            self._share_titles()

    def _below(self, number: int, place: tuple[int, ...]) -> Axes | None:
        """Return the panel below one of a part, in the same part or in the one below; None if none."""
        axes, under = self.axes[number], self.axes.get(number + self.across)
        if place[0] + 1 < len(axes):
            return axes[place[0] + 1, place[1]]
        return None if under is None or under.shape != axes.shape else under[0, place[1]]

    def _share_titles(self) -> None:
        """Write the title of the vertical axis once, since panels are lower than a title is long."""
        first = [ax for axes in self.axes.values() for ax in axes[:, 0]]
        text = first[0].get_ylabel()
        whole = " ".join(text.split())
        if text and all(ax.get_ylabel() == text for ax in first):
            for ax in first:
                ax.set_ylabel("")
            colours = self.look.colours
            title = self.figure.supylabel(whole, color=colours.muted, fontsize=colours.text_size)
            title.set_parse_math(False)


def _middle(bars: Sequence[Bar]) -> float:
    known = [bar.null for bar in bars if np.isfinite(bar.null)]
    return float(np.median(known)) if known else float("nan")


def raise_heading(ax: Axes, inches: float, colours: Theme) -> None:
    """Move a left-aligned title above a legend of that height."""
    text = ax.get_title(loc="left")
    if text and inches:
        style: dict[str, Any] = {"color": colours.text, "fontsize": colours.text_size + 1}
        ax.set_title(text, loc="left", pad=6 + 72 * inches, parse_math=False, **style)


def _hide_like(ax: Axes, left: Axes) -> None:
    if _alike(ax.yaxis, left.yaxis):
        ax.tick_params(labelleft=False)
    if ax.get_ylabel() == left.get_ylabel():
        ax.set_ylabel("")


def _alike(one: Any, other: Any) -> bool:
    """Whether two axes show the same range with the same labels."""
    pair: Sequence[Any] = (one, other)
    if one.get_label_text() != other.get_label_text() or one.get_scale() != other.get_scale():
        return False
    if not np.allclose(one.get_view_interval(), other.get_view_interval()):
        return False
    fixed = [isinstance(axis.get_major_formatter(), FixedFormatter) for axis in pair]
    texts = [axis.get_major_formatter().seq if f else None for axis, f in zip(pair, fixed, strict=True)]
    return fixed[0] == fixed[1] and list(texts[0] or ()) == list(texts[1] or ())
