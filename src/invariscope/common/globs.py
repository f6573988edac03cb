"""Match names against shell patterns, such as "layer*.conv?"."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(pattern: str, name: str) -> bool:
    """Return whether a name equals a pattern or matches it as a case-sensitive glob.

    >>> matches("layer*.conv*", "layer3.0.conv1"), matches("lstm[1]", "lstm[1]")
    (True, True)
    """
    return name == pattern or fnmatchcase(name, pattern)


def matches_any(patterns: Iterable[str] | None, name: str) -> bool:
    """Return whether a name matches any of the patterns; None matches every name.

    >>> matches_any(["conv*", "fc"], "fc"), matches_any(None, "fc"), matches_any([], "fc")
    (True, True, False)
    """
    return patterns is None or any(matches(pattern, name) for pattern in patterns)
