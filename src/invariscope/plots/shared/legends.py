"""Legends above the axes, beside them, or below the figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from invariscope.common.wording import shorten_all
from invariscope.plots.shared.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Characters per inch of small text in the light theme; the line before a text takes as much as some of them.
CHARACTERS_AN_INCH, HANDLE_CHARACTERS = 12.5, 6
# Largest numbers of entries above axes and in a column beside them, and the width that a column needs.
MANY_ENTRIES, MANY, WIDE = 8, 24, 4.5
_SPACING = 0.25  # between lines, relative to the size of the text


def lines(count: int, colours: Theme) -> float:
    """Return the height of some lines of a legend in inches."""
    return count * (1.15 + _SPACING) * colours.small_size / 72


def draw_legend(ax: Axes, handles: Sequence[Any], inches: float, colours: Theme) -> float:
    """Add a frameless legend above axes that are so many inches wide, or beside them for many entries.

    Returns:
        The height that it takes in inches.
    """
    if not handles:
        return 0.0
    if len(handles) > MANY_ENTRIES and inches > WIDE:
        place = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": -(-len(handles) // MANY)}
        ax.legend(handles, _texts(handles, inches / 3, colours), **place, **_style(colours))
        rows = 0
    else:
        texts = _texts(handles, inches, colours)
        columns = _columns(texts, inches, colours)
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": columns}
        ax.legend(handles, texts, **place, **_style(colours))
        rows = -(-len(texts) // columns)
    box: Any = ax.get_legend()
    plain(box.get_texts())
    return lines(rows, colours) + (0.04 if rows else 0.0)


def draw_inside(ax: Axes, handles: Sequence[Any], colours: Theme) -> None:
    """Add a legend where it hides least, for given axes, beside which there may be no room."""
    ax.legend(handles, [str(h.get_label()) for h in handles], loc="best", **_style(colours))
    box: Any = ax.get_legend()
    plain(box.get_texts())


def draw_below(figure: Figure, handles: Sequence[Any], inches: float, colours: Theme) -> float:
    """Add a legend below a figure, once per text, and return its height in inches."""
    distinct = list({str(handle.get_label()): handle for handle in handles}.values())
    if not distinct:
        return 0.0
    texts = _texts(distinct, inches, colours)
    columns = _columns(texts, inches, colours)
    box = figure.legend(distinct, texts, loc="outside lower left", ncols=columns, **_style(colours))
    plain(box.get_texts())
    return lines(-(-len(texts) // columns), colours) + 0.1


def _texts(handles: Sequence[Any], inches: float, colours: Theme) -> list[str]:
    most = int(_characters(inches, colours)) - HANDLE_CHARACTERS
    return shorten_all([str(handle.get_label()) for handle in handles], max(8, most))


def _columns(texts: Sequence[str], inches: float, colours: Theme) -> int:
    longest = max(map(len, texts)) + HANDLE_CHARACTERS
    most = max(1, min(4, len(texts), int(_characters(inches, colours) / longest)))
    return -(-len(texts) // -(-len(texts) // most))


def _characters(inches: float, colours: Theme) -> float:
    return inches * CHARACTERS_AN_INCH / colours.scale


def _style(colours: Theme) -> dict[str, Any]:
    return {
        "frameon": False, "labelcolor": colours.text, "fontsize": colours.small_size, "borderaxespad": 0.2,
        "handlelength": 1.8, "labelspacing": _SPACING, "columnspacing": 1.2,
    }  # fmt: skip


def plain(texts: Iterable[Text]) -> None:
    """Draw texts literally, since names may contain dollar signs."""
    for text in texts:
        text.set_parse_math(False)
