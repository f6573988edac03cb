"""Markdown helpers: tables from columns, durations, and texts that all rows share."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "–"

Column = tuple[str, Sequence[str]]


def grid(columns: Sequence[Column]) -> str:
    """Return a table from (heading, texts) columns; columns whose texts are all empty are left out.

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
    """Format a number of seconds.

    >>> duration(42.4), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def factored(rows: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return a sentence on what is shortened in every row, and the remaining texts of each row, joined.

    Args:
        rows: what was shortened in each row, such as "epochs 3 (5)".

    >>> sentence, rest = factored([["epochs 3 (5)", "samples 64 (all)"], ["samples 64 (all)"]])
    >>> sentence, rest
    ('Shortened in every row (published in brackets): samples 64 (all).', ['epochs 3 (5)', ''])
    """
    distinct = [list(dict.fromkeys(texts)) for texts in rows]
    common = [t for t in distinct[0] if all(t in texts for texts in distinct)] if len(rows) > 1 else []
    rest = ["; ".join(text for text in texts if text not in common) for texts in distinct]
    sentence = f"Shortened in every row (published in brackets): {'; '.join(common)}." if common else ""
    return sentence, rest
