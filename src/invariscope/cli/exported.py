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

# Entries of the archive that hold pickles of arbitrary classes; ordinary programs have none.
_OBJECTS = ("custom_obj", "opaque_obj")


def load_exported(path: Path) -> nn.Module:
    """The module of a `.pt2` file.

    Its tensors are read without unpickling anything else, and a file that brings pickled objects is
    refused. The program itself is code all the same: open files only from where you would also run
    a script from.

    Raises:
        ValueError: truncated, no such archive, or it holds pickled objects.
    """
    import torch

    _refuse_objects(path)
    try:
        with only_tensors(), _quiet():
            return torch.export.load(path).module()
    except Exception as error:  # torch documents no exception of its own for a damaged archive
        raise ValueError(
            f"{path} is truncated or no exported program that this torch reads ({type(error).__name__}). "
            "Write it again with torch.export.save, with a dynamic batch dimension."
        ) from error


def _refuse_objects(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is truncated or no .pt2 archive ({error})") from error
    pickled = [name for name in names if name.rpartition("/")[2].startswith(_OBJECTS)]
    if pickled:
        raise ValueError(f"{path} is refused: it holds pickled objects ({pickled[0]}), which could run code")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's log of the traceback: what is wrong is said once, by the error."""
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def only_tensors() -> Iterator[None]:
    """Inside, `torch.load` reads tensors and plain containers only, whatever its caller asks for."""
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
