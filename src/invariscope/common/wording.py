"""Phrases shared by many parts of the library."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[object], *, limit: int = 4, separator: str = ", ") -> str:
    """Return the first names as text, followed by the number of remaining ones.

    >>> listed(["conv1", "conv2"]), listed(range(7), limit=2)
    ('conv1, conv2', '0, 1 and 5 more')
    """
    texts = [str(name) for name in names]
    before = "" if separator.startswith(",") else separator.rstrip()
    more = f"{before} and {len(texts) - limit} more" if len(texts) > limit else ""
    return separator.join(texts[:limit]) + more
