"""Seeded changes of a file's bytes."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]


def _bit(content: bytes, rng: np.random.Generator) -> bytes:
    return _flipped(content, rng.integers(len(content), size=1), rng)


def _bits(content: bytes, rng: np.random.Generator) -> bytes:
    return _flipped(content, rng.integers(len(content), size=int(rng.integers(2, 20))), rng)


def _flipped(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    low = int(rng.integers(len(content)))
    return low, min(len(content), low + int(rng.integers(1, 65)))


def _zeroed(content: bytes, rng: np.random.Generator) -> bytes:
    low, high = _span(content, rng)
    return content[:low] + bytes(high - low) + content[high:]


def _random(content: bytes, rng: np.random.Generator) -> bytes:
    low, high = _span(content, rng)
    return content[:low] + rng.bytes(high - low) + content[high:]


def _removed(content: bytes, rng: np.random.Generator) -> bytes:
    low, high = _span(content, rng)
    return content[:low] + content[high:]


def _spliced(content: bytes, rng: np.random.Generator) -> bytes:
    """Insert a part of the file at another place."""
    low, high = _span(content, rng)
    place = int(rng.integers(len(content) + 1))
    return content[:place] + content[low:high] + content[place:]


def _appended(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 100)))


def _digit(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace one decimal digit by another, which leaves JSON and TOML valid."""
    places = [match.start() for match in re.finditer(rb"[0-9]", content[: 1 << 20])]
    if not places:
        return _bit(content, rng)
    place = places[int(rng.integers(len(places)))]
    other = (content[place] - ord("0") + int(rng.integers(1, 10))) % 10
    return content[:place] + b"%d" % other + content[place + 1 :]


CHANGES: dict[str, Change] = {
    "bit": _bit,
    "bits": _bits,
    "truncated": _truncated,
    "zeroed": _zeroed,
    "random": _random,
    "removed": _removed,
    "spliced": _spliced,
    "appended": _appended,
    "digit": _digit,
}


def changed(content: bytes, number: int, seed: int) -> tuple[str, bytes]:
    """Return the name of change number `number`, and the changed bytes, which differ from the given ones."""
    rng = np.random.default_rng([seed, number])
    name = list(CHANGES)[number % len(CHANGES)]
    for _ in range(100):
        found = CHANGES[name](content, rng)
        if found != content:
            return name, found
    return "bit", _bit(content, rng)
