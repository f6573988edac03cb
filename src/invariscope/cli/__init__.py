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
    end_on_signals()
    # Layer names may contain any character. One that the terminal's encoding lacks is printed as `?`.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from invariscope.cli.app import app

    app(prog_name="invariscope")


def end_on_signals() -> None:
    """Turn SIGTERM, and the SIGHUP of a closed terminal, into an exception.

    A command then removes its scratch folder and ends its children. `nohup` ignores SIGHUP, which stays so.
    """
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminated)


def _terminated(number: int, _: Any) -> None:
    sys.exit(128 + number)
