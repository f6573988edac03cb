"""Where the commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Tick = Callable[[int, "int | None"], None]


def show(*things: Any) -> None:
    """Tables, paths, sentences: what the command was asked for. What is too wide is not cut."""
    Console(highlight=False).print(*things, crop=False)


def show_line(text: str) -> None:
    """One line that is never wrapped, so that a path in it can be copied."""
    Console(highlight=False).print(Text(text), soft_wrap=True)


def notice(text: str) -> None:
    """What is being done, and what to know about it."""
    Console(stderr=True, highlight=False).print(Text(text, style="dim"), soft_wrap=True)


def complain(text: str, *, word: str = "error") -> None:
    """One line in red; the text may hold anything, brackets included."""
    line = Text.assemble((f"{word}: ", "bold red"), (text, "red"))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Tick]]:
    """Yields `bar(title)`, whose `tick(done, total)` shows a bar with a time estimate, once called."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars = Progress(*columns, console=Console(stderr=True))
    try:
        yield lambda title: _Bar(bars, title)
    finally:
        if bars.live.is_started:
            bars.stop()


class _Bar:
    """One line of the bars, added when there is something to show."""

    def __init__(self, bars: Progress, title: str) -> None:
        self._bars, self._title = bars, title
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int | None) -> None:
        if self._task is None:
            self._bars.start()
            self._task = self._bars.add_task(self._title, total=total)
        self._bars.update(self._task, completed=done, total=total)
