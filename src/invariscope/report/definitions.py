"""Definitions of the measures on the page, and the phrases in sentences that link to them."""

from __future__ import annotations

import base64
import inspect
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from invariscope.common.symbols import family, is_relative
from invariscope.plots.shared import labels as names
from invariscope.report.layers import in_words

if TYPE_CHECKING:
    from invariscope.results.result import Result

_MATH = re.compile(r"\.\. math::(.*?)(?:\n\s*\n|\Z)", re.DOTALL)
_ROLE = re.compile(r":[a-z]+:`~?([^`]*)`")
_EMPHASIS = re.compile(r"(?<!\w)\*([^\s*][^*]*)\*(?!\w)")
_HEADING = re.compile(r"^([A-Z][a-z]+):\s*")
# Paragraphs of a docstring that the page shows elsewhere, or that concern callers only.
_LEFT_OUT = ("Reading", "Raises", "Args", "Source")
_DPI, _POINTS = 200, 11
# Phrases of sentences, by the measure or term that defines them. "normalized" stands for both such measures.
_PHRASES = {
    "prediction": ("change class", "changes class", "accuracy"),
    "consistency": ("change class", "changes class"),
    "stability_curve": (
        "predictions flip",
        "predictions have flipped",
        "squared change of the output",
        "accuracy",
    ),
    "normalized": ("times as much", "as much as", "more invariant", "less invariant", "nor less invariant"),
}
_TERMS = {"95\u00a0% interval": "interval", "the null": "null"}


@dataclass(frozen=True)
class Formula:
    """A formula as a PNG image (None if it cannot be drawn) with its height in em, and its LaTeX source."""

    latex: str
    image: str | None
    height: float = 0.0


@dataclass(frozen=True)
class Definition:
    """The definition of a measure, for the section on how to read the report.

    Args:
        anchor: HTML id, to which quantities in sentences link.
        further: (heading, text) of further paragraphs of the docstring; headings may be empty.
    """

    anchor: str
    title: str
    summary: str
    reading: str
    formulas: tuple[Formula, ...]
    further: tuple[tuple[str, str], ...]
    source: str


def anchor(name: str) -> str:
    """Return the HTML id of a definition.

    >>> anchor("stability.petrini2021"), anchor("95 % interval")
    ('define-stability-petrini2021', 'define-95-interval')
    """
    return f"define-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"


def definitions(results: Sequence[Result]) -> list[Definition]:
    """Return the definition of each measure of the results, the main measure first."""
    found = _described(results)
    used: dict[str, int] = {}
    entries = []
    for name in names.headline_first(found):
        place = anchor(name)
        used[place] = used.get(place, 0) + 1
        entries.append(
            _definition(name, found[name], place if used[place] == 1 else f"{place}-{used[place]}")
        )
    return entries


def _described(results: Sequence[Result]) -> dict[str, Mapping[str, Any]]:
    """Return the provenance of each measure that has a summary, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for result in results:
        for name, about in (result.provenance.get("measures") or {}).items():
            if isinstance(about, dict) and about.get("summary"):
                found.setdefault(str(name), about)
    return found


def _definition(name: str, about: Mapping[str, Any], place: str) -> Definition:
    text = _docstring(name)
    return Definition(
        place,
        names.measure_title(name),
        str(about["summary"]),
        str(about.get("reading") or ""),
        tuple(formula(latex) for latex in _formulas(text)),
        tuple(_paragraphs(text)),
        str(about.get("source") or ""),
    )


def _docstring(name: str) -> str:
    """Return the docstring of the measure of this name in this version; "" if there is none."""
    from invariscope.measures.base import MEASURES

    known = MEASURES.classes()
    stem = next((part for part in (name, family(name)) if part in known), None)
    return "" if stem is None else inspect.getdoc(known[stem]) or ""


def _formulas(docstring: str) -> Iterator[str]:
    r"""Yield the displayed formulas of a docstring, one per line of the display.

    >>> list(_formulas(".. math:: a = b,\n    \\qquad c = d\n\nwith"))
    ['a = b', 'c = d']
    """
    for display in _MATH.findall(docstring):
        for part in re.split(r",?\s*\\q?quad\s*", " ".join(display.split())):
            if part.strip(" ,"):
                yield part.strip(" ,")


def _paragraphs(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the paragraphs of a docstring that the page does not show elsewhere, as (heading, text)."""
    for block in docstring.split("\n\n")[1:]:
        text = _ROLE.sub(r"\1", " ".join(block.split())).replace("``", "")
        text = _EMPHASIS.sub(r"\1", text)
        heading = _HEADING.match(text)
        title = heading[1] if heading else ""
        if text.startswith((".. ", ">>>")) or title in _LEFT_OUT:
            continue
        yield title, text[heading.end() :] if heading else text


@cache
def formula(latex: str) -> Formula:
    """Draw a formula with matplotlib; without an image if it uses commands that matplotlib does not know."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    stream = io.BytesIO()
    try:
        # Fractions of displayed formulas are not set small.
        text = latex.replace(r"\frac", r"\dfrac")
        math_to_image(f"${text}$", stream, prop=FontProperties(size=_POINTS), dpi=_DPI, format="png")
    except ValueError:
        return Formula(latex, None)
    image = stream.getvalue()
    height = int.from_bytes(image[20:24], "big") / _DPI * 72 / _POINTS
    return Formula(latex, f"data:image/png;base64,{base64.b64encode(image).decode()}", round(height, 2))


def phrases(results: Sequence[Result]) -> dict[str, str]:
    """Return the anchors of the definitions on the page, by the phrase that links to them."""
    found: dict[str, str] = {}
    rows = {row.measure: row.stem for result in results for row in result.rows}
    for name in _described(results):
        kind = "normalized" if is_relative(name) else family(name)
        for phrase in _PHRASES.get(kind, ()):
            found.setdefault(phrase, anchor(name))
        for measure in (row for row, stem in rows.items() if name in (row, stem)):
            found.setdefault(in_words(measure), anchor(name))
    return found | {phrase: anchor(term) for phrase, term in _TERMS.items()}


def linked(text: str, targets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a sentence as (text, anchor) parts; the anchor is empty for text that is not a link.

    Each phrase becomes a link where it occurs first, as whole words, in upper or lower case.

    >>> linked("5 % change class.", {"change class": "define-prediction"})
    [('5 % ', ''), ('change class', 'define-prediction'), ('.', '')]
    """
    if not targets:
        return [(text, "")]
    known = {phrase.lower(): target for phrase, target in targets.items()}
    words = "|".join(re.escape(phrase) for phrase in sorted(known, key=len, reverse=True))
    parts, end, seen = [], 0, set()
    for match in re.finditer(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE):
        phrase = match[0].lower()
        if phrase in seen or phrase not in known:
            continue
        seen.add(phrase)
        parts += [(text[end : match.start()], ""), (match[0], known[phrase])]
        end = match.end()
    return [(part, target) for part, target in [*parts, (text[end:], "")] if part]
