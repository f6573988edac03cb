"""The look of matplotlib axes: spines, ticks, and numbers along logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from invariscope.plots.shared.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Share of a vertical axis that its label may take.
LABEL = 0.94
_CHARACTER = 0.54  # width of a character relative to the font size, on average


def wrapped(text: str, inches: float, style: Mapping[str, Any]) -> str:
    """Return a label in as many lines as it takes not to be longer than its axis.

    >>> wrapped("Normalized variance (Quiroga 2019)", 1.5, {"fontsize": 8})
    'Normalized variance\\n(Quiroga 2019)'
    """
    most = int(inches / (_CHARACTER * style["fontsize"] / 72))
    return fill(text, max(12, most), break_long_words=False, break_on_hyphens=False)


def calm(ax: Axes, colours: Theme) -> None:
    """Show only the left and lower spine, without tick lines, in the colours of the theme."""
    ax.set_facecolor(colours.surface)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.line)
    ax.tick_params(colors=colours.muted, labelsize=colours.small_size, length=0)
    ax.set_axisbelow(True)


def plain_log_ticks(ax: Axes) -> None:
    """Write plain numbers along logarithmic axes, with 2 and 5 between powers of ten if there is space.

    An axis that spans less than a factor of six has evenly spaced tick values.
    """
    for axis in (axis for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"):
        low, high = axis.get_view_interval()
        subs = (1, 2, 5) if high < 1000 * low else (1,)
        axis.set_major_locator(MaxNLocator(5) if high < 6 * low else LogLocator(subs=subs))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
