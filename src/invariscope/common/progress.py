"""Report progress through a bar in a terminal or notebook, or through the caller's function."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from invariscope.common.cards import escaped
from invariscope.common.wording import shorten, visible

Tick = Callable[[int, "int | None"], None]

_INTERVAL_S = 0.1  # between updates in a notebook; every update is a message to the browser
_LINE = (
    '<div class="tex2jax_ignore mathjax_ignore" style="display:flex;align-items:center;gap:10px;'
    'flex-wrap:wrap;font:13px/1.5 system-ui,-apple-system,&quot;Segoe UI&quot;,sans-serif">'
    '<span>{title}</span><progress aria-label="{title}" {state} style="width:16em"></progress>'
    '<span style="opacity:.75;font-variant-numeric:tabular-nums">{count}</span></div>'
)


@contextmanager
def ticking(progress: bool | Tick, title: str) -> Iterator[Tick]:
    """Yield a function `tick(done, total)`: the caller's own, one that updates a bar, or a no-op."""
    if callable(progress):
        yield progress
    elif progress:
        with progress_bars() as bar:
            yield bar(title)
    else:
        yield lambda done, total: None


@contextmanager
def progress_bars(*, transient: bool = True) -> Iterator[Callable[[str], Tick]]:
    """Yield a function `bar(title)` that creates a bar and returns `tick(done, total)` to update it.

    In a notebook, all bars of a cell share one line, which is cleared at the end. In a terminal, each has its
    own line on standard error. Elsewhere, nothing is shown.

    Args:
        transient: whether the terminal is cleared of the bars at the end.
    """
    shell = _notebook()
    if shell is not None:
        line = _Line.of(shell)
        try:
            yield lambda title: _Bar(line, title)
        finally:
            line.clear()
    elif sys.stderr.isatty():
        with terminal_bars(transient=transient) as bar:
            yield bar
    else:
        yield lambda title: lambda done, total: None


def _notebook() -> Any:
    """Return the IPython shell if this is a Jupyter kernel, else None, without importing IPython."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = find() if callable(find) else None
    return shell if getattr(shell, "kernel", None) is not None else None


class _Line:
    """The line of a cell's output that shows the bars.

    All bars of a cell share it, so a hundred measurements leave only one empty output in the saved notebook.
    """

    _last: tuple[Any, int, _Line] | None = None

    def __init__(self) -> None:
        self._handle: Any = None

    @classmethod
    def of(cls, shell: Any) -> _Line:
        """Return the line of the cell that is running."""
        if cls._last is None or cls._last[0] is not shell or cls._last[1] != shell.execution_count:
            cls._last = shell, shell.execution_count, cls()
        return cls._last[2]

    def show(self, html: str, text: str) -> None:
        """Replace the line; front ends without HTML show the text."""
        from IPython.display import display  # type: ignore[import-not-found]

        content = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def clear(self) -> None:
        """Clear the line."""
        if self._handle is not None:
            self.show("", "")


class _Bar:
    """A bar in a notebook, updated at most ten times per second."""

    def __init__(self, line: _Line, title: str) -> None:
        self._line, self._title = line, shorten(visible(title), 80)
        self._start = self._next = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are finished."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL_S
        state = f'value="{done}" max="{total}"' if total else ""
        count = _counted(done, total, now - self._start)
        title = escaped(self._title)
        self._line.show(_LINE.format(title=title, state=state, count=count), f"{self._title}: {count}")


def _counted(done: int, total: int | None, seconds: float) -> str:
    """Return the count and the remaining time as text.

    >>> _counted(128, 512, 10.0), _counted(0, 512, 0.0), _counted(64, None, 1.0)
    ('128/512, 0:30 left', '0/512', '64')
    """
    if not total:
        return f"{done:,}"
    left = f", {_clock(seconds * (total - done) / done)} left" if 0 < done < total else ""
    return f"{done:,}/{total:,}{left}"


def _clock(seconds: float) -> str:
    """Format a duration as m:ss or h:mm:ss.

    >>> _clock(65), _clock(3725)
    ('1:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def terminal_bars(*, transient: bool = False) -> Iterator[Callable[[str], Tick]]:
    """Yield `bar(title)` as `progress_bars` does, but always write to standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=not transient),
    )
    bars = Progress(*columns, console=Console(stderr=True), transient=transient)

    def bar(title: str) -> Tick:
        task = None

        def tick(done: int, total: int | None) -> None:
            nonlocal task
            if task is None:
                bars.start()
                task = bars.add_task(visible(title), total=total)
            bars.update(task, completed=done, total=total)

        return tick

    try:
        yield bar
    finally:
        if bars.live.is_started:
            bars.stop()
