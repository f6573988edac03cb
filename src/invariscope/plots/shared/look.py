"""How a figure looks, apart from its numbers."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.checks import shown
from invariscope.common.registry import unknown
from invariscope.plots.shared.theme import COLOUR_MAP, Theme, get_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Limits of the size of a figure in inches, and of values that matplotlib can place.
SMALLEST, LARGEST, _HUGE = 1.0, 100.0, 1e300


@dataclass(frozen=True)
class Look:
    """Options that every plot takes.

    Args:
        theme: "light", "dark", or "paper": 3.4 inches wide, the width of a column, with text of 8 points.
        ax: the axes to draw into, or a sequence of as many axes as the plot has panels; None: a new figure.
        figsize: width and height of a new figure in inches; None: what suits the plot.
        title: title of the figure; None: the plot's own; "": none.
        vmin, vmax: ends of the colour scale or, for plots without one, of the value axis; None: all values
            are within. The colour scale has an arrow at an end beyond which there are values.
        cmap: name of a matplotlib colour map.
    """

    theme: str = "light"
    ax: Axes | Sequence[Axes] | None = None
    figsize: tuple[float, float] | None = None
    title: str | None = None
    vmin: float | None = None
    vmax: float | None = None
    cmap: str = COLOUR_MAP

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: an unknown theme or colour map, or sizes or ends that are impossible.
            TypeError: a name or a title that is not text, or `ax` is neither axes nor a sequence of axes.
        """
        self._refuse_other_than_text()
        get_theme(self.theme)
        self._refuse_wrong_axes()
        self._refuse_wrong_size()
        self._refuse_wrong_ends()
        from matplotlib import colormaps

        if self.cmap not in colormaps:
            raise unknown("colour map", self.cmap, colormaps)

    def _refuse_other_than_text(self) -> None:
        for name in ("theme", "title", "cmap"):
            value = getattr(self, name)
            if not (isinstance(value, str) or (name == "title" and value is None)):
                raise TypeError(f"{name}= must be text; got {shown(value)}")

    def _refuse_wrong_axes(self) -> None:
        wrong = [ax for ax in self.axes if not hasattr(ax, "get_xlim")]
        if wrong or (self.ax is not None and not self.axes):
            raise TypeError(
                f"ax= must be matplotlib axes, or a sequence of them; got {_kind_of(self.ax, wrong)}"
            )
        figures = {id(ax.figure) for ax in self.axes}
        if len(figures) > 1:
            raise ValueError("ax= must be axes of one figure; they belong to several")

    def _refuse_wrong_size(self) -> None:
        size = self.figsize
        if size is not None and not (_pair(size) and all(SMALLEST <= side <= LARGEST for side in size)):
            raise ValueError(
                "figsize= must be (width, height) in inches, such as (3.4, 2.4), each from "
                f"{SMALLEST:g} to {LARGEST:g}; got {shown(size)}"
            )
        if size is not None and self.ax is not None:
            raise ValueError("figsize= belongs to a new figure, ax= to an existing one: give one of them")

    def _refuse_wrong_ends(self) -> None:
        ends = (self.vmin, self.vmax)
        if any(end is not None and not (_number(end) and abs(end) < _HUGE) for end in ends):
            raise ValueError(
                f"vmin= and vmax= must be finite numbers; got {shown(self.vmin)} and {shown(self.vmax)}"
            )
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise ValueError(f"vmin= must be less than vmax=; got {self.vmin!r} and {self.vmax!r}")

    @property
    def axes(self) -> list[Any]:
        """The axes to draw into; empty for a new figure."""
        return [] if self.ax is None else list(np.asarray(self.ax, dtype=object).flat)

    @property
    def colours(self) -> Theme:
        """The colours and sizes of the theme."""
        return get_theme(self.theme)

    def ends(self, low: float | None, high: float | None) -> tuple[float | None, float | None]:
        """Return the given ends of a scale, or those requested instead."""
        return low if self.vmin is None else self.vmin, high if self.vmax is None else self.vmax

    def span(self, low: float, high: float) -> tuple[float, float]:
        """Return the given ends of a scale, or those requested instead.

        Raises:
            ValueError: a requested end lies beyond the other one.
        """
        ends = low if self.vmin is None else self.vmin, high if self.vmax is None else self.vmax
        if ends[0] > ends[1] or (ends[0] == ends[1] and low < high):
            given, missing = ("vmin", "vmax") if self.vmax is None else ("vmax", "vmin")
            raise ValueError(
                f"{given}={getattr(self, given)!r} lies beyond all values, which are from {low:.4g} to "
                f"{high:.4g}: give {missing}= too"
            )
        return ends


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _pair(size: Any) -> bool:
    return isinstance(size, list | tuple | np.ndarray) and len(size) == 2 and all(map(_number, size))


def _kind_of(ax: Any, wrong: list[Any]) -> str:
    return type(ax if np.ndim(ax) == 0 else wrong[0]).__name__ if wrong else "none"
