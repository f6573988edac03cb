"""Record everything that could be read in a trial forward pass."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from invariscope.common.default_device import as_the_caller
from invariscope.common.samples import Inputs, as_samples, is_structured, sample_digest, sizes_of
from invariscope.readers.base import FailedForward
from invariscope.readers.feeding import mapped, tensors_of
from invariscope.readers.threads import in_this_thread
from invariscope.readers.torch.aliases import Footprint
from invariscope.readers.torch.copies import Placed
from invariscope.readers.torch.dataflow import EventKey, Flow
from invariscope.readers.torch.functions import OperationMode, unobserved
from invariscope.readers.torch.layouts import Layouts
from invariscope.readers.torch.modules import Site
from invariscope.readers.torch.outputs import NOTHING, Given, Path, suffixes, tensors_in, unreadable

FUNCTION = "function"
_ELSEWHERE = "it ran only in another thread, not in the one that called the model, so it is not read"

SMALL, LARGE = 2, 3
"""Batch sizes of the trial forward passes: an axis of size 2 and then 3 follows the batch."""


@dataclass(frozen=True, eq=False)
class Event:
    """One tensor that a module or an operation produced.

    Args:
        source: "function" or "module".
        site: name of the module, or prefix of the container and name of the operation.
        index: number of the site's run within this forward pass.
        path: path to the tensor in the output.
        suffix: suffix of the layer's name for that path.
        kind: see `LayerInfo`.
        default: whether it is read if the user selects nothing.
        tensor: kept alive, so that no other tensor can reuse its memory; None if there was no tensor.
        channels_last: whether the tensor is a map (sample, row, column..., channel).
        unclear: True if features are known to be on the last axis, but it is unknown whether the other axes
            are rows and columns.
    """

    source: str
    site: str
    index: int
    path: Path
    suffix: str
    kind: str
    default: bool
    tensor: Tensor | None
    footprint: Footprint | None
    problem: str = ""
    channels_last: bool = False
    unclear: bool = False

    @property
    def key(self) -> EventKey:
        """Identifies the event across forward passes."""
        return self.source, self.site, self.index, self.path


@dataclass
class Recording:
    """Everything that one forward pass on `batch` inputs produced, in order.

    Args:
        events: all tensors by key.
        runs: number of runs of each site.
        inside: the modules being run, the innermost last.
        operations: all operations, with the names of the enclosing modules.
        failed: the last error raised in a module, and the module.
        elsewhere: modules that ran in other threads.
        fed: the batch that was passed to the model.
    """

    batch: int
    events: dict[EventKey, Event] = field(default_factory=dict)
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    inside: list[Site] = field(default_factory=list)
    operations: set[tuple[tuple[str, ...], str]] = field(default_factory=set)
    failed: tuple[BaseException, Site] | None = None
    elsewhere: dict[str, Site] = field(default_factory=dict)
    output: Any = None
    fed: Any = None
    wrote_input: bool = False
    layouts: Layouts = field(default_factory=Layouts)
    flow: Flow = field(default_factory=Flow)

    @property
    def ran(self) -> set[str]:
        """Names of the modules that ran."""
        return {site for source, site in self.runs if source != FUNCTION}

    def module(self, site: Site, output: Any, given: Given = NOTHING, args: Any = ()) -> None:
        """Record the output of a module, without tensors that it only passes on in a graph."""
        with unobserved():
            own = [(path, tensor) for path, tensor in tensors_in(output) if not given.holds(tensor)]
            self._add("module", site.name, site.kind, site.default, output, own, args)

    def function(self, name: str, output: Any) -> None:
        """Record the output of an operation; inside a leaf module, record only that it ran."""
        if self.inside:
            self.operations.add((tuple(site.name for site in self.inside), name))
            around = self.inside[-1]
            if around.role == "container":
                found = list(tensors_in(output))
                self._add(FUNCTION, around.prefix + name, f"function {name}", True, output, found)

    def enter(self, site: Site) -> None:
        """Record the start of a module."""
        self.inside.append(site)

    def leave(self, *, returned: bool) -> None:
        """Record that a module returned or raised an error."""
        site, error = self.inside.pop(), sys.exc_info()[1]
        if not returned and error is not None and (self.failed is None or self.failed[0] is not error):
            self.failed = error, site

    def in_other_threads(self) -> Iterator[Event]:
        """Yield the modules that ran only in other threads, started by this model or by another caller."""
        for name, site in list(self.elsewhere.items()):
            if name not in self.ran:
                yield Event("module", name, 0, (), "", site.kind, site.default, None, None, _ELSEWHERE)

    def _add(
        self,
        source: str,
        site: str,
        kind: str,
        default: bool,
        output: Any,
        found: list[tuple[Path, Tensor]],
        args: Any = (),
    ) -> None:
        index = self.runs[source, site]
        if source == FUNCTION and not found:
            return
        self.runs[source, site] += 1
        if not found and output is not None:
            problem = f"it returned a {type(output).__name__} instead of a tensor"
            self._note(Event(source, site, index, (), "", kind, default, None, None, problem))
        for (path, tensor), suffix in zip(found, suffixes([path for path, _ in found]), strict=True):
            problem = unreadable(tensor)
            footprint = None if problem else Footprint.of(tensor)
            event = Event(source, site, index, path, suffix, kind, default, tensor, footprint, problem)
            last, unclear = self.layouts.channels_last(tensor), self.layouts.unclear(tensor)
            self._note(replace(event, channels_last=last, unclear=unclear))
            self.flow.note(event.key, tensor, args)

    def _note(self, event: Event) -> None:
        self.events[event.key] = event


def probes(x: Any) -> tuple[Inputs, Inputs]:
    """Return three rows of x (repeated if it has fewer), and the same rows with the first and last replaced.

    For an array of samples, the three rows are copies of one sample, since others may differ in size.

    Raises:
        TypeError: x is neither a tensor nor an array of samples.
        ValueError: x is empty.
    """
    if is_structured(x) and len(x):
        return _repeated(x[:1], LARGE), _ends_replaced(x)
    if not isinstance(x, Tensor):
        raise TypeError(f"inputs must be a tensor with the batch on the first axis, got {type(x).__name__}")
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"inputs must contain at least one sample, got shape {tuple(x.shape)}")
    rows = x[torch.arange(LARGE, device=x.device) % len(x)]
    altered = rows.clone()
    for end in (0, LARGE - 1):
        different = next((row for row in rows if not torch.equal(row, rows[end])), None)
        if different is not None:
            altered[end] = different
        elif x.is_floating_point():
            altered[end] = rows[end] * 0.5 + 0.25
    return rows, altered


def other_size(x: Inputs) -> Inputs | None:
    """Return two copies of the sample that differs most in size from the first; None if sizes are equal."""
    if not is_structured(x):
        return None
    own = dict(sizes_of(x[0]))
    unlike = [_unlike(own, dict(sizes_of(sample))) for sample in x]
    other = max(range(len(x)), key=unlike.__getitem__)
    return _repeated(x[other : other + 1], SMALL) if unlike[other][0] else None


def _unlike(own: dict[Any, Any], other: dict[Any, Any]) -> tuple[int, float]:
    """Return how many parts of two samples differ in size, and by how much.

    The number alone is not enough: texts of slightly different lengths may have the same number of tokens.
    """
    differ = [path for path in own.keys() | other.keys() if own.get(path) != other.get(path)]
    return len(differ), sum(abs(_log_size(own.get(path)) - _log_size(other.get(path))) for path in differ)


def _log_size(size: Any) -> float:
    whole = isinstance(size, int | tuple)
    return float(np.log1p(np.prod(size, dtype=float))) if whole else 0.0


def _repeated(one: np.ndarray, times: int) -> np.ndarray:
    return np.concatenate([one] * times)


def _ends_replaced(x: np.ndarray) -> np.ndarray:
    """Return three rows: the first sample between copies of another one, of the same size if possible."""
    own, size = sample_digest(x[0]), sizes_of(x[0])
    others = [row for row in x[1:] if sample_digest(row) != own]
    other = next((row for row in others if sizes_of(row) == size), others[0] if others else x[0])
    return as_samples([other, x[0], other])


def record(
    placed: Placed,
    sites: Sequence[Site],
    rows: Inputs,
    *,
    shape: Sequence[int],
    earlier: Recording | None = None,
) -> Recording:
    """Run the model on a few rows and record every output.

    Args:
        placed: the model to run.
        sites: its modules.
        rows: a few inputs.
        shape: shape of all inputs, for the error; () if they have no common shape.
        earlier: an earlier recording of the same model.
    Raises:
        FailedForward: the model fails on them.
    """
    recording = Recording(len(rows), flow=Flow(earlier and earlier.flow))
    with ExitStack() as stack:
        stack.enter_context(forward_mode(gradients=placed.gradients))
        batch = recording.fed = mapped(placed.feed(rows), torch.clone)
        before = [tensor._version for tensor in tensors_of(batch)]
        for handle in _hooks(sites, recording):
            stack.callback(handle.remove)
        try:
            for tensor in tensors_of(batch):
                recording.layouts.begin(tensor)
            recording.flow.begin(tensors_of(batch))
            with as_the_caller(), recording.flow, recording.layouts, OperationMode(recording.function):
                recording.output = placed.run(batch)
        except Exception as error:
            name = "the model" + _place(recording, error)
            raise FailedForward.on(batch, shape, name, error, copied_for=placed.copied_for) from error
        recording.wrote_input = [tensor._version for tensor in tensors_of(batch)] != before
    return recording


@contextmanager
def forward_mode(*, gradients: bool = False) -> Iterator[None]:
    """Enable or disable gradients, outside inference mode, whose tensors have no version counters."""
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        yield


def _place(recording: Recording, error: Exception) -> str:
    """Return the module that raised an error, as text; "" if unknown."""
    if recording.failed is None or recording.failed[0] is not error:
        return ""
    return f", in {recording.failed[1].name!r} ({recording.failed[1].kind}),"


def _hooks(sites: Sequence[Site], recording: Recording) -> Iterator[RemovableHandle]:
    scripted = {id(site.module): site for site in sites if site.role == "scripted"}

    def on_scripted(module: nn.Module, args: Any, output: Any) -> None:
        if id(module) in scripted:
            recording.module(scripted[id(module)], output, args=args)

    for site in sites:
        if site.role != "scripted":
            enter, note, leave = _trio(site, recording)
            ran = partial(recording.elsewhere.__setitem__, site.name, site)
            yield site.module.register_forward_pre_hook(in_this_thread(enter, elsewhere=ran))
            yield site.module.register_forward_hook(in_this_thread(note))
            # Also called after an error, which the model itself may catch.
            yield site.module.register_forward_hook(in_this_thread(leave), always_call=True)
    if scripted:  # scripted modules do not support hooks of their own
        yield register_module_forward_hook(in_this_thread(on_scripted))


def _trio(site: Site, recording: Recording) -> tuple[Callable[..., None], ...]:
    returned: list[Any] = []
    given: list[Given] = []

    def enter(module: nn.Module, args: Any) -> None:
        given.append(Given.to(args))
        recording.enter(site)

    def note(module: nn.Module, args: Any, output: Any) -> None:
        returned.append(output)
        recording.module(site, output, given[-1], args)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        given.pop()
        recording.leave(returned=bool(returned))
        returned.clear()

    return enter, note, leave
