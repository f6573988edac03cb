"""Colours and sizes of figures and of the report: a light theme, a dark one, and one for papers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from invariscope.common.registry import unknown


@dataclass(frozen=True)
class Theme:
    """Colours and sizes of one theme. The first model always has the first colour of `series`, and so on.

    Args:
        text_size, small_size: font sizes in points.
        column, tallest: largest width and height of a figure in inches, if any.
    """

    name: str
    page: str
    surface: str
    text: str
    muted: str
    line: str
    hatch: str
    series: tuple[str, ...]
    text_size: float = 10.5
    small_size: float = 9.5
    column: float = float("inf")
    tallest: float = float("inf")

    @property
    def scale(self) -> float:
        """Size of text and lines relative to the light theme."""
        return self.text_size / Theme.text_size


# Okabe and Ito's palette, which stays distinct under all common colour vision deficiencies
# (doi:10.1038/nmeth.1618), darkened or lightened to a contrast of at least 3 with the surface. The last three
# colours are those farthest from all others, and from the grey of nulls, under simulated deficiencies.
LIGHT = Theme(
    name="light",
    page="#f7f7f5",
    surface="#ffffff",
    text="#1c2027",
    muted="#5b6370",
    line="#e1e3e7",
    hatch="#b3b9c2",
    series=("#0072b2", "#d55e00", "#008763", "#b8568c", "#774400", "#771122", "#663377"),
)
DARK = Theme(
    name="dark",
    page="#121418",
    surface="#1a1d23",
    text="#e8eaee",
    muted="#a2abb9",
    line="#323842",
    hatch="#5a6370",
    series=("#56b4e9", "#f28c45", "#2fc49a", "#e39cc4", "#eeee55", "#dd4455", "#aaee99"),
)
PAPER = replace(
    LIGHT,
    name="paper",
    page="#ffffff",
    muted="#1c2027",
    text_size=8.0,
    small_size=7.0,
    column=3.4,
    tallest=8.8,
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK, PAPER)}
# Dashes and markers distinguish the first four series without colour. Keys: Bokeh; values: matplotlib.
LINE_STYLES = {"solid": "-", "dashed": "--", "dotdash": "-.", "dotted": ":"}
DASHES = tuple(LINE_STYLES)
MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}
COLOUR_MAP = "viridis"


def get_theme(name: str) -> Theme:
    """Return the theme with this name.

    Raises:
        ValueError: none of "light", "dark" and "paper".
    """
    if name not in THEMES:
        raise unknown("theme", name, THEMES)
    return THEMES[name]


@cache
def palette() -> tuple[str, ...]:
    """Return the sequential colours from low (dark) to high (bright), as 256 hex strings."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    scale = colormaps[COLOUR_MAP]
    return tuple(to_hex(scale(i)) for i in range(256))
