"""Phrases shared by many parts of the library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# C0 and C1 controls, soft hyphens, marks and overrides of direction, invisible characters, line separators,
# noncharacters, lone surrogates, tags.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)

# Numbers that stand by themselves, unlike those in names such as "conv2" and "layer1.0".
_NUMBER = re.compile(r"(?<![\w.,'\"])\d+(?:,\d{3})*(?:\.\d+)?(?![\w'\"]|[.,]\w)")


def alike(texts: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Group texts that differ only in numbers, such as notes with counts.

    Returns:
        For each group, a text that gives the smallest and the largest of each number that differs, and the
        positions of its texts; in the order of first appearance.

    >>> alike(["3 of 64 samples", "none", "12 of 64 samples"])
    [('3 to 12 of 64 samples', [0, 2]), ('none', [1])]
    """
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    kinds: dict[str, list[str]] = {}
    for text in places:
        kinds.setdefault(_NUMBER.sub("#", text), []).append(text)
    return [(_ranged(own), sorted(place for text in own for place in places[text])) for own in kinds.values()]


def _ranged(texts: Sequence[str]) -> str:
    """Return the first of texts that differ only in numbers, with the range of each number that differs."""
    columns = iter(zip(*map(_NUMBER.findall, texts), strict=True))

    def span(_: re.Match[str]) -> str:
        own = sorted(set(next(columns)), key=lambda number: float(number.replace(",", "")))
        return own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}"

    return _NUMBER.sub(span, texts[0])


def listed(names: Iterable[object], *, limit: int = 4, separator: str = ", ") -> str:
    """Return the first names as text, followed by the number of remaining ones.

    >>> listed(["conv1", "conv2"]), listed(range(7), limit=2)
    ('conv1, conv2', '0, 1 and 5 more')
    """
    texts = [str(name) for name in names]
    before = "" if separator.startswith(",") else separator.rstrip()
    more = f"{before} and {len(texts) - limit} more" if len(texts) > limit else ""
    return separator.join(texts[:limit]) + more


def shorten(text: str, length: int = 26) -> str:
    """Return at most `length` characters, cutting from the middle, where names differ least.

    >>> shorten("backbone.layer1.0.conv1", 12)
    'backbo…conv1'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def shorten_all(texts: Sequence[str], length: int = 26) -> list[str]:
    """Return texts of at most `length` characters, different ones where the originals are.

    Texts that `shorten` would make equal keep the characters in which they differ.

    >>> shorten_all(["greater white pelican of Asia", "greater grey pelican of Asia"], 12)
    ['…white peli…', '…grey pelic…']
    >>> shorten_all(["conv1", "conv1"], 12)
    ['conv1', 'conv1']
    """
    found = [shorten(text, length) for text in texts]
    for cut in (_around_difference, _numbered):
        for short in dict.fromkeys(text for text in found if found.count(text) > 1):
            places = [i for i, text in enumerate(found) if text == short]
            alike = list(dict.fromkeys(texts[i] for i in places))
            if len(alike) > 1:
                own = dict(zip(alike, cut(alike, short, length), strict=True))
                found = [own[texts[i]] if i in places else text for i, text in enumerate(found)]
    return found


def _around_difference(texts: list[str], _: str, length: int) -> list[str]:
    """Return parts of long texts, from where they first differ."""
    places = enumerate(zip(*texts, strict=False))
    start = next((i for i, found in places if len(set(found)) > 1), min(map(len, texts)))
    parts = [f"…{text[start : start + length - 1]}" for text in texts]
    ends = ["" if start + length - 1 >= len(text) else "…" for text in texts]
    return [part[: length - len(end)] + end for part, end in zip(parts, ends, strict=True)]


def _numbered(texts: list[str], short: str, length: int) -> list[str]:
    """Return what the texts were shortened to, with a number each."""
    marks = [f"… {number}" for number in range(1, len(texts) + 1)]
    return [short[: max(1, length - len(mark))].rstrip("…") + mark for mark in marks]


def visible(text: str, *, keep: str = "") -> str:
    r"""Return text in which characters that a terminal or browser would obey are shown as escapes.

    These are control characters such as those of ANSI sequences, marks that reverse or hide text, and lone
    surrogates, which cannot be written to a file.

    Args:
        keep: characters to leave as they are, such as newlines.

    >>> print(visible("conv\x1b[31m\n"), visible("a\u202eb"), visible("\ud800"))
    conv\x1b[31m\n a\u202eb \ud800
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
