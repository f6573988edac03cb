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

from invariscope.common.wording import listed

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.statistics.base import Statistic

_EVERY_SECONDS = 30.0
_COUNTS = (("skipped", "skipped_samples"), ("uneven", "uneven"), ("unpaired", "unpaired"))


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

        arrays, names = {}, []
        for number, ((key, statistic), state) in enumerate(run.states.items()):
            names.append([*key, repr(statistic)])
            arrays |= {
                f"{number}/{name}": np.ascontiguousarray(a) for name, a in statistic.pack(state).items()
            }
        document = {
            "digest": self.digest,
            "data": data,
            "walked": [windows, blocks],
            "states": names,
            "aliases": [[*key, *source] for key, source in run.aliases.items()],
            **{name: [[*key, count] for key, count in getattr(run, own).items()] for name, own in _COUNTS},
            "withdrawn": [[*key, reason] for key, reason in run.withdrawn.items()],
            "classes": [[value, number] for value, number in run.strata.classes.items()],
            "groups": run.strata.groups,
            "nested": run.strata.nested,
            "coarser": [
                [*key, repr(statistic), strata.layout, strata.why]
                for (key, statistic), strata in run.coarser.items()
            ],
            "samples": run.samples,
            "forwards": run.forwards,
        }
        scratch = self.path.with_name(f".{self.path.name}.part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, scratch, metadata={"run": json.dumps(document)})
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
        from invariscope import __version__

        by_name = {repr(statistic): statistic for statistic in statistics}
        if any(name not in by_name for _, _, name in document["states"]):
            raise ValueError(
                f"{self.path} was written by an earlier build of version {__version__}, whose sums differ. Finish "
                "the measurement with that build, or remove the file to start over."
            )
        for number, (layer, call, name) in enumerate(document["states"]):
            prefix = f"{number}/"
            own = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
            run.states[(layer, call), by_name[name]] = by_name[name].unpack(own)
        run.aliases = {(a, b): (c, d) for a, b, c, d in document["aliases"]}
        for name, own in _COUNTS:
            setattr(run, own, {(layer, call): count for layer, call, count in document.get(name, [])})
        for layer, call, reason in document["withdrawn"]:
            run.withdraw((layer, call), reason, statistics)
        run.strata.classes = dict(document["classes"])
        run.strata.groups, run.strata.nested = document["groups"], document["nested"]
        run.coarser = {
            ((layer, call), by_name[name]): getattr(run.strata, layout)(why)
            for layer, call, name, layout, why in document["coarser"]
        }
        run.samples, run.forwards = document["samples"], document["forwards"]
        return document["walked"][0], document["walked"][1], document["data"]

    def remove(self) -> None:
        """Delete the file after the measurement is complete."""
        self.path.unlink(missing_ok=True)


def refuse_unseen(places: list[str]) -> None:
    """Raise ValueError if fingerprints do not cover some part, so that a change in it could go unnoticed.

    Args:
        places: parts that are not covered, from `Identity.unseen`.
    """
    if places:
        raise ValueError(
            "checkpoint= needs a fingerprint of the model and the transform, which cannot cover "
            f"{listed(places, limit=3)}. Use arrays, plain values, functions or picklable objects there, or "
            "measure without checkpoint="
        )


def _load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {})["run"])
            return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or not a checkpoint ({error}); remove it to start over"
        ) from error
