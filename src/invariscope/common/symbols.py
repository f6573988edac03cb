"""The symbols that papers use for measures."""

from __future__ import annotations

SYMBOLS = {
    "tv": "transformation_variance",
    "sv": "sample_variance",
    "nv": "normalized_variance",
    "td": "transformation_distance",
    "sd": "sample_distance",
    "nd": "normalized_distance",
}


def full_name(measure: str) -> str:
    """Return the name of a measure that is given by name or symbol.

    >>> full_name("NV"), full_name("anova.f")
    ('normalized_variance', 'anova.f')
    """
    return SYMBOLS.get(measure.lower(), measure)
