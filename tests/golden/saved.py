"""Writes what this version saves: `python -m tests.golden.saved [FOLDER]`, a result and a checkpoint.

The folder `saved` beside this file was written by the version that `VERSION` names. It stays as it is: later
versions must read it, or say which version wrote it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import invariscope as iv

from . import reach
from .of_options import SAVED, interrupted, quick

VERSION = "0.1.0"
CHECKPOINT = "sums.safetensors"
RUN: dict[str, Any] = {"batch_size": 16, "layers": "fc"}


def measured() -> iv.Result:
    """What the saved result holds."""
    return quick(by_class=True, layers="fc", baseline="random", draws=3)


def write(folder: Path) -> None:
    measured().save(folder / "result")
    with reach.frequent_checkpoints():
        interrupted(folder / CHECKPOINT, **RUN)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else SAVED)
