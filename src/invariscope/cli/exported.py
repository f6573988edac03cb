"""Programs written by `torch.export.save`."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

# Archive entries that hold pickles of arbitrary classes; ordinary programs have none.
_OBJECTS = ("custom_obj", "opaque_obj")


def load_exported(path: Path) -> nn.Module:
    """Load the module of a `.pt2` file.

    Only tensors are unpickled, and a file with other pickled objects is rejected. The program itself is still
    code: open only files from sources whose scripts you would run.

    Raises:
        ValueError: the file is truncated, not such an archive, or holds pickled objects.
    """
    import torch

    _refuse_objects(path)
    try:
        with only_tensors(), _quiet():
            return torch.export.load(path).module()
    except Exception as error:  # torch documents no exception of its own for a damaged archive
        raise ValueError(
            f"cannot load {path} as an exported program ({type(error).__name__}); it may be truncated. "
            "Save it again with torch.export.save and a dynamic batch dimension."
        ) from error


def _refuse_objects(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is truncated or not a .pt2 archive ({error})") from error
    pickled = [name for name in names if name.rpartition("/")[2].startswith(_OBJECTS)]
    if pickled:
        raise ValueError(f"{path} is rejected: it holds pickled objects ({pickled[0]}), which could run code")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's log of the traceback; the error reports the problem."""
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def only_tensors() -> Iterator[None]:
    """Restrict `torch.load` to tensors and plain containers, whatever its caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
