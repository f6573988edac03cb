"""How a figure looks, apart from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.plots.shared.theme import COLOUR_MAP, Theme, get_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
            TypeError: `ax` is neither axes nor a sequence of axes.
        """
        get_theme(self.theme)
        self._refuse_wrong_axes()
        self._refuse_wrong_numbers()
        from matplotlib import colormaps

        from invariscope.common.registry import unknown

        if self.cmap not in colormaps:
            raise unknown("colour map", self.cmap, colormaps)

    def _refuse_wrong_axes(self) -> None:
        wrong = next((ax for ax in self.axes if not hasattr(ax, "get_xlim")), None)
        if wrong is not None:
            raise TypeError(f"ax= must be matplotlib axes, or a sequence of them; got {type(wrong).__name__}")

    def _refuse_wrong_numbers(self) -> None:
        from math import isfinite

        size, ends = self.figsize, (self.vmin, self.vmax)
        if size is not None and not (_pair(size) and all(isfinite(side) and side > 0 for side in size)):
            raise ValueError(f"figsize= must be (width, height) in inches, such as (3.4, 2.4); got {size!r}")
        if size is not None and self.ax is not None:
            raise ValueError("figsize= belongs to a new figure, ax= to an existing one: give one of them")
        if any(end is not None and not (_number(end) and isfinite(end)) for end in ends):
            raise ValueError(f"vmin= and vmax= must be finite numbers; got {self.vmin!r} and {self.vmax!r}")
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise ValueError(f"vmin= must be less than vmax=; got {self.vmin!r} and {self.vmax!r}")

    @property
    def axes(self) -> list[Any]:
        """The axes to draw into; empty for a new figure."""
        import numpy as np

        return [] if self.ax is None else list(np.asarray(self.ax, dtype=object).flat)

    @property
    def colours(self) -> Theme:
        """The colours and sizes of the theme."""
        return get_theme(self.theme)

    def span(self, low: float, high: float) -> tuple[float, float]:
        """Return the given ends of a scale, or those requested instead."""
        return low if self.vmin is None else self.vmin, high if self.vmax is None else self.vmax


def _number(value: Any) -> bool:
    return hasattr(value, "__float__") and not hasattr(value, "__len__")


def _pair(size: Any) -> bool:
    return hasattr(size, "__len__") and len(size) == 2 and all(map(_number, size))
