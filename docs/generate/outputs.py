"""Write the outputs that pages show: `python docs/generate/outputs.py`.

A page marks its runnable blocks with `<!-- run -->` and the places of their outputs with `<!-- output -->`.
The blocks of a page run in order, in one namespace, and each output replaces the block of text behind its
mark. A test compares the pages with what this writes.
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]

_PART = re.compile(
    r"^<!-- run -->\n+```python\n(?P<code>.*?)^```$|^<!-- output -->\n+```text\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_MARK = "<!-- output -->"
WIDTH = 118
_COLUMN = " " * 15


def pages() -> list[Path]:
    """Return the pages that show outputs."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _MARK in page.read_text()]


def with_outputs(text: str) -> str:
    """Return the text of a page with the outputs of its blocks.

    Raises:
        ValueError: a mark is not followed by a block of text.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    parts, end, printed = [], 0, ""
    for found in _PART.finditer(text):
        parts.append(text[end : found.start()])
        if found["code"] is not None:
            parts.append(found[0])
            printed = _printed(found["code"], namespace)
        else:
            parts.append(f"{_MARK}\n```text\n{wrapped(printed)}\n```")
        end = found.end()
    whole = "".join([*parts, text[end:]])
    if whole.count(_MARK) != sum(1 for found in _PART.finditer(text) if found["text"] is not None):
        raise ValueError(f"a mark {_MARK} has no block of text behind it")
    return whole


def wrapped(text: str) -> str:
    """Return text in lines of a page's width; continued lines of a message align with its second column."""
    return "\n".join(_wrapped_line(line) for line in text.rstrip().splitlines())


def _wrapped_line(line: str) -> str:
    indent = _COLUMN if line.startswith("  ") else ""
    how = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": indent}
    return textwrap.fill(line, WIDTH, **how)


def _printed(code: str, namespace: dict[str, object]) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, "<page>", "exec"), namespace)
    return stream.getvalue()


def outputs_of(text: str) -> Iterator[str]:
    """Yield the outputs that a page shows."""
    return (found["text"] for found in _PART.finditer(text) if found["text"] is not None)


if __name__ == "__main__":
    for page in pages():
        before = page.read_text()
        after = with_outputs(before)
        if after != before:
            page.write_text(after)
            print(page.relative_to(DOCS))
