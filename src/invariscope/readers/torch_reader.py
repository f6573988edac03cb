"""Reads PyTorch modules: module outputs by hooks, functional operations by a function mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from torch import Tensor, nn

from invariscope.random_state import Generator, Streams, global_generators, put_back
from invariscope.readers._built import parts_of, refuse_built
from invariscope.readers._copies import Placed, home, place, uncompiled
from invariscope.readers._eager import compiled_as_plain
from invariscope.readers._fingerprint import fingerprint_module
from invariscope.readers._modules import Site, module_kind, never_ran, survey
from invariscope.readers._outputs import part_names
from invariscope.readers._plan import (
    Calls,
    Candidate,
    SiteKey,
    Trials,
    choose,
    describe_output,
    operation_tables,
    slots_of,
    with_aliases,
)
from invariscope.readers._preserve import preserved
from invariscope.readers._recording import SMALL, Recording, probes, record
from invariscope.readers._selection import Directory, Selector, as_axis_choice, as_selector
from invariscope.readers._tapping import ModuleForward
from invariscope.readers.base import AxisChoice, Forward, Inspection, Precision, Reader, Selection, Sink


@dataclass(frozen=True, eq=False)
class Plan:
    """What an inspection settled for one device and number format."""

    inspection: Inspection
    calls: Mapping[SiteKey, Calls]
    tables: Mapping[str, Mapping[str, SiteKey]]
    drawn: tuple[str, ...]
    wrote_input: bool


@dataclass(frozen=True, eq=False)
class TorchReader(Reader):
    """Reads every module output, functional operations and residual sums too, of a `torch.nn.Module`.

    Names: a module goes by its dotted name, the model itself by the name of its class; an operation outside
    any leaf module is `block1/add`, at the root `add` (`/add` where a module is called so). Where an output
    holds several tensors the first carries the plain name, the others their place in it: `lstm[1][0]`,
    `head[logits]`. Runs of one layer within a forward are told apart by `call`, counted from 0.

    Read by default: modules without children, attention and recurrent modules, and operations that return
    floating values with a batch axis. A container is read when a pattern names it. Not seen: what custom
    autograd functions, scripted modules and compiled code do inside.

    Args:
        model: any module, in any mode, on any device.
        layers: names, globs, a list of them, or a predicate on `LayerInfo`.
        batch_axis: the batch axis where several axes follow the batch: one for all, or {name or glob: axis}.
        gradients: run forwards with autograd on, for models that differentiate inside their forward.
    """

    model: nn.Module
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    _plans: dict[tuple[str | None, str], Plan] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        as_selector(self.layers)
        as_axis_choice(self.batch_axis)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Whether it is a module."""
        return isinstance(model, nn.Module)

    @property
    def name(self) -> str:
        """The class of the model."""
        return module_kind(uncompiled(self.model))

    @property
    def device(self) -> str:
        """Where its parameters are."""
        return str(home(self.model) or "cpu")

    def fingerprint(self) -> str:
        """SHA-256 over module classes and the names, shapes, dtypes and values of parameters and buffers."""
        return fingerprint_module(uncompiled(self.model))

    def inspect(
        self, x: Tensor, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Forwards two and three inputs and says what can be read; see `Reader.inspect`."""
        placed = self._placed(device, precision)
        with preserved(placed.model), compiled_as_plain():
            plan = self._plan(placed, x)
        self._plans[device, precision] = plan
        return plan.inspection

    @contextmanager
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> Iterator[Forward]:
        """Eval mode and hooks, all undone on exit; inspects on the first forward where nobody did before."""
        placed = self._placed(device, precision)
        with preserved(placed.model), compiled_as_plain(), ExitStack() as stack:
            plan = self._plans.get((device, precision))
            forward: ModuleForward | None = None

            def run(x: Tensor, sink: Sink) -> Any:
                nonlocal plan, forward
                if plan is None:
                    plan = self._plans[device, precision] = self._plan(placed, x)
                if forward is None:
                    forward = _installed(placed, plan, seed, stack)
                return forward(x, sink)

            yield run

    def _placed(self, device: str | None, precision: Precision) -> Placed:
        return replace(place(self.model, device=device, precision=precision), gradients=self.gradients)

    def _plan(self, placed: Placed, x: Tensor) -> Plan:
        sites = survey(placed.model)
        rows, altered = (placed.feed(batch) for batch in probes(x))
        generators = _generators(placed)

        run = partial(record, placed.model, sites, shape=x.shape, gradients=placed.gradients)

        parts = parts_of(placed.model)
        with put_back(generators) as before:
            small = run(rows[:SMALL])
            drawn_first = _moved(generators, before)
        with put_back(generators) as before:
            large = run(rows)
            drawn = _moved(generators, before)
        refuse_built(parts, parts_of(placed.model), drew=bool(drawn_first and not drawn))

        @cache
        def only_first_altered() -> Recording:
            with put_back(generators):
                return run(altered)

        modules = frozenset(site.name for site in sites)
        trials = Trials(small, large, only_first_altered, as_axis_choice(self.batch_axis), modules)
        candidates = trials.candidates()
        unused = never_ran(sites, large.ran)
        chosen = self._chosen(candidates, unused, trials)
        inspection = Inspection(
            layers=tuple(candidate.info for candidate in chosen),
            unused=_shown(unused, as_selector(self.layers)),
            notes=_notes(placed, sites, drawn),
            output=describe_output(trials, self.name),
            output_parts=part_names(trials.large.output),
        )
        calls = slots_of(chosen, trials)
        tables = operation_tables(calls, large.operations, sites)
        return Plan(inspection, calls, tables, drawn, large.wrote_input)

    def _chosen(self, candidates: list[Candidate], unused: Sequence[str], trials: Trials) -> list[Candidate]:
        selector = as_selector(self.layers)
        names = tuple(dict.fromkeys(c.info.layer for c in candidates))
        listed = {c.info.layer for c in candidates if c.event.default}
        directory = Directory(self.name, names, tuple(unused), len(listed))
        directory.check(selector.patterns or ())
        if isinstance(self.batch_axis, Mapping):
            Directory(self.name, (*names, "output"), tuple(unused), len(listed)).check(self.batch_axis)
        chosen = [trials.ordered(candidate) for candidate in choose(candidates, selector)]
        if not chosen:
            raise ValueError(f"layers={self.layers!r} selects none of the {len(names)} layers of {self.name}")
        return with_aliases(chosen, trials.large.batch)


def _generators(placed: Placed) -> tuple[Generator, ...]:
    return global_generators(str(placed.device or "cpu"))


def _moved(generators: Sequence[Generator], states: Sequence[Any]) -> tuple[str, ...]:
    """Names of the generators that were drawn from since these states."""
    return tuple(g.name for g, state in zip(generators, states, strict=True) if g.moved_from(state))


def _installed(placed: Placed, plan: Plan, seed: int, stack: ExitStack) -> ModuleForward:
    drawn = [generator for generator in _generators(placed) if generator.name in plan.drawn]
    streams = Streams(drawn, seed) if drawn else None
    forward = ModuleForward(placed, survey(placed.model), plan.calls, plan.tables, stack)
    forward.streams, forward.copies_input = streams, plan.wrote_input
    return forward


def _shown(unused: Sequence[str], selector: Selector) -> tuple[str, ...]:
    if selector.predicate is not None:
        return ()
    return tuple(name for name in unused if selector.patterns is None or selector.names(name))


def _notes(placed: Placed, sites: Sequence[Site], drawn: Sequence[str]) -> tuple[str, ...]:
    scripted = [site.name for site in sites if site.role == "scripted"]
    notes = []
    if scripted:
        notes.append(f"traced or scripted, only its output is read: {', '.join(scripted)}")
    if placed.compiled:
        notes.append("the compiled model is read uncompiled")
    if any(isinstance(site.module, (nn.MultiheadAttention, nn.TransformerEncoderLayer)) for site in sites):
        notes.append("torch's attention fast path is off while reading; values agree to 1e-6")
    if drawn:
        notes.append(f"the forward draws random numbers ({', '.join(drawn)})")
    return tuple(notes)
