"""What a scale shortened, said once for a table where it holds for all of its rows."""

from __future__ import annotations

from collections.abc import Sequence


def said_once(rows: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """(a sentence on what holds for every row, the rest of each row as one text).

    Args:
        rows: of each row, what was shortened in it, such as "epochs 3 (5)".

    >>> sentence, rest = said_once([["epochs 3 (5)", "samples 64 (all)"], ["samples 64 (all)"]])
    >>> sentence, rest
    ('Shortened in every row (published in brackets): samples 64 (all).', ['epochs 3 (5)', ''])
    """
    distinct = [list(dict.fromkeys(texts)) for texts in rows]
    common = [t for t in distinct[0] if all(t in texts for texts in distinct)] if len(rows) > 1 else []
    rest = ["; ".join(text for text in texts if text not in common) for texts in distinct]
    sentence = f"Shortened in every row (published in brackets): {'; '.join(common)}." if common else ""
    return sentence, rest
