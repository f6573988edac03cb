"""Output of the commands: results to standard output, everything else to standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderHook
from rich.segment import Segment
from rich.text import Text

from invariscope.common.wording import visible

_UNLIMITED = 10_000
_LAYOUT = "\n\t"
_MOST_COMPLAINT = 10_000  # characters


class _Visible:
    """What another object renders to, with escapes for characters that the terminal would obey."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else visible(text, keep=_LAYOUT), style, control)


class _Escaping(RenderHook):
    """Lets no text of a user's names reach the terminal as a command, whatever prints it."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Visible(inner) for inner in renderables]


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    console.push_render_hook(_Escaping())
    return console


def show(*things: Any) -> None:
    """Print results, such as tables and sentences, without cropping.

    A table wider than the terminal is printed at its full width, since a name that is cut off cannot be
    copied.
    """
    console = _console()
    things = tuple(Text(visible(it, keep=_LAYOUT)) if isinstance(it, str) else it for it in things)
    console.width = max([console.width, *(_needed(thing, console) for thing in things)])
    console.print(*things, crop=False)


def _needed(thing: Any, console: Console) -> int:
    """Return the minimum width of a table; 0 for other objects, which wrap."""
    if not hasattr(thing, "__rich_measure__"):
        return 0
    return thing.__rich_measure__(console, console.options.update(max_width=_UNLIMITED)).minimum


def needed_width(table: Any) -> int:
    """Return the minimum width of a table."""
    return _needed(table, _console())


def terminal_width() -> int | None:
    """Return the width that tables must fit; None if the output goes to a file or another command."""
    console = _console()
    return console.width if console.is_terminal or os.environ.get("COLUMNS") else None


def show_line(text: str) -> None:
    """Print one line of results without wrapping, so that a path in it can be copied."""
    _console().print(Text(visible(text)), soft_wrap=True)


def notice(text: str) -> None:
    """Print a status message to standard error."""
    _console(stderr=True).print(Text(visible(text, keep=_LAYOUT), style="dim"), soft_wrap=True)


def indented(text: str) -> str:
    """Indent all lines but the first."""
    return "\n  ".join(text.splitlines())


def complain(text: str, *, word: str = "error") -> None:
    """Print an error in red, without interpreting brackets in the text as markup.

    Further lines are indented, so that no line of a name looks like an error of its own; a text that no one
    would read to its end is shortened.
    """
    if len(text) > _MOST_COMPLAINT:
        text = f"{text[: _MOST_COMPLAINT // 2]} … {text[-_MOST_COMPLAINT // 2 :]}"
    line = Text.assemble((f"{word}: ", "bold red"), (visible(indented(text), keep=_LAYOUT), "red"))
    _console(stderr=True).print(line, soft_wrap=True)
