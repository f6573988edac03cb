"""The hot path: hooks that pass each planned tensor to the sink as soon as it is produced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from invariscope.common.default_device import as_the_caller
from invariscope.common.random_state import Streams
from invariscope.common.samples import Inputs
from invariscope.readers.base import Enough, LayerKey, Reading, Sink
from invariscope.readers.feeding import mapped
from invariscope.readers.pooling import PooledAxis
from invariscope.readers.torch.aliases import same_values
from invariscope.readers.torch.copies import Placed
from invariscope.readers.torch.failing import failure
from invariscope.readers.torch.functions import OperationMode, unobserved
from invariscope.readers.torch.modules import Site
from invariscope.readers.torch.outputs import pick
from invariscope.readers.torch.plan import UNEVEN, Calls, SiteKey, Slot
from invariscope.readers.torch.recording import forward_mode

_LATE = (
    "it first ran after the trial forward pass: whether it runs depends on the values or number of the inputs"
)
_NOTHING = nullcontext()


class Taps:
    """State of a forward pass in this thread: what to read, and what has been read.

    Args:
        calls: readings to take from each site.

    Attributes:
        left_out: why a site is no longer read. If one of its runs is missing or cannot be read, its runs
            cannot be distinguished, so all of them are left out.
        late: modules that did not run in the trial forward pass, but ran later.
        refusal: error of the sink, which passes through the model's forward pass and may be caught there.
    """

    def __init__(self, calls: Mapping[SiteKey, Calls]) -> None:
        self.calls = calls
        self.left_out: dict[SiteKey, str] = {}
        self.late: set[str] = set()
        self.refusal: Exception | None = None
        self.sink: Sink | None = None
        self.thread: int | None = None
        self.batch = 0
        self.fed: Any = None
        self.counts: dict[SiteKey, int] = {}
        self.kept: dict[LayerKey, tuple[Tensor, int]] = {}

    def begin(self, batch: int, sink: Sink) -> None:
        """Start a forward pass of `batch` inputs."""
        self.batch, self.sink, self.refusal = batch, sink, None
        self.counts.clear()
        self.thread = threading.get_ident()

    def end(self) -> None:
        """End a forward pass, even after an error, and release all tensors."""
        self.sink = self.thread = self.refusal = self.fed = None
        self.kept.clear()

    def ours(self) -> bool:
        """Return whether the current call belongs to the forward pass being read."""
        return self.thread == threading.get_ident()

    def report(self, sink: Sink) -> None:
        """After a complete forward pass, report the layers left out in this pass or an earlier one."""
        for key, site in self.calls.items():
            if key not in self.left_out and self.counts.get(key, 0) < len(site.slots):
                self.left_out[key] = UNEVEN
        for key, reason in self.left_out.items():
            for slot in (slot for run in self.calls[key].slots for slot in run):
                sink(Reading(slot.layer, slot.call, None, None, None, reason))
        for name in sorted(self.late):
            sink(Reading(name, 0, None, None, None, _LATE))

    def take(self, key: SiteKey, site: Calls, output: Any) -> None:
        """Read one run of one site."""
        if not self.ours():  # another thread runs the model
            return
        run = self.counts.get(key, 0)
        self.counts[key] = run + 1
        if key in self.left_out:
            return
        if run >= len(site.slots):
            if site.fixed:
                self.left_out[key] = UNEVEN
            return
        for slot in site.slots[run]:
            problem = self._emit(slot, pick(output, slot.path) if slot.path else output)
            if problem:
                self.left_out[key] = problem
                return

    def note_late(self, name: str, *_: Any) -> None:
        """Record a run of a module that the trial forward pass did not run."""
        if self.ours():
            self.late.add(name)

    def _emit(self, slot: Slot, tensor: Any) -> str:
        """Pass one tensor to the sink; return why it cannot be read, or ""."""
        axis, batch = slot.axis, self.batch
        if isinstance(axis, PooledAxis):
            return self._emit_pooled(slot, axis, tensor)
        if not isinstance(tensor, Tensor) or not axis.holds(tensor.shape, batch):
            return _misshapen(slot, tensor, batch)
        values = tensor if slot.plain else axis.arrange(tensor, batch)
        if values.requires_grad:  # the forward pass switched gradients on
            values = values.detach()
        original = slot.alias_of
        if original is not None:
            kept = self.kept.get(original)
            if slot.releases:
                self.kept.pop(original, None)
            if kept is None or not _repeats(values, *kept):
                original = None
        elif slot.keeps:
            self.kept[slot.key] = (values, 0 if values.is_inference() else values._version)
        self._pass_on(Reading(slot.layer, slot.call, values, axis.axis, original))
        return ""

    def _emit_pooled(self, slot: Slot, axis: PooledAxis, tensor: Any) -> str:
        """Pool one tensor and pass it on; return why it cannot be pooled, or ""."""
        if not isinstance(tensor, Tensor):
            return _misshapen(slot, tensor, self.batch)
        try:
            problem = axis.problem(tensor, self.fed, self.batch)
        except ValueError as error:  # of the mask or the index, not of the model
            self.refusal = ValueError(f"pool of layer {slot.layer!r}: {error}")
            raise
        if problem:
            return problem
        values = axis.arrange(tensor.detach(), self.fed, self.batch)
        row_of = axis.row_of(self.fed, self.batch)
        self._pass_on(Reading(slot.layer, slot.call, values, axis.axis, None, row_of=row_of))
        return ""

    def _pass_on(self, reading: Reading) -> None:
        assert self.sink is not None
        try:
            self.sink(reading)
        except Exception as error:
            self.refusal = error
            raise


def _misshapen(slot: Slot, tensor: Any, batch: int) -> str:
    if not isinstance(tensor, Tensor):
        return f"it returned a tensor in the trial forward pass and a {type(tensor).__name__} later"
    rows = batch * slot.axis.per_sample
    return (
        f"it returned shape {tuple(tensor.shape)}, but axis {slot.axis.axis} should hold {rows} rows for "
        f"{batch} inputs: how many rows it has depends on the values or number of the inputs"
    )


def _repeats(values: Tensor, earlier: Tensor, version: int) -> bool:
    if earlier.is_inference() or earlier._version != version:
        return False
    return values.data_ptr() == earlier.data_ptr() or same_values(earlier, values)


Table: TypeAlias = dict[str, tuple[SiteKey, Calls]]


class Operations:
    """Tracker that attributes operations to the innermost enclosing module that is followed."""

    def __init__(self, taps: Taps, tables: Mapping[str, Mapping[str, SiteKey]]) -> None:
        self.taps = taps
        self.tables: dict[str, Table] = {
            module: {name: (key, taps.calls[key]) for name, key in table.items()}
            for module, table in tables.items()
        }
        self.around: list[Table] = [{}]

    def restart(self) -> None:
        """Reset after an interrupted forward pass."""
        del self.around[1:]

    def report(self, name: str, output: Any) -> None:
        """Read the output of an operation, if planned."""
        found = self.around[-1].get(name)
        if found is not None:
            self.taps.take(*found, output)

    def hooks(self, sites: Sequence[Site]) -> Iterator[RemovableHandle]:
        """Register the hooks that track the enclosing module."""
        for site in sites:
            if site.name in self.tables:
                enter, leave = self._pair(self.tables[site.name])
                yield site.module.register_forward_pre_hook(enter)
                # Also called after an error, which the model itself may catch.
                yield site.module.register_forward_hook(leave, always_call=True)

    def _pair(self, table: Table) -> tuple[Callable[..., None], Callable[..., None]]:
        around, ours = self.around, self.taps.ours

        def enter(module: nn.Module, args: Any) -> None:
            if ours():
                around.append(table)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if ours() and len(around) > 1:  # another pre-hook may have failed before ours
                around.pop()

        return enter, leave


def _module_hooks(sites: Sequence[Site], taps: Taps, *, observed: bool) -> Iterator[RemovableHandle]:
    """Register one hook per module to read; `observed`: whether function modes see what the sink computes."""
    scripted: dict[int, Callable[..., None]] = {}
    for site in sites:
        key = "module", site.name
        if key not in taps.calls:
            continue
        tap = _tap(taps, key, observed=observed)
        if site.role == "scripted":
            scripted[id(site.module)] = tap
        else:
            yield site.module.register_forward_hook(tap)
    if scripted:
        yield register_module_forward_hook(_dispatch(scripted))


def _late_hooks(sites: Sequence[Site], taps: Taps, unused: Collection[str]) -> Iterator[RemovableHandle]:
    """Register one hook per module that did not run in the trial forward pass, except scripted ones."""
    for site in sites:
        if site.name in unused and site.role != "scripted":
            yield site.module.register_forward_hook(partial(taps.note_late, site.name))


def _tap(taps: Taps, key: SiteKey, *, observed: bool) -> Callable[..., None]:
    calls, take = taps.calls[key], taps.take

    def tap(module: nn.Module, args: Any, output: Any) -> None:
        take(key, calls, output)

    def unobserved_tap(module: nn.Module, args: Any, output: Any) -> None:
        with unobserved():
            take(key, calls, output)

    return unobserved_tap if observed else tap


def _dispatch(taps: Mapping[int, Callable[..., None]]) -> Callable[..., None]:
    """Return a global hook that acts only on scripted modules, which support no hooks of their own."""

    def dispatch(module: nn.Module, args: Any, output: Any) -> None:
        tap = taps.get(id(module))
        if tap is not None:
            tap(module, args, output)

    return dispatch


class ModuleForward:
    """Forward function of a prepared model, read through taps; leaving `stack` removes the hooks."""

    def __init__(
        self,
        placed: Placed,
        sites: Sequence[Site],
        calls: Mapping[SiteKey, Calls],
        tables: Mapping[str, Mapping[str, SiteKey]],
        stack: ExitStack,
        *,
        unused: Collection[str] = (),
    ) -> None:
        self.placed, self.taps = placed, Taps(calls)
        self.operations = Operations(self.taps, tables) if tables else None
        self.mode = OperationMode(self.operations.report) if self.operations else _NOTHING
        self.streams: Streams | None = None
        self.copies_input = False
        read, late = (
            _module_hooks(sites, self.taps, observed=bool(tables)),
            _late_hooks(sites, self.taps, unused),
        )
        for handle in chain(read, late, self.operations.hooks(sites) if self.operations else ()):
            stack.callback(handle.remove)

    def __call__(self, x: Inputs, sink: Sink) -> Any:
        """Run one forward pass; return None if the sink stops it."""
        taps = self.taps
        taps.begin(len(x), sink)
        if self.operations is not None:
            self.operations.restart()
        try:
            with self._gradients():
                batch = self.placed.feed(x)
                taps.fed = mapped(batch, torch.clone) if self.copies_input else batch
                with self.streams.active() if self.streams else _NOTHING, self.mode:
                    output = self._output(taps.fed)
            taps.report(sink)
        except Enough:
            return None
        finally:
            taps.end()
        return output

    def _output(self, x: Any) -> Any:
        try:
            with as_the_caller():
                output = self.placed.run(x)
        except Exception as error:
            if self.taps.refusal is not None:
                raise self.taps.refusal from None
            copied_for = self.placed.copied_for
            raise failure(error, x, self.placed.model, copied_for=copied_for, tried=True) from error
        if self.taps.refusal is not None:
            raise self.taps.refusal
        return output

    def _gradients(self) -> AbstractContextManager[None]:
        needed = self.placed.gradients
        special = needed or torch.is_inference_mode_enabled()
        return forward_mode(gradients=needed) if special else torch.no_grad()
