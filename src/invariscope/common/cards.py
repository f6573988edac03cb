"""Cards: the HTML that notebooks display for results, transforms and other objects of the library.

A card is plain HTML with inline styles, so that it looks the same in Jupyter, VS Code and saved pages. It
inherits the colours of the page, so it is readable in light and dark themes.
"""

from __future__ import annotations

import html
import inspect
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from invariscope.common.wording import shorten, visible

MOST_ROWS = 30
MOST_BYTES = 100_000
_LONGEST_CELL, _LONGEST_NAME, _LONGEST_TEXT = 200, 48, 600
_MOST_FACTS, _MOST_REMARKS = 8, 6
_GREY = "rgba(128,128,128,.35)"
# `mathjax_ignore`: a dollar sign in a name must not start a formula.
_CARD = (
    '<div class="tex2jax_ignore mathjax_ignore" style="box-sizing:border-box;max-width:46em;'
    f"padding:12px 16px;border:1px solid {_GREY};border-radius:6px;color:inherit;text-align:left;"
    'font:14px/1.45 system-ui,-apple-system,&quot;Segoe UI&quot;,sans-serif">{}</div>'
)
_SENTENCE = '<div style="font-size:15px;font-weight:600;overflow-wrap:anywhere">{}</div>'
MUTED = "opacity:.75;font-size:12.5px;overflow-wrap:anywhere"
_TABLE = (
    '<details open style="margin-top:10px"><summary style="cursor:pointer;opacity:.75;font-size:12.5px">{}'
    '</summary><div style="overflow-x:auto"><table style="table-layout:auto;width:auto;margin:4px 0 0;'
    'border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums">{}</table></div></details>'
)
_CELL = f"padding:2px 14px 2px 0;border:0;border-top:1px solid {_GREY};vertical-align:top;"
_ALIGN = {"name": "text-align:left;white-space:nowrap", "words": "text-align:left;white-space:normal"}
_NUMBER = "text-align:right;white-space:nowrap"


@dataclass(frozen=True)
class Table:
    """The table of a card.

    Args:
        caption: what the rows are, and their total number.
        columns: heading and kind of each column; the kind is "name", "words" or "number".
        rows: the text of each cell.
    """

    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """Return the table as collapsible HTML."""
        head = "".join(
            f'<th scope="col" style="{_style(kind)};border-top:0;font-weight:600">{escaped(title)}</th>'
            for title, kind in self.columns
        )
        body = "".join(f"<tr>{self._cells(row)}</tr>" for row in self.rows)
        return _TABLE.format(escaped(self.caption), f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")

    def _cells(self, row: Sequence[str]) -> str:
        cells = zip(self.columns, row, strict=True)
        return "".join(f'<td style="{_style(kind)}">{_cell(text, kind)}</td>' for (_, kind), text in cells)


@dataclass(frozen=True)
class Card:
    """The display of an object in a notebook.

    Args:
        sentence: the main finding, or what the object is.
        facts: context, such as model and data, shown below the sentence; at most 8.
        drawing: trusted HTML, such as a `sparkline`.
        table: a table, usually of at most 30 rows.
        remarks: further lines, at most 6; text between backticks is shown as code.
    """

    sentence: str
    facts: Sequence[str] = ()
    drawing: str = ""
    table: Table | None = None
    remarks: Sequence[str] = ()

    def html(self) -> str:
        """Return the card as HTML of at most 100 kB; rows are dropped if long names would exceed that."""
        parts = [_SENTENCE.format(marked(self.sentence))]
        if self.facts:
            line = " · ".join(escaped(fact, _LONGEST_CELL) for fact in self.facts[:_MOST_FACTS])
            parts.append(f'<div style="{MUTED}">{line}</div>')
        parts.append(self.drawing)
        if self.table is not None and self.table.rows:
            parts.append(self.table.html())
        lines = "".join(
            f'<div style="margin-top:3px">{marked(text)}</div>' for text in self.remarks[:_MOST_REMARKS]
        )
        if lines:
            parts.append(f'<div style="{MUTED};margin-top:8px">{lines}</div>')
        whole = _CARD.format("".join(parts))
        return whole if len(whole.encode()) <= MOST_BYTES else self._smaller().html()

    def _smaller(self) -> Card:
        rows = self.table.rows if self.table is not None else ()
        if self.table is None or not rows:
            return replace(self, drawing="", remarks=())
        return replace(self, table=replace(self.table, rows=rows[: len(rows) // 2]))


class Described:
    """Base class of dataclasses of arrays, with a one-line repr and a card that explains the fields.

    Subclasses must be declared with `@dataclass(repr=False)`.
    """

    def __repr__(self) -> str:
        """Return one line that shows the shapes of arrays instead of their values."""
        parts = ", ".join(f"{name} {text}" for name, text in _entries(self))
        return f"<{type(self).__name__}: {parts}>"

    def _repr_html_(self) -> str:
        meanings = _meanings(type(self))
        rows = [(name, text, meanings.get(name, "")) for name, text in _entries(self)]
        columns = [("field", "name"), ("value", "words"), ("meaning", "words")]
        summary = (inspect.getdoc(type(self)) or "").split("\n\n")[0].replace("\n", " ")
        return Card(summary, (type(self).__name__,), table=Table("Fields", columns, rows)).html()


class Listing(dict[str, str]):
    """Dictionary from names to one-sentence descriptions, which notebooks display as a table."""

    def _repr_html_(self) -> str:
        columns = [("name", "name"), ("what it is", "words")]
        table = Table(f"{len(self)} names", columns, list(self.items()))
        return Card("`iv.explain(name)` explains each of these.", table=table).html()


class Explanation(str):
    """Documentation as a string, which notebooks display with its line breaks."""

    def _repr_html_(self) -> str:
        text = html.escape(visible(str(self)[:20_000], keep="\n"))
        style = "white-space:pre-wrap;font:13px/1.45 ui-monospace,monospace"
        return f'<pre class="tex2jax_ignore mathjax_ignore" style="{style}">{text}</pre>'


def escaped(text: str, length: int = _LONGEST_TEXT) -> str:
    """Escape text for HTML, make invisible characters visible, and shorten it in the middle.

    >>> escaped("<b>"), escaped("layer\\x1b"), len(escaped("x" * 10_000)) <= 600
    ('&lt;b&gt;', 'layer\\\\x1b', True)
    """
    return html.escape(shorten(visible(text), length))


def marked(text: str) -> str:
    """Escape text for HTML, with the parts between backticks as code.

    >>> marked("see `.table` & `.maps`")
    'see <code>.table</code> &amp; <code>.maps</code>'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(text))


def brief(value: Any) -> str:
    """Summarise a value: the shape and dtype of an array, or at most 60 characters of anything else.

    >>> import numpy as np
    >>> brief(np.zeros((2, 3))), brief(0.123456), brief("conv1")
    ('2 × 3 float64', '0.1235', 'conv1')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        shape = " × ".join(map(str, value.shape)) or "one number"
        return f"{shape} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return shorten(visible(value if isinstance(value, str) else repr(value)), 60)


def _style(kind: str) -> str:
    return _CELL + _ALIGN.get(kind, _NUMBER)


def _cell(text: str, kind: str) -> str:
    """Return the HTML of a cell; hovering over a shortened name shows more of it."""
    if kind == "words":
        return marked(textwrap.shorten(text, _LONGEST_CELL, placeholder=" …"))
    if len(visible(text)) <= _LONGEST_NAME:
        return escaped(text)
    return f'<span title="{escaped(text, _LONGEST_CELL)}">{escaped(text, _LONGEST_NAME)}</span>'


def _entries(value: Any) -> list[tuple[str, str]]:
    """Return the name and a summary of each public field of a dataclass."""
    return [(f.name, brief(getattr(value, f.name))) for f in fields(value) if not f.name.startswith("_")]


def _meanings(cls: type) -> dict[str, str]:
    """Return the description of each field from the `Args:` section of the docstring."""
    section = re.search(r"^Args:\n((?: +.*\n?)+)", inspect.getdoc(cls) or "", re.M)
    found: dict[str, str] = {}
    for entry in re.split(r"^ {4}(?=\S)", section[1] if section else "", flags=re.M)[1:]:
        names, _, text = entry.partition(":")
        found |= dict.fromkeys((name.strip() for name in names.split(",")), " ".join(text.split()))
    return found
