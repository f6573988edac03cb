"""The command line: each command passes its arguments to the Python API and shows the result.

Importing this package is cheap, because torch is loaded only by commands that need it.
"""

from __future__ import annotations

import io
import os
import sys

from invariscope.cli.signals import end_on_signals

USER_ERROR, INTERRUPTED = 2, 130


def main() -> None:
    """Run `invariscope` with the command-line arguments of the process."""
    # torch reads this on import. Threads that spin while waiting made training five times slower on a busy
    # machine and gain almost nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    end_on_signals()
    # Layer names may contain any character. One that the terminal's encoding lacks is printed as `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    _refuse_empty(sys.argv[1:])
    try:
        from invariscope.cli.app import app

        app(prog_name="invariscope")
    except KeyboardInterrupt:  # before the command began
        sys.stderr.write("interrupted: nothing was written.\n")
        sys.exit(INTERRUPTED)


def _refuse_empty(arguments: list[str]) -> None:
    """Exit with an error for an empty argument, which as a path would be the working folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument and before != "--title":
            what = f"the value of {before}" if before.startswith("--") else "an argument"
            sys.stderr.write(f"error: {what} is empty. Is it an unset variable of the shell?\n")
            sys.exit(USER_ERROR)
