"""The command line, thin: every command hands its arguments to the Python API and shows what comes back.

Importing it costs little: torch is loaded by the first command that needs it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Runs `invariscope` with the arguments of the process."""
    # Read when torch is loaded. Threads that spin while they wait made training five times slower on a
    # machine that was busy with something else, and gain next to nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # So that a terminated command, too, takes its scratch folder away.
    signal.signal(signal.SIGTERM, _terminated)
    # Names of layers and the like may hold any character; a terminal that lacks one shows a `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from invariscope.cli.app import app

    app(prog_name="invariscope")


def _terminated(number: int, _: Any) -> None:
    sys.exit(128 + number)
