"""The command line: every command passes its arguments to the Python API and shows the result.

Importing it is cheap: torch is loaded by the first command that needs it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Run `invariscope` with the arguments of the process."""
    # Read when torch is loaded. Threads that spin while waiting made training five times slower on a busy
    # machine and gain next to nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A terminated command also removes its scratch folder.
    signal.signal(signal.SIGTERM, _terminated)
    # Names of layers may hold any character; a terminal that lacks one shows a `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from invariscope.cli.app import app

    app(prog_name="invariscope")


def _terminated(number: int, _: Any) -> None:
    sys.exit(128 + number)
