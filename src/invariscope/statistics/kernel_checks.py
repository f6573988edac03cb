"""Sizes are compared before a compiled loop, which would read whatever lies behind an array."""

from __future__ import annotations


def refuse_unless(fits: bool, what: str, found: tuple, beside: str, other: tuple) -> None:
    """Raises a ValueError that shows both shapes.

    >>> refuse_unless(False, "units", (12, 4), "sums", (8, 40))
    Traceback (most recent call last):
    ...
    ValueError: sizes do not fit together: units (12, 4), sums (8, 40)
    """
    if not fits:
        raise ValueError(
            f"sizes do not fit together: {what} {tuple(map(int, found))}, {beside} {tuple(map(int, other))}"
        )
