"""The memory that is available to this process."""

from __future__ import annotations

import os
from pathlib import Path


def available_memory() -> int:
    """Return the available bytes; on Linux, they include the file cache that the system can give up."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    found = next((line for line in lines if line.startswith("MemAvailable:")), "x: 0")
    return 1024 * int(found.split()[1]) or os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
