"""Names of measures: the symbols that papers use, and the families that rows belong to."""

from __future__ import annotations

from collections.abc import Iterable

SYMBOLS = {
    "tv": "transformation_variance",
    "sv": "sample_variance",
    "nv": "normalized_variance",
    "td": "transformation_distance",
    "sd": "sample_distance",
    "nd": "normalized_distance",
}
# Families of measures of the response to the transformation, relative to the response to a new sample.
RELATIVE = ("normalized_variance", "normalized_distance")
# Families of the main measures of invariance, most important first.
HEADLINE = (*RELATIVE, "transformation_variance")


def full_name(measure: str) -> str:
    """Return the name of a measure that is given by name or symbol.

    >>> full_name("NV"), full_name("anova.f")
    ('normalized_variance', 'anova.f')
    """
    return SYMBOLS.get(measure.lower(), measure)


def family(row: str) -> str:
    """Return the name of the measure that a row belongs to, without its preset, options or output.

    >>> family("normalized_variance.quiroga2019"), family("normalized_variance.pool=after"), family("cka")
    ('normalized_variance', 'normalized_variance', 'cka')
    """
    return row.partition(".")[0]


def is_headline(measure: str) -> bool:
    """Return whether rows of this name belong to one of the main measures of invariance."""
    return family(measure) in HEADLINE


def is_relative(measure: str) -> bool:
    """Return whether rows of this name are relative to the response to a new sample.

    >>> is_relative("normalized_variance.quiroga2019"), is_relative("sample_variance")
    (True, False)
    """
    return family(measure) in RELATIVE


def first_of(families: Iterable[str], rows: Iterable[str]) -> str | None:
    """Return a row of the first family that has any; preferably the one without suffix.

    >>> first_of(RELATIVE, ["cka", "normalized_variance.pool=after", "normalized_variance"])
    'normalized_variance'
    >>> first_of(RELATIVE, ["normalized_distance", "normalized_variance.pool=after"])
    'normalized_variance.pool=after'
    """
    known = list(rows)
    for name in families:
        if own := [row for row in known if family(row) == name]:
            return name if name in own else own[0]
    return None
