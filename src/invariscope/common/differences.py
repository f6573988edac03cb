"""Describe in words how two sets of settings differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invariscope.common.wording import listed

_ABSENT = "absent"
_LONGEST = 120


def flat(value: Any, place: str) -> dict[str, str]:
    """Flatten nested plain values to a dictionary from their path to their repr.

    >>> flat({"padding": "zeros", "angles": [0, 90]}, "transform")
    {'transform.padding': "'zeros'", 'transform.angles[0]': '0', 'transform.angles[1]': '90'}
    """
    if isinstance(value, Mapping):
        parts = [(f"{place}.{name}" if place else str(name), entry) for name, entry in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        parts = [(f"{place}[{number}]", entry) for number, entry in enumerate(value)]
    else:
        return {place: repr(value)[:_LONGEST]}
    return {name: text for at, entry in parts for name, text in flat(entry, at).items()}


def differences(
    first: Mapping[str, str], second: Mapping[str, str], *, there: str = "there", now: str = "now"
) -> list[str]:
    """Return a phrase for each path at which two flattened descriptions differ.

    If a value itself is shown to differ, paths inside it are left out; if only its digest differs, the paths
    inside it are listed instead.

    Args:
        first, second: texts by path, as `flat` returns them. The text "TYPE #DIGEST" describes an object
            whose content is not shown.
        there, now: words that follow the texts of the first and of the second description.

    >>> differences({"net.0": "ReLU #1a", "net.0.inplace": "True"}, {"net.0": "Tanh #2b"})
    ['net.0: ReLU there, Tanh now']
    >>> differences({"w": "float32 (2,) #1a", "f": "code #0"}, {"w": "float32 (2,) #2b", "f": "code #1"})
    ['w has other values', 'the code of f differs']
    """
    places = [place for place in {**first, **second} if first.get(place) != second.get(place)]
    found: list[str] = []
    settled: list[str] = []
    for place in sorted(places, key=len):
        if any(_inside(place, outer) for outer in settled):
            continue
        ours, theirs = (_shown(known.get(place)) for known in (first, second))
        if ours != theirs:
            found.append(f"{place}: {ours} {there}, {theirs} {now}")
            settled.append(place)
        elif not any(_inside(other, place) for other in places):
            found.append(_unshown(place, ours))
    return found


def in_words(found: Sequence[str], otherwise: str) -> str:
    """Join the first differences to one text; return `otherwise` if there are none."""
    return listed(found, limit=3, separator="; ") if found else otherwise


def _inside(place: str, outer: str) -> bool:
    return place.startswith((f"{outer}.", f"{outer}["))


def _shown(text: str | None) -> str:
    if text is None:
        return _ABSENT
    return text.rpartition(" #")[0] or text if " #" in text else text


def _unshown(place: str, kind: str) -> str:
    """Return the phrase for two objects of the same kind with different content."""
    if kind == "code":
        return f"the code of {place.removesuffix('.code')} differs"
    return f"{place} has other values" if "(" in kind else f"{place} ({kind}) differs"
