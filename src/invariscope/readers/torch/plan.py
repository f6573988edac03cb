"""Plan from trial forward passes which tensors to read in every forward pass, and their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from invariscope.readers.base import OK, AxisChoice, LayerInfo, LayerKey
from invariscope.readers.irregular import Irregular, irregular
from invariscope.readers.pooling import PooledAxis, Pooling, Rows, arranged, locate, pooling_of
from invariscope.readers.selection import Selector, axis_choice
from invariscope.readers.torch.aliases import memory_layout
from invariscope.readers.torch.axes import NO_AXIS, BatchAxis, find_batch_axis, order_rows
from invariscope.readers.torch.modules import Site
from invariscope.readers.torch.outputs import Path, dtype_name, unreadable
from invariscope.readers.torch.recording import FUNCTION, Event, Recording

SiteKey: TypeAlias = tuple[str, str]

UNEVEN = "how often it runs depends on the values or number of the inputs"


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A reading that is taken in every forward pass.

    Args:
        layer: name of the layer.
        call: index of the layer's run within the forward pass.
        path: path to the tensor in the output.
        axis: batch axis of the tensor.
        plain: whether the tensor already is (batch, *unit).
        alias_of: the reading that it repeats.
        keeps: whether other readings repeat this one, so that its values must be kept.
        releases: whether it is the last reading that repeats its original, which can then be released.
    """

    layer: str
    call: int
    path: Path
    axis: BatchAxis | PooledAxis
    plain: bool
    alias_of: LayerKey | None = None
    keeps: bool = False
    releases: bool = False

    @property
    def key(self) -> LayerKey:
        """Identifies the reading."""
        return self.layer, self.call


@dataclass(frozen=True, eq=False)
class Calls:
    """Readings to take in the successive runs of one site.

    Args:
        slots: slots of each run; runs without slots are not read.
        fixed: whether the site ran equally often at both batch sizes.
    """

    slots: tuple[tuple[Slot, ...], ...]
    fixed: bool


@dataclass(frozen=True, eq=False)
class Candidate:
    """An event that could be read, under its public name."""

    event: Event
    info: LayerInfo
    axis: BatchAxis | PooledAxis | None

    @property
    def also(self) -> tuple[str, ...]:
        """Other names for patterns: `Net`, the first tensor of a named output, is also `Net[energy]`."""
        path = self.event.path
        named = not self.event.suffix and any(isinstance(key, str) for key in path)
        return (self.info.layer + "".join(f"[{key}]" for key in path),) if named else ()


@dataclass(frozen=True, eq=False)
class Trials:
    """Trial forward passes of the same inputs at two batch sizes, and of other inputs on demand.

    Args:
        altered: runs a forward pass with other first and last inputs.
        other: runs two copies of a sample of another size; returns None if all samples have the same size.
        pool: poolings of layers with several rows per sample, by pattern.
    """

    small: Recording
    large: Recording
    altered: Callable[[], Recording]
    batch_axis: AxisChoice
    modules: frozenset[str]
    other: Callable[[], Recording | None] = lambda: None
    pool: Mapping[str, Pooling] = field(default_factory=dict)
    numbers: dict[SiteKey, dict[int, int]] = field(default_factory=dict)

    def candidates(self) -> list[Candidate]:
        """Return everything that could be read, in the order in which the forward pass produced it."""
        events = (*self.large.events.values(), *self._dropped(), *self.large.in_other_threads())
        found = (self._candidate(event) for event in events)
        return [candidate for candidate in found if candidate is not None]

    def _dropped(self) -> Iterable[Event]:
        """Yield runs of modules that occurred for two inputs, but not for three."""
        for key, event in self.small.events.items():
            if event.source != FUNCTION and key not in self.large.events:
                yield replace(event, tensor=None, problem=UNEVEN)

    def _candidate(self, event: Event) -> Candidate | None:
        name = event.site
        if event.source == FUNCTION and name in self.modules:
            name = f"/{name}"  # a module has that name
        name += event.suffix
        if event.tensor is None:
            info = LayerInfo(name, event.index, (), "none", event.kind, None, event.problem)
            return Candidate(event, info, None)
        verdict = (
            event.problem or self._pooled(event, event.tensor, name) or self._axis(event, event.tensor, name)
        )
        verdict = _with_layout(verdict, event)
        if event.source == FUNCTION and self._no_layer(event, event.tensor, verdict):
            return None
        info = describe(name, self._call(event), event.kind, event.tensor, verdict, self.large)
        info = replace(info, unclear=event.unclear)
        return Candidate(event, info, None if isinstance(verdict, str) else verdict)

    def _pooled(self, event: Event, tensor: Tensor, name: str) -> PooledAxis | str | None:
        """Return where the rows of samples are, or why that is unknown; None if the layer has no pooling."""
        pooling = pooling_of(self.pool, name)
        if pooling is None:
            return None
        if reason := unreadable(tensor):
            return reason
        trials = [(tensor, self.large.fed, self.large.batch)]
        for other in (self.small, self.other()):
            run = None if other is None else other.events.get(event.key)
            if other is not None and run is not None and run.tensor is not None:
                trials.append((run.tensor, other.fed, other.batch))
        try:
            return locate(pooling, trials)
        except ValueError as error:
            raise ValueError(f"pool of layer {name!r}: {error}") from error

    def _axis(self, event: Event, tensor: Tensor, name: str) -> BatchAxis | str:
        before = self.small.events.get(event.key)
        if before is None or before.tensor is None:
            return UNEVEN
        found = self.axis(before.tensor, tensor, name)
        return found if isinstance(found, str) else self._if_regular(event, before.tensor, found)

    def _if_regular(self, event: Event, before: Tensor, found: BatchAxis) -> BatchAxis | str:
        """Return the batch axis, or why samples of different sizes have no units in common."""
        other = self.other()
        if other is None:
            return found
        after = other.events.get(event.key)
        if after is None or after.tensor is None:
            return UNEVEN
        if after.tensor.shape == before.shape:
            return found
        return irregular(before, after.tensor, found, (self.small.fed, other.fed), other.batch)

    def axis(self, small: Tensor, large: Tensor, name: str) -> BatchAxis | str:
        """Return the batch axis of a layer; a choice for all layers is used only if the axis is ambiguous."""
        sizes = self.small.batch, self.large.batch
        found = find_batch_axis(small.shape, large.shape, sizes)
        choice = axis_choice(self.batch_axis, name)
        if choice is None or (isinstance(found, BatchAxis) and isinstance(self.batch_axis, int)):
            return found
        return find_batch_axis(small.shape, large.shape, sizes, choice=choice)

    def _no_layer(self, event: Event, tensor: Tensor, verdict: BatchAxis | PooledAxis | str) -> bool:
        """Return whether an operation is not a layer because it gives the same result for any inputs.

        An operation with an ambiguous batch axis still counts as a layer, which is skipped with the reason.
        So does one that depends on the inputs but has no batch axis, such as rows routed to an expert.
        """
        if not isinstance(verdict, str) or unreadable(tensor):
            return isinstance(verdict, str)
        if isinstance(verdict, Irregular):
            return False
        if verdict in (NO_AXIS, UNEVEN):
            other = self.small.events[event.key].tensor if event.key in self.small.events else None
            return other is not None and torch.equal(other, tensor)
        return self.large.batch not in tensor.shape

    def _call(self, event: Event) -> int:
        """Return the number of a run; for operations, only runs that are layers count."""
        if event.source != FUNCTION:
            return event.index
        numbers = self.numbers.setdefault((event.source, event.site), {})
        return numbers.setdefault(event.index, len(numbers))

    def ordered(self, candidate: Candidate) -> Candidate:
        """Return the candidate with the order of its rows determined, if it has several rows per sample."""
        axis, before = candidate.axis, candidate.event.tensor
        if not isinstance(axis, BatchAxis) or axis.per_sample == 1 or before is None:
            return candidate
        after = self.altered().events.get(candidate.event.key)
        if after is None or after.tensor is None or after.tensor.shape != before.shape:
            verdict: BatchAxis | str = "its shape depends on the values of the inputs"
        else:
            verdict = order_rows(axis, before, after.tensor, self.large.batch)
        info = candidate.info
        fresh = describe(info.layer, info.call, info.kind, before, verdict, self.large)
        return Candidate(candidate.event, fresh, verdict if isinstance(verdict, BatchAxis) else None)


def _with_layout(verdict: BatchAxis | PooledAxis | str, event: Event) -> BatchAxis | PooledAxis | str:
    """Mark the batch axis of a channels-last map, so that the map is passed on with channels first."""
    if (
        not isinstance(verdict, BatchAxis)
        or verdict.axis
        or verdict.per_sample > 1
        or not event.channels_last
    ):
        return verdict
    return replace(verdict, channels_last=True)


def describe(
    name: str,
    call: int,
    kind: str,
    tensor: Tensor,
    verdict: BatchAxis | PooledAxis | str,
    trial: Recording | int,
) -> LayerInfo:
    """Describe one sample of a tensor, or the whole tensor with the reason if it has no known batch axis."""
    dtype = dtype_name(tensor)
    if isinstance(verdict, str):
        return LayerInfo(name, call, tuple(tensor.shape), dtype, kind, None, verdict)
    fed, batch = (None, trial) if isinstance(trial, int) else (trial.fed, trial.batch)
    shape = tuple(arranged(verdict, tensor, fed, batch).shape[1:])
    ragged = isinstance(verdict, PooledAxis) and isinstance(verdict.pooling, Rows)
    return LayerInfo(name, call, shape, dtype, kind, None, OK, ragged=ragged)


def choose(candidates: Iterable[Candidate], selector: Selector) -> list[Candidate]:
    """Return the candidates that the user selected."""
    return [c for c in candidates if selector(c.info, default=c.event.default, also=c.also)]


def with_aliases(candidates: Iterable[Candidate], batch: int) -> list[Candidate]:
    """Mark each candidate that repeats an earlier one."""
    originals: dict[tuple[object, ...], LayerKey] = {}
    marked = []
    for candidate in candidates:
        identity = _identity(candidate, batch)
        if identity is not None:
            key = candidate.info.layer, candidate.info.call
            original = originals.setdefault(identity, key)
            if original != key:
                candidate = replace(candidate, info=replace(candidate.info, alias_of=original))
        marked.append(candidate)
    return marked


def _identity(candidate: Candidate, batch: int) -> tuple[object, ...] | None:
    """Return the footprint and memory layout, equal for readings with the same values; None if unknown."""
    footprint, tensor = candidate.event.footprint, candidate.event.tensor
    if not isinstance(candidate.axis, BatchAxis) or footprint is None or tensor is None:
        return None
    if footprint.version is None:
        return None
    return footprint, *memory_layout(candidate.axis.arrange(tensor, batch))


def slots_of(candidates: Iterable[Candidate], trials: Trials) -> Mapping[SiteKey, Calls]:
    """Return what to read in every forward pass, by site and run."""
    readable = [c for c in candidates if c.axis is not None]
    last = {c.info.alias_of: (c.info.layer, c.info.call) for c in readable if c.info.alias_of}
    by_site: dict[SiteKey, dict[int, list[Slot]]] = {}
    for candidate in readable:
        event, info = candidate.event, candidate.info
        assert candidate.axis is not None
        key = info.layer, info.call
        slot = Slot(
            info.layer,
            info.call,
            event.path,
            candidate.axis,
            candidate.axis.plain,
            alias_of=info.alias_of,
            keeps=key in last,
            releases=info.alias_of is not None and last[info.alias_of] == key,
        )
        by_site.setdefault((event.source, event.site), {}).setdefault(event.index, []).append(slot)
    return {site: _calls(runs, site, trials) for site, runs in by_site.items()}


def _calls(runs: dict[int, list[Slot]], site: SiteKey, trials: Trials) -> Calls:
    often = trials.large.runs[site]
    return Calls(
        slots=tuple(tuple(runs.get(index, ())) for index in range(often)),
        fixed=often == trials.small.runs[site],
    )


def operation_tables(
    calls: Mapping[SiteKey, Calls], operations: Iterable[tuple[tuple[str, ...], str]], sites: Iterable[Site]
) -> dict[str, dict[str, SiteKey]]:
    """Return the modules to follow for attributing operations, with the operations to read in each.

    A module that is not followed counts as part of the enclosing one, which is harmless unless an operation
    of the same name is read there.
    """
    operations, by_name = list(operations), {site.name: site for site in sites}
    tables: dict[str, dict[str, SiteKey]] = {}
    for around, name in operations:
        site = by_name[around[-1]]
        key = FUNCTION, site.prefix + name
        if site.role == "container" and key in calls:
            tables.setdefault(site.name, {})[name] = key
    confused = {around[-1] for around, name in operations if _mistaken(around, name, tables)}
    return tables | {name: {} for name in confused}


def _mistaken(around: tuple[str, ...], name: str, tables: Mapping[str, Mapping[str, SiteKey]]) -> bool:
    nearest = next((module for module in reversed(around) if module in tables), None)
    return nearest is not None and nearest != around[-1] and name in tables[nearest]
