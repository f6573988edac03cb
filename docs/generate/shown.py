"""Run the code blocks that a page marks with `<!-- show -->`, and insert what they print, return and draw.

A block whose last line is an expression shows its value as a notebook would: a figure as an image, a card as
HTML, anything else as text. `<!-- show: text -->` sets the alternative text of the figure.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

DPI = 110
_BLOCK = re.compile(
    r"^<!-- show(?:: (?P<alt>[^\n]*?))? -->\n+(?P<fence>```python\n(?P<code>.*?)^```$)", re.M | re.S
)


@dataclass(frozen=True)
class Shown:
    """A page with the outputs of its blocks, and the files that it refers to.

    Args:
        markdown: text of the page.
        files: images and reports by file name, relative to the folder of the page.
    """

    markdown: str
    files: dict[str, bytes]


def has_blocks(markdown: str) -> bool:
    """Return whether a page has marked blocks."""
    return _BLOCK.search(markdown) is not None


@cache
def shown(markdown: str, name: str) -> Shown:
    """Return the page called `name` (without suffix) after running its blocks in order, in one namespace.

    A report that a block writes to `report.html` becomes the file `NAME-report.html` of the site.

    Raises:
        RuntimeError: a block fails.
    """
    files: dict[str, bytes] = {}
    names: dict[str, Any] = {"__name__": "__main__"}

    def replaced(block: re.Match[str]) -> str:
        value, printed = run(block["code"], names, f"{name}.md")
        parts = [block["fence"], f"```text\n{printed}```" if printed else ""]
        if isinstance(value, Figure):
            file = f"{name}-{len(files) + 1}.png"
            files[file] = png(value)
            parts.append(f"![{block['alt'] or 'Figure drawn by the code above'}]({file})")
        elif value is not None:
            parts.append(_displayed(value))
        return "\n\n".join(part for part in parts if part)

    with scratch():
        text = _BLOCK.sub(replaced, markdown)
        files |= {f"{name}-{path}": path.read_bytes() for path in Path().glob("*.html")}
    return Shown(text, files)


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """Work in a temporary folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def run(code: str, names: dict[str, Any], place: str) -> tuple[Any, str]:
    """Run code in a namespace; return the value of its last line if that is an expression, and the output.

    Raises:
        RuntimeError: the code fails.
    """
    *body, last = ast.parse(code).body
    body, last = (body, last.value) if isinstance(last, ast.Expr) else ([*body, last], None)
    printed = io.StringIO()
    try:
        # Progress bars are drawn only if standard error is a terminal.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(ast.Module(body, []), place, "exec"), names)
            value = None if last is None else eval(compile(ast.Expression(last), place, "eval"), names)
    except Exception as error:
        raise RuntimeError(f"{place}: a code block fails with {error!r}:\n{code}") from error
    return value, printed.getvalue()


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file, on a white background."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight")
    return file.getvalue()


def _displayed(value: Any) -> str:
    html = getattr(value, "_repr_html_", None)
    text = html() if html else None
    if text is None:
        return f"```text\n{value!r}\n```"
    # Blank lines would end the HTML block of Markdown.
    return '<div class="shown">' + re.sub(r"\n\s*\n", "\n", text) + "</div>"
