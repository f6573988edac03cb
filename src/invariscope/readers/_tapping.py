"""The hot path: hooks that hand each planned tensor to the sink at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from invariscope.random_state import Streams
from invariscope.readers._aliases import same_values
from invariscope.readers._copies import Placed
from invariscope.readers._functions import OperationMode, unobserved
from invariscope.readers._modules import Site
from invariscope.readers._outputs import pick
from invariscope.readers._plan import Calls, SiteKey, Slot
from invariscope.readers._recording import forward_mode
from invariscope.readers.base import LayerKey, Reading, Sink

_CHANGED = "its forward depends on the values or the number of its inputs; select other layers"
_NOTHING = nullcontext()


class Taps:
    """What is read during one forward, and how far it got."""

    def __init__(self, calls: Mapping[SiteKey, Calls]) -> None:
        self.calls = calls
        self.expected = sum(len(slots) for site in calls.values() for slots in site.slots)
        self.sink: Sink | None = None
        self.batch = 0
        self.delivered = 0
        self.counts: dict[SiteKey, int] = {}
        self.kept: dict[LayerKey, tuple[Tensor, int]] = {}

    def begin(self, batch: int, sink: Sink) -> None:
        """Before a forward."""
        self.batch, self.sink, self.delivered = batch, sink, 0
        self.counts.clear()

    def end(self) -> None:
        """After a forward, whatever became of it: no tensor outlives it here."""
        self.sink = None
        self.kept.clear()

    def check(self) -> None:
        """Raises unless everything planned was read."""
        if self.delivered != self.expected:
            planned = ((key, slots) for key, site in self.calls.items() for slots in self._missed(key, site))
            names = [f"{slot.layer!r} (call {slot.call})" for _, slots in planned for slot in slots]
            raise ValueError(
                f"{', '.join(names[:3])} ran when the model was inspected and not now: {_CHANGED}"
            )

    def _missed(self, key: SiteKey, site: Calls) -> Sequence[tuple[Slot, ...]]:
        return site.slots[self.counts.get(key, 0) :]

    def take(self, key: SiteKey, site: Calls, output: Any) -> None:
        """Reads one run of one site."""
        if self.sink is None:  # somebody runs the model beside our forwards
            return
        run = self.counts.get(key, 0)
        self.counts[key] = run + 1
        if run < len(site.slots):
            for slot in site.slots[run]:
                self._emit(slot, pick(output, slot.path) if slot.path else output)
        elif site.fixed:
            raise ValueError(f"{key[1]!r} ran more often than when the model was inspected: {_CHANGED}")

    def _emit(self, slot: Slot, tensor: Any) -> None:
        axis, batch = slot.axis, self.batch
        if not isinstance(tensor, Tensor) or not axis.holds(tensor.shape, batch):
            raise self._misshapen(slot, tensor)
        values = tensor if slot.plain else axis.arrange(tensor, batch)
        if values.requires_grad:  # the forward switched gradients on
            values = values.detach()
        if slot.alias_of is not None:
            self._confirm(slot, slot.alias_of, values)
        elif slot.keeps:
            self.kept[slot.key] = (values, 0 if values.is_inference() else values._version)
        self.delivered += 1
        assert self.sink is not None
        self.sink(Reading(slot.layer, slot.call, values, axis.axis, slot.alias_of))

    def _misshapen(self, slot: Slot, tensor: Any) -> ValueError:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        rows = self.batch * slot.axis.per_sample
        return ValueError(
            f"{slot.layer!r} gave {got} where axis {slot.axis.axis} should hold {rows} values for "
            f"{self.batch} inputs: {_CHANGED}"
        )

    def _confirm(self, slot: Slot, original: LayerKey, values: Tensor) -> None:
        kept = self.kept.get(original)
        if slot.releases:
            self.kept.pop(original, None)
        if kept is None or not _repeats(values, *kept):
            raise ValueError(
                f"{slot.layer!r} repeated {original[0]!r} when the model was inspected and differs now: "
                f"{_CHANGED}"
            )


def _repeats(values: Tensor, earlier: Tensor, version: int) -> bool:
    if earlier.is_inference() or earlier._version != version:
        return False
    return values.data_ptr() == earlier.data_ptr() or same_values(earlier, values)


Table: TypeAlias = dict[str, tuple[SiteKey, Calls]]


class Operations:
    """Where the forward is, as far as operations are read: the innermost followed module is on top."""

    def __init__(self, taps: Taps, tables: Mapping[str, Mapping[str, SiteKey]]) -> None:
        self.taps = taps
        self.tables: dict[str, Table] = {
            module: {name: (key, taps.calls[key]) for name, key in table.items()}
            for module, table in tables.items()
        }
        self.around: list[Table] = [{}]

    def restart(self) -> None:
        """Forgets what an interrupted forward left behind."""
        del self.around[1:]

    def report(self, name: str, output: Any) -> None:
        """An operation happened."""
        found = self.around[-1].get(name)
        if found is not None:
            self.taps.take(*found, output)

    def hooks(self, sites: Sequence[Site]) -> Iterator[RemovableHandle]:
        """Keeps track."""
        for site in sites:
            if site.name in self.tables:
                enter, leave = self._pair(self.tables[site.name])
                yield site.module.register_forward_pre_hook(enter)
                # Also called when an error passes: the model itself may catch it.
                yield site.module.register_forward_hook(leave, always_call=True)

    def _pair(self, table: Table) -> tuple[Callable[..., None], Callable[..., None]]:
        around = self.around

        def enter(module: nn.Module, args: Any) -> None:
            around.append(table)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if len(around) > 1:  # nothing to leave where somebody's pre-hook failed before ours
                around.pop()

        return enter, leave


def _module_hooks(sites: Sequence[Site], taps: Taps, *, observed: bool) -> Iterator[RemovableHandle]:
    """One hook for each module that is read; `observed`: a function mode would see what the sink does."""
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


def _tap(taps: Taps, key: SiteKey, *, observed: bool) -> Callable[..., None]:
    calls, take = taps.calls[key], taps.take

    def tap(module: nn.Module, args: Any, output: Any) -> None:
        take(key, calls, output)

    def unobserved_tap(module: nn.Module, args: Any, output: Any) -> None:
        with unobserved():
            take(key, calls, output)

    return unobserved_tap if observed else tap


def _dispatch(taps: Mapping[int, Callable[..., None]]) -> Callable[..., None]:
    """Scripted modules take no hooks of their own: one for all modules, that passes over the others."""

    def dispatch(module: nn.Module, args: Any, output: Any) -> None:
        tap = taps.get(id(module))
        if tap is not None:
            tap(module, args, output)

    return dispatch


class ModuleForward:
    """Runs a prepared model and lets the taps read it; the stack removes its hooks."""

    def __init__(
        self,
        placed: Placed,
        sites: Sequence[Site],
        calls: Mapping[SiteKey, Calls],
        tables: Mapping[str, Mapping[str, SiteKey]],
        stack: ExitStack,
    ) -> None:
        self.placed, self.taps = placed, Taps(calls)
        self.operations = Operations(self.taps, tables) if tables else None
        self.mode = OperationMode(self.operations.report) if self.operations else _NOTHING
        self.streams: Streams | None = None
        self.copies_input = False
        for handle in _module_hooks(sites, self.taps, observed=bool(tables)):
            stack.callback(handle.remove)
        for handle in self.operations.hooks(sites) if self.operations else ():
            stack.callback(handle.remove)

    def __call__(self, x: Tensor, sink: Sink) -> Any:
        """One forward."""
        taps = self.taps
        taps.begin(len(x), sink)
        if self.operations is not None:
            self.operations.restart()
        try:
            with self._gradients(), self.streams.active() if self.streams else _NOTHING:
                x = self.placed.feed(x)
                x = x.clone() if self.copies_input else x
                with self.mode:
                    output = self.placed.model(x)
            taps.check()
        finally:
            taps.end()
        return output

    def _gradients(self) -> AbstractContextManager[None]:
        needed = self.placed.gradients
        special = needed or torch.is_inference_mode_enabled()
        return forward_mode(gradients=needed) if special else torch.no_grad()
