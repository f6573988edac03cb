"""Colours of figures and of the report, in a light and a dark theme."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from invariscope.common.registry import unknown


@dataclass(frozen=True)
class Theme:
    """Colours of one theme. The first model always has the first colour of `series`, and so on."""

    name: str
    page: str
    surface: str
    text: str
    muted: str
    line: str
    hatch: str
    series: tuple[str, ...]


# Okabe and Ito's palette, which stays distinct under all common colour vision deficiencies
# (doi:10.1038/nmeth.1618), darkened or lightened to a contrast of at least 3 with the surface.
LIGHT = Theme(
    name="light",
    page="#f7f7f5",
    surface="#ffffff",
    text="#1c2027",
    muted="#5b6370",
    line="#e1e3e7",
    hatch="#b3b9c2",
    series=("#0072b2", "#d55e00", "#008763", "#b8568c", "#9a6b00", "#3d8fc4", "#5b6370"),
)
DARK = Theme(
    name="dark",
    page="#121418",
    surface="#1a1d23",
    text="#e8eaee",
    muted="#a2abb9",
    line="#323842",
    hatch="#5a6370",
    series=("#56b4e9", "#f28c45", "#2fc49a", "#e39cc4", "#e6b03c", "#8fb8ff", "#a2abb9"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}
# Dashes and markers distinguish the first four series without colour. Keys: Bokeh; values: matplotlib.
LINE_STYLES = {"solid": "-", "dashed": "--", "dotdash": "-.", "dotted": ":"}
DASHES = tuple(LINE_STYLES)
MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}
COLOUR_MAP = "viridis"


def get_theme(name: str) -> Theme:
    """Return the theme with this name.

    Raises:
        ValueError: neither "light" nor "dark".
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
