"""Pieces of a page in Markdown: tables from columns, short lists, durations."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "–"

Column = tuple[str, Sequence[str]]


def grid(columns: Sequence[Column]) -> str:
    """A table from (heading, texts) columns; a column of empty texts alone is left out.

    >>> print(grid([("a", ["1", "2"]), ("b", ["", ""]), ("c", ["x|y", ""])]))
    | a | c |
    |---|---|
    | 1 | x\\|y |
    | 2 |  |
    """
    kept = [(heading, texts) for heading, texts in columns if any(texts)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"

    rows = zip(*(texts for _, texts in kept), strict=True)
    return "\n".join([line([heading for heading, _ in kept]), "|" + "---|" * len(kept), *map(line, rows)])


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(42.4), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
