"""The command line, thin: every command hands its arguments to the Python API and shows what comes back.

Importing it costs little: torch is loaded by the first command that needs it.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs `invariscope` with the arguments of the process."""
    from invariscope.cli.app import app

    # Names of layers and the like may hold any character; a terminal that lacks one shows a `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="invariscope")
