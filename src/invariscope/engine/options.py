"""Options of a measurement, shared by the Python call and the command line."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from invariscope.common.checks import set_integers
from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, MIN_PER_GROUP
from invariscope.readers.base import Precision, Reader, as_reader
from invariscope.readers.pooling import as_pooling
from invariscope.readers.prediction import OutputChoice, as_output_choice, described_choice, name_of

PRECISIONS = get_args(Precision)
_DESCRIBED = ("by_class", "samples", "batch_size", "device", "precision", "intervals", "nonfinite")
_DESCRIBED += ("unstable", "floor", "units")
EVERY_SECONDS = 30.0  # between two writes of a checkpoint
_MOST_PASSES = 10_000  # over all samples: of random networks, or repeats


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a measurement; see `iv.measure` for each of them."""

    layers: Any = None
    by_class: bool = False
    classes: Sequence[str] | None = None
    samples: int | None = None
    batch_size: int | str = "auto"
    device: str | None = None
    precision: Precision = "float32"
    seed: int = 0
    checkpoint: str | Path | None = None
    checkpoint_every: float = EVERY_SECONDS
    progress: bool | Callable[[int, int | None], None] = True
    intervals: bool = True
    nonfinite: str = "raise"
    unstable: str = "refuse"
    memory_gb: float | None = None
    batch_axis: Any = None
    output: OutputChoice = None
    gradients: bool = False
    label: str | None = None
    baseline: str | Callable[[], Any] | None = None
    draws: int = 30
    floor: bool = False
    width: float | None = None
    at_least: int = 128
    decided_by: str | None = None
    ids: Any = None
    clusters: Any = None
    labels: Any = None
    preprocess: Callable[[Any], Any] | None = None
    call: Callable[[Any, Any], Any] | None = None
    pool: Any = None
    repeats: int = 1
    rows: str = "compact"
    units: int | str = "auto"
    class_maps: bool | None = None
    shard: tuple[int, int] | str | bool | None = None

    def __post_init__(self) -> None:
        choices = {"precision": PRECISIONS, "nonfinite": ("raise", "skip"), "unstable": ("refuse", "measure")}
        choices["rows"] = ("compact", "all")
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise unknown(name, str(getattr(self, name)), allowed)
        if not isinstance(self.gradients, bool):
            raise ValueError(f"gradients must be True or False; got {self.gradients!r}")
        if not isinstance(self.class_maps, bool | None):
            raise ValueError(f"class_maps must be True, False or None; got {self.class_maps!r}")
        object.__setattr__(self, "classes", _distinct_names(self.classes))
        set_integers(self, batch_size=1, besides=("auto",))
        set_integers(self, samples=2, besides=(None,))
        set_integers(self, units=2, besides=("auto", "all"))
        set_integers(self, seed=0, at_least=GROUPS * MIN_PER_GROUP)
        set_integers(self, draws=2, repeats=1, most=_MOST_PASSES)
        _refuse_memory(self.memory_gb)
        _refuse_baseline(self.baseline)
        _refuse_wrong_checkpoint(self.checkpoint)
        _refuse_wrong_interval(self.checkpoint_every)
        self._refuse_wrong_width()
        as_output_choice(self.output)
        as_pooling(self.pool)
        self._function("preprocess")
        self._function("call")
        _refuse_missing_device(self.device)

    def reader(self, model: Any) -> Reader:
        """Return the reader of a model with these options."""
        names = ("layers", "batch_axis", "output", "gradients", "preprocess", "call", "pool")
        return as_reader(model, **{name: getattr(self, name) for name in names})

    @property
    def refuses_chance(self) -> bool:
        """Whether responses that change when a forward pass is repeated are an error."""
        return self.unstable == "refuse" and self.repeats == 1

    def quiet(self) -> Options:
        """Return the options of an auxiliary pass: all samples, without classes, intervals or progress."""
        whole = replace(self, width=None, decided_by=None)
        return replace(whole, by_class=False, intervals=False, checkpoint=None, progress=False)

    def _refuse_wrong_width(self) -> None:
        if self.width is None:
            if self.decided_by is not None:
                raise ValueError("decided_by= selects the intervals that must be narrow: pass width= too")
            return
        if not isinstance(self.width, int | float) or not 0 < self.width < math.inf:
            raise ValueError(
                f"width must be a positive number, the widest interval allowed; got {self.width!r}"
            )
        if not self.intervals:
            raise ValueError("width= stops when intervals are narrow, so it needs intervals=True")
        if self.baseline is not None:
            raise ValueError(
                "baseline= measures random networks on the same samples, whose number is not known in "
                "advance with width=: measure with width= first, then with samples= set to the number used"
            )

    def _function(self, name: str) -> None:
        given = getattr(self, name)
        if given is not None and not callable(given):
            raise TypeError(f"{name}= must be a function; got {type(given).__name__}")

    def described(self) -> dict[str, Any]:
        """Return the options as plain data, for the provenance."""
        names = _DESCRIBED
        names += ("gradients",) if self.gradients else ()
        names += ("repeats",) if self.repeats > 1 else ()
        names += ("rows",) if self.rows != "compact" else ()
        if self.width is not None:
            names += ("width", "at_least", "decided_by")
        chosen: dict[str, Any] = {}
        if self.output is not None:
            chosen["output"] = described_choice(self.output)
        functions = {"preprocess": self.preprocess, "call": self.call}
        chosen |= {name: name_of(given) for name, given in functions.items() if given is not None}
        if self.pool is not None:
            chosen["pool"] = {pattern: repr(pooling) for pattern, pooling in as_pooling(self.pool).items()}
        layers = self.layers if isinstance(self.layers, (str, list, tuple, type(None))) else repr(self.layers)
        classes = None if self.classes is None else list(self.classes)
        return {name: getattr(self, name) for name in names} | {"layers": layers, "classes": classes} | chosen


def _refuse_memory(memory_gb: Any) -> None:
    """Raise ValueError unless a budget is a positive number of GiB."""
    if memory_gb is None:
        return
    number = isinstance(memory_gb, numbers.Real) and not isinstance(memory_gb, bool)
    if not number or not 0 < float(memory_gb) <= 1e9:
        raise ValueError(f"memory_gb must be a positive number of GiB, or None; got {memory_gb!r}")


def _refuse_baseline(baseline: Any) -> None:
    """Raise ValueError or TypeError unless baseline is None, "random" or a function that returns networks."""
    if isinstance(baseline, str) and baseline != "random":
        raise unknown("baseline", baseline, ("random",))
    makes = callable(baseline) and (isinstance(baseline, type) or not hasattr(baseline, "forward"))
    if not (baseline is None or isinstance(baseline, str) or makes):
        raise TypeError(
            "baseline must be 'random', or a function without arguments that returns a network with new "
            f"weights; got {type(baseline).__name__}"
        )


def _refuse_wrong_checkpoint(path: Any) -> None:
    """Raise TypeError unless a checkpoint is the path of a file, or None."""
    if path is not None and not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint must be the path of a file, or None; got {path!r}")


def _refuse_wrong_interval(seconds: Any) -> None:
    """Raise ValueError unless checkpoints are to be written after a number of seconds, or every block."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
        raise ValueError(
            f"checkpoint_every must be a number of seconds, 0 for after every block; got {seconds!r}"
        )


def _distinct_names(classes: Any) -> tuple[str, ...] | None:
    """Return the class names as text; raise ValueError unless all are different."""
    if classes is None:
        return None
    if isinstance(classes, Mapping | Set):
        raise ValueError(
            "classes= must be a list of names in the order of the model's outputs; got a "
            f"{type(classes).__name__}: pass a list, such as sorted(class_to_idx, key=class_to_idx.get)"
        )
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise ValueError(f"classes= must be a list of names, such as ['cat', 'dog']; got {classes!r}")
    names = tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"classes= must be a list of names, such as ['cat', 'dog']; got {list(names)[:5]!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"classes= names {twice[0]!r} more than once; give each output a different name")
    return names


def _refuse_missing_device(device: str | None) -> None:
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used here ({reason}); try device='cpu'") from error
