"""Sayings from the collection of the program `fortune`."""

from __future__ import annotations

import hashlib
import re

from benchmarks.atlas.data.debian import unpacked
from benchmarks.atlas.declared import Samples

PACKAGE, FILE = "fortunes-min", "fortunes"
SHORTEST, LONGEST = 40, 200  # characters


def sayings(count: int) -> Samples:
    """Return some of the sayings of one paragraph, drawn by the digest of their text."""
    files, source = unpacked(PACKAGE)
    whole = (files / "usr" / "share" / "games" / "fortunes" / FILE).read_text(encoding="utf-8")
    found = {re.sub(r"\s+", " ", text).strip() for text in re.split(r"\n%\n", whole) if plain(text)}
    usable = sorted((text for text in found if SHORTEST <= len(text) <= LONGEST), key=digest)
    return Samples(
        name="sayings",
        source=f"Debian: {source}",
        licence="BSD",
        about=f"English sayings of {SHORTEST} to {LONGEST} characters, drawn by digest",
        values=usable[:count],
        cluster="saying",
    )


def plain(text: str) -> bool:
    """Return whether a text is neither a dialogue nor signed, in ASCII."""
    return text.isascii() and "--" not in text and not re.search(r"^\s*\S{1,12}:", text, re.M)


def digest(text: str) -> str:
    """Return what orders the texts."""
    return hashlib.sha256(text.encode()).hexdigest()
