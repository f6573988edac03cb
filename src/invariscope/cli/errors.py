"""How commands end: one line for a user error, a traceback for a bug."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from invariscope.cli import INTERRUPTED, USER_ERROR
from invariscope.cli.console import complain
from invariscope.cli.options import spread

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# Exceptions that bad input raises. Anything else is a bug in this package and keeps its traceback.
_USER_ERRORS = (ValueError, TypeError, OSError)


class Interrupted(KeyboardInterrupt):
    """Interruption by Ctrl-C, with a message about which results were saved."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a function with a `debug` option into a command that exits with 2 on bad input, 130 on Ctrl-C.

    Parameters that are groups of options are replaced by single options (`options.spread`).
    """
    run = spread(function)

    @functools.wraps(run)
    def guarded(**options: Any) -> None:
        try:
            run(**options)
        except (*_USER_ERRORS, ImportError) as error:
            if not _is_user_error(error):
                raise
            if options.get("debug"):
                traceback.print_exc()
            complain(_message(error))
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt as error:
            complain(str(error) or "nothing was written.", word="interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return guarded


def _is_user_error(error: Exception) -> bool:
    if isinstance(error, BrokenPipeError):
        return False  # the reader of the output has exited; typer then ends the command quietly
    # A failed import statement sets `name`, which means a bug here unless a note shows that the import is in
    # the user's code. Errors about missing extras have no `name`.
    return (
        isinstance(error, _USER_ERRORS) or getattr(error, "name", None) is None or hasattr(error, "__notes__")
    )


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    notes: list[Any] = getattr(error, "__notes__", [])
    return " ".join([text, *map(str, notes)])
