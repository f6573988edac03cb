"""Save an unfinished measurement to disk, and resume it: merged states and progress of the walk."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.sealing import BLANKS, seal, verified
from invariscope.common.wording import listed
from invariscope.engine.packing import packed, unpack

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.statistics.base import Statistic

_EVERY_SECONDS = 30.0


@dataclass
class Checkpoint:
    """A file that is replaced atomically every 30 seconds, and removed once the measurement is complete.

    Args:
        path: path of the file.
        identity: what must not change if the measurement is to resume: model, transform, measures, options.
    """

    path: Path
    identity: dict[str, Any]
    _written: float = field(default_factory=time.monotonic)

    @property
    def digest(self) -> str:
        """Return a short digest of the identity."""
        text = json.dumps(self.identity, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def due(self) -> bool:
        """Return whether it is time to write again."""
        return time.monotonic() - self._written > _EVERY_SECONDS

    def write(self, run: Run, *, windows: int, blocks: int, data: str) -> None:
        """Save the run's states after `blocks` blocks of window number `windows`."""
        from safetensors.numpy import save_file

        document, arrays = packed(run)
        document |= {"digest": self.digest, "data": data, "walked": [windows, blocks]}
        scratch = self.path.with_name(f".{self.path.name}.part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, scratch, metadata={"run": json.dumps(document)} | BLANKS)
        seal(scratch)
        os.replace(scratch, self.path)
        self._written = time.monotonic()

    def read(self, run: Run, statistics: tuple[Statistic, ...]) -> tuple[int, int, str] | None:
        """Restore the run from the file; return its window, block and data digest, or None without a file.

        Raises:
            ValueError: the file is damaged, or belongs to another measurement.
        """
        if not self.path.exists():
            return None
        if self.path.is_dir():
            raise ValueError(f"checkpoint={str(self.path)!r} is a folder; pass the path of a file")
        document, arrays = _load(self.path)
        if document["digest"] != self.digest:
            raise ValueError(
                f"{self.path} belongs to another measurement (different model, transform, measures or "
                "options). Pass another checkpoint file, or remove this one."
            )
        self._refuse_other_sums(document, statistics)
        unpack(run, document, arrays, statistics)
        return document["walked"][0], document["walked"][1], document["data"]

    def _refuse_other_sums(self, document: dict[str, Any], statistics: tuple[Statistic, ...]) -> None:
        """Raise ValueError if the file holds states that this version does not have."""
        from invariscope import __version__

        if {name for _, _, name in document["states"]} - set(map(repr, statistics)):
            raise ValueError(
                f"{self.path} was written by an earlier build of version {__version__}, whose sums differ. "
                "Finish the measurement with that build, or remove the file to start over."
            )

    def remove(self) -> None:
        """Delete the file after the measurement is complete."""
        self.path.unlink(missing_ok=True)


def refuse_unseen(places: list[str], *, option: str = "checkpoint=") -> None:
    """Raise ValueError if fingerprints do not cover some part, so that a change in it could go unnoticed.

    Args:
        places: parts that are not covered, from `Identity.unseen`.
        option: the option that needs fingerprints, for the message.
    """
    if places:
        raise ValueError(
            f"{option} needs a fingerprint of the model and the transform, which cannot cover "
            f"{listed(places, limit=3)}. Use arrays, plain values, functions or picklable objects there, or "
            f"measure without {option}"
        )


def _load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    from invariscope import __version__

    sealed = verified(path)
    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {})["run"])
            if not sealed:
                raise ValueError(f"it has no SHA-256: an earlier build of version {__version__} wrote it")
            return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or not a checkpoint ({error}); remove it to start over"
        ) from error
