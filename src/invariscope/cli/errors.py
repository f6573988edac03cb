"""How a command ends: one clear line for what the user can mend, a traceback for what we must."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec

import typer

from invariscope.cli.console import complain

P = ParamSpec("P")

USER_ERROR, INTERRUPTED = 2, 130

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# What bad input raises. Anything else is a defect of ours and keeps its traceback.
_MENDABLE = (ValueError, TypeError, OSError)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence on what is left of the work."""


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Makes a function with a `debug` option a command: bad input ends it with code 2, Ctrl-C with 130."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (*_MENDABLE, ImportError) as error:
            if not _is_mendable(error):
                raise
            if kwargs.get("debug"):
                traceback.print_exc()
            complain(_message(error))
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt as error:
            complain(str(error) or "nothing was written.", word="interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return guarded


def _is_mendable(error: Exception) -> bool:
    if isinstance(error, BrokenPipeError):
        return False  # whoever read the output has gone; typer ends such a command quietly
    # An import that fails by itself names its module; a missing extra, or the user's code, says more.
    return isinstance(error, _MENDABLE) or getattr(error, "name", None) is None or hasattr(error, "__notes__")


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    notes: list[Any] = getattr(error, "__notes__", [])
    return " ".join([text, *map(str, notes)])
