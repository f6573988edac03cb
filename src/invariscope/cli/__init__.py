"""The command line: each command passes its arguments to the Python API and shows the result.

Importing this package is cheap, because torch is loaded only by commands that need it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Run `invariscope` with the command-line arguments of the process."""
    # torch reads this on import. Threads that spin while waiting made training five times slower on a busy
    # machine and gain almost nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Turn SIGTERM into an exception, so that a terminated command removes its scratch folder.
    signal.signal(signal.SIGTERM, _terminated)
    # Layer names may contain any character. One that the terminal's encoding lacks is printed as `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from invariscope.cli.app import app

    app(prog_name="invariscope")


def _terminated(number: int, _: Any) -> None:
    sys.exit(128 + number)
