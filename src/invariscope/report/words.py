"""Words for what a result is about: its samples, its transform and its percentages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invariscope.results.result import Result

NBSP = "\u00a0"
# The elements of a family in the plural, and what one of them does to a sample, before the element's label.
_FAMILIES = {
    "rotation": ("rotations", "rotated by"),
    "quarter_turns": ("quarter turns", "turned by"),
    "dihedral": ("turns and mirror images", "turned:"),
    "flip": ("flips", "flipped:"),
    "translation": ("shifts", "shifted by"),
    "periodic_translation": ("shifts", "shifted by"),
    "scale": ("changes of scale", "scaled by"),
    "shear": ("shears", "sheared by"),
    "noise": ("draws of noise", "changed by"),
    "deformation": ("deformations", "deformed by"),
    "diffeomorphism": ("smooth deformations", "deformed by"),
    "deformation_ladder": ("smooth deformations", "deformed by"),
    "permutations": ("permutations", "reordered by"),
    "random_permutations": ("permutations", "reordered by"),
}
_OTHER = ("transformations", "transformed by")
_CHANNELS = (1, 3, 4)
# Percentages that are shown together have as many decimals as the smallest of these that tells them apart.
_MOST_DECIMALS = 2


def join(words: Sequence[str]) -> str:
    """Join words into an English list.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def transform_name(result: Result) -> str:
    """Return the transform's family in words, such as "rotation" or "quarter turns"."""
    family = result.provenance.get("transform", {}).get("family") or "transformation"
    return str(family).replace("_", " ")


def common_transform(results: Sequence[Result]) -> str:
    """Return the results' transform in words, or "transformations" if they differ."""
    families = list(dict.fromkeys(map(transform_name, results)))
    return families[0] if len(families) == 1 else "transformations"


def elements_name(results: Sequence[Result]) -> str:
    """Return the elements of the results' common transform in the plural, such as "rotations"."""
    return _words(results)[0]


def moved_by(results: Sequence[Result], label: str) -> str:
    """Return what an element does to a sample, such as "rotated by 90°"."""
    return f"{_words(results)[1]} {label}"


def _words(results: Sequence[Result]) -> tuple[str, str]:
    families = {str(result.provenance.get("transform", {}).get("family")) for result in results}
    return _FAMILIES.get(families.pop(), _OTHER) if len(families) == 1 else _OTHER


def subject(results: Sequence[Result]) -> str:
    """Return what the samples are, in the singular: "photo", "image", "text" or "sample".

    The noun is the same for all results, because sentences compare them.
    """
    nouns = {_noun(result.provenance.get("data", {})) for result in results}
    return nouns.pop() if len(nouns) == 1 else "sample"


def _noun(data: Mapping[str, Any]) -> str:
    """Return the noun for samples, from what the provenance says of the data.

    >>> _noun({"shape": [3, 224, 224]}), _noun({"shape": [28, 28, 1]}), _noun({"shape": [16]}), _noun({})
    ('image', 'image', 'sample', 'sample')
    >>> _noun({"name": "ImageFolder", "shape": []}), _noun({"name": "reviews.txt", "shape": []})
    ('photo', 'text')
    """
    name, shape = str(data.get("name") or ""), data.get("shape") or ()
    if not shape and name == "ImageFolder":
        return "photo"
    if not shape and name.endswith(".txt"):
        return "text"
    channels = (shape[0], shape[-1]) if len(shape) == 3 else ()
    return "image" if any(count in _CHANNELS for count in channels) else "sample"


def percents(*shares: float) -> list[str]:
    """Return shares as percentages with the same, smallest sensible number of decimals.

    Decimals are added until different shares look different, and until only 0 and 1 look like 0 and 100 %.

    >>> [text.replace(NBSP, " ") for text in percents(0.5234, 0.48, 0.56)]
    ['52 %', '48 %', '56 %']
    >>> [text.replace(NBSP, " ") for text in percents(0.966, 0.971, 0.998)]
    ['96.6 %', '97.1 %', '99.8 %']
    """
    forms = [[f"{100 * share:.{n}f}" for share in shares] for n in range(_MOST_DECIMALS + 1)]
    texts = next((texts for texts in forms if _tells_apart(shares, texts)), forms[-1])
    return [f"{text}{NBSP}%" for text in texts]


def _tells_apart(shares: Sequence[float], texts: Sequence[str]) -> bool:
    bounds = any(
        float(text) in (0, 100) and share not in (0, 1) for text, share in zip(texts, shares, strict=True)
    )
    return not bounds and len(set(texts)) >= len({round(share, 3) for share in shares})


def interval_once(text: str) -> str:
    """Return a text that says only once that intervals are 95 % intervals.

    >>> interval_once(f"3 (95{NBSP}% interval 2 to 4) and 6 (95{NBSP}% interval 5 to 7)").replace(NBSP, " ")
    '3 (95 % interval 2 to 4) and 6 (5 to 7)'
    """
    what = f"(95{NBSP}% interval "
    before, found, after = text.partition(what)
    return before + found + after.replace(what, "(")


def known_interval(low: float, high: float) -> bool:
    """Return whether there is an interval."""
    return math.isfinite(low) and math.isfinite(high)


def brief(value: float) -> str:
    """Return a value with at most three significant digits, for sentences; tables have more.

    >>> brief(0.25), brief(1.0023), brief(4.2e-6), brief(-0.5)
    ('0.25', '1', '4.2e−06', '−0.5')
    """
    return briefs(value)[0]


def briefs(value: float, *bounds: float, digits: int = 3) -> list[str]:
    """Return a value with at most so many significant digits, and bounds with as many decimals.

    >>> briefs(1.0153, 0.9952, 1.0358), briefs(0.5, 0.4, 0.6), briefs(2e-5, 1e-5, 3.14e-5)
    (['1.02', '1.00', '1.04'], ['0.5', '0.4', '0.6'], ['2e−05', '1e−05', '3.14e−05'])
    >>> briefs(0.1234, 0.1151, 0.1309, digits=2)
    ['0.12', '0.12', '0.13']
    """
    numbers = (value, *bounds)
    if not 1e-3 <= abs(value) < 1e5:
        texts = [f"{number:.{digits}g}" for number in numbers]
    else:
        most = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        rounded = [round(number, most) for number in numbers]
        decimals = next(d for d in range(most + 1) if [round(number, d) for number in rounded] == rounded)
        texts = [f"{number:.{decimals}f}" for number in rounded]
    return [text.replace("-", "−") for text in texts]
