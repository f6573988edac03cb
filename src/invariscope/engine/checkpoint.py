"""Save the states and the progress of an unfinished measurement to disk, and resume from them."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.files import replacing, scratch_beside
from invariscope.common.sealing import BLANKS, seal, verified
from invariscope.common.wording import listed
from invariscope.engine.identity import Identities, difference, digest_of, stored
from invariscope.engine.options import EVERY_SECONDS
from invariscope.engine.packing import packed, unpack
from invariscope.engine.shielding import shielded

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.statistics.base import Statistic

OTHER_DATA = "the checkpoint was made with different data"
REMEDY = "Pass another checkpoint file, or remove this one"


@dataclass(frozen=True)
class Position:
    """Progress of a walk over the samples.

    Args:
        windows: index of the current window.
        blocks: number of blocks of this window that the sums include.
        data: digest of the samples of all windows up to and including this one.
        room: number of samples per block, on which the division into blocks depends.
        ahead: digest of the samples that were read before the walk, for thresholds, bins and means.
    """

    windows: int
    blocks: int
    data: str
    room: int | None = None
    ahead: str = ""


def _now() -> float:
    return time.monotonic()


@dataclass
class Checkpoint:
    """A checkpoint file, replaced atomically at intervals and removed once the measurement is complete.

    Args:
        path: path of the file.
        identities: identities of everything that must be unchanged for the measurement to resume.
        every: seconds between two writes; 0 writes after every block.
    """

    path: Path
    identities: Identities
    every: float = EVERY_SECONDS
    _written: float = field(default_factory=_now)
    _unsaved: tuple[Run, Position] | None = None
    _failed: bool = False

    @property
    def digest(self) -> str:
        """Return a short digest of the identities."""
        return digest_of(self.identities)

    def due(self) -> bool:
        """Return whether enough time has passed since the last write."""
        return _now() - self._written >= self.every

    @contextlib.contextmanager
    def block(self, run: Run, position: Position) -> Iterator[None]:
        """Delay Ctrl-C and SIGTERM while the context adds a block to a run's sums; save them if due.

        Args:
            run: the run.
            position: the position after the block.
        """
        with shielded():
            self._unsaved = None  # half of a block cannot be saved
            yield
            self._unsaved = run, position
            if self.due():
                self.write(run, position)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Save the sums if an exception ends the context between two blocks."""
        try:
            yield
        except BaseException:
            if self._unsaved is not None:
                with shielded():
                    self.write(*self._unsaved)
            raise

    @contextlib.contextmanager
    def complete(self) -> Iterator[None]:
        """Delete the file at the end of the context; if an exception ends it, save the sums."""
        with self.kept():
            yield
        self.remove()

    def write(self, run: Run, position: Position) -> None:
        """Save the run's states at a position; warn once if the file cannot be written."""
        document, arrays = packed(run)
        document |= {"digest": self.digest, "identity": stored(self.identities)}
        document |= {"data": position.data, "walked": [position.windows, position.blocks]}
        document |= {"room": position.room, "ahead": position.ahead}
        self._written = _now()
        if failure := save(self.path, document, arrays):
            text = (
                f"the checkpoint {self.path} cannot be written ({failure}): an interruption would lose "
                "later sums"
            )
            if not self._failed:
                run.note_once(text)
                warnings.warn(text, stacklevel=2)
            self._failed = True
            return
        self._unsaved = None

    def read(self, run: Run, statistics: tuple[Statistic, ...]) -> Position | None:
        """Restore the run from the file and return its position, or None if there is no file.

        Raises:
            ValueError: the file is damaged, or belongs to another measurement.
        """
        refuse_unwritable(self.path)
        if not self.path.exists():
            return None
        document, arrays = load(self.path)
        if document["digest"] != self.digest:
            raise ValueError(
                f"{self.path} belongs to another measurement "
                f"({difference(document.get('identity', {}), self.identities)}). {REMEDY}."
            )
        self._refuse_other_sums(document, statistics)
        unpack(run, document, arrays, statistics)
        windows, blocks = document["walked"]
        return Position(windows, blocks, document["data"], document.get("room"), document.get("ahead", ""))

    def _refuse_other_sums(self, document: dict[str, Any], statistics: tuple[Statistic, ...]) -> None:
        """Raise ValueError if the file contains states that this version does not have."""
        if {name for _, _, name in document["states"]} - set(map(repr, statistics)):
            raise ValueError(
                f"{self.path} was written by an earlier version, such as 0.1.0, whose sums differ. "
                "Finish the measurement with that version, or remove the file to start over."
            )

    def remove(self) -> None:
        """Delete the file."""
        self._unsaved = None
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def refuse_unwritable(path: Path) -> None:
    """Raise ValueError if the path is a folder, or OSError if no file can be written there.

    Removes partial files that a killed run left behind.
    """
    if path.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is a folder; pass the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_beside(path) as scratch:
            (scratch / path.name).write_bytes(b"")
    except OSError as error:
        raise OSError(
            f"checkpoint={str(path)!r} cannot be written ({error.strerror or error}); pass the path of a "
            "file in a folder that you can write to"
        ) from error


def refuse_unseen(places: list[str], *, option: str = "checkpoint=") -> None:
    """Raise ValueError if fingerprints do not cover some parts, so that changes to them would be missed.

    Args:
        places: the parts that are not covered, from `Identity.unseen`.
        option: the option that needs fingerprints, for the message.
    """
    if places:
        raise ValueError(
            f"{option} needs a fingerprint of the model and the transform, which cannot cover "
            f"{listed(places, limit=3)}. Use arrays, plain values, functions or picklable objects there, or "
            f"measure without {option}"
        )


def save(path: Path, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Replace a file atomically; return the reason if that fails, else an empty string."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        with replacing(path) as scratch:
            save_file(arrays, scratch, metadata={"run": json.dumps(document)} | BLANKS)
            seal(scratch)
    except (OSError, SafetensorError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the document and the arrays that `save` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    sealed = verified(path)
    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {})["run"])
            if not sealed:
                raise ValueError("it has no SHA-256; an earlier version, such as 0.1.0, may have written it")
            return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or not a checkpoint ({error}); remove it to start over"
        ) from error
