"""Keep finished passes of random networks beside the checkpoint, so that resumed runs skip them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from invariscope.data.source import Source
from invariscope.data.window import Fingerprint
from invariscope.engine.checkpoint import OTHER_DATA, load, refuse_unseen, refuse_unwritable, save
from invariscope.engine.identity import Identities, difference, digest_of, identities_of_walk, stored, unseen
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.engine.task import Task
from invariscope.readers.fingerprint import identify


@dataclass(frozen=True)
class Pass:
    """What is kept of a pass.

    Args:
        facts: plain data.
        arrays: arrays by name.
    """

    facts: Any
    arrays: Mapping[str, np.ndarray]


@dataclass
class Passes:
    """The finished passes of a measurement by name, in a file that is removed once there is a result.

    Args:
        path: path of the file; None keeps nothing.
        identities: what must not change if the passes are to be used.
        data: digest of the samples of the passes.
        finished: the passes.
    """

    path: Path | None = None
    identities: Identities = field(default_factory=dict)
    data: str = ""
    finished: dict[str, Pass] = field(default_factory=dict)
    _failed: bool = False

    @classmethod
    def of(cls, task: Task) -> Passes:
        """Return the passes that an interrupted run of a task has finished.

        Raises:
            ValueError: they are damaged, or belong to another measurement or other data.
            OSError: nothing can be written there.
        """
        options = task.options
        if options.checkpoint is None:
            return cls()
        checkpoint = Path(str(options.checkpoint))
        refuse_unwritable(checkpoint)
        wanted = options.baseline is not None or any(measure.needs_reference for measure in task.measures)
        first = next(task.source.windows(), None) if wanted else None
        if first is None:
            return cls()
        needs, model = Needs.of(task.measures), task.reader.identity()
        identities = identities_of_walk(model, task.source, task.transform, needs, options, first)
        identities["baseline"] = identify(options.baseline, "baseline")
        refuse_unseen(unseen(identities))
        found = cls(path := checkpoint.with_name(f"{checkpoint.name}.passes"), identities)
        refuse_unwritable(path)
        found._read(task.source)
        return found

    def options_of(self, options: Options) -> Options:
        """Return the options of a pass, whose checkpoint has a file of its own."""
        own = None if options.checkpoint is None else f"{options.checkpoint}.pass"
        return replace(options, checkpoint=own)

    def known(self, name: str, compute: Callable[[], tuple[Pass, str]]) -> Pass:
        """Return a finished pass, or compute and keep it.

        Args:
            compute: returns the pass and the digest of its samples.
        """
        if name not in self.finished:
            self.finished[name], self.data = compute()
            self._write()
        return self.finished[name]

    def remove(self) -> None:
        """Delete the file."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self.path is None:
            return
        document = {
            "digest": digest_of(self.identities),
            "identity": stored(self.identities),
            "data": self.data,
            "passes": {name: one.facts for name, one in self.finished.items()},
        }
        arrays = {
            f"{name}/{own}": array for name, one in self.finished.items() for own, array in one.arrays.items()
        }
        failure = save(self.path, document, arrays)
        if failure and not self._failed:
            warnings.warn(
                f"{self.path} cannot be written ({failure}): an interruption loses later passes", stacklevel=2
            )
        self._failed |= bool(failure)

    def _read(self, source: Source) -> None:
        assert self.path is not None
        if not self.path.exists():
            return
        document, arrays = load(self.path)
        remedy = f"Pass another checkpoint file, or remove {self.path}."
        if document["digest"] != digest_of(self.identities):
            different = difference(document["identity"], self.identities)
            raise ValueError(f"{self.path} belongs to another measurement ({different}). {remedy}")
        digest = Fingerprint()
        for window in source.windows():
            digest.add(window)
        if digest.hexdigest() != document["data"]:
            raise ValueError(f"{OTHER_DATA}: their values, labels, groups or number differ. {remedy}")
        self.data = document["data"]
        for name, facts in document["passes"].items():
            own = {place: array for place, array in arrays.items() if place.startswith(f"{name}/")}
            self.finished[name] = Pass(facts, {p.removeprefix(f"{name}/"): a for p, a in own.items()})
