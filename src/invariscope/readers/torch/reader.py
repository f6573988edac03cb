"""Read PyTorch modules: module outputs by hooks, functional operations by a function mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar

from torch import nn

from invariscope.common.default_device import as_the_caller
from invariscope.common.random_state import RandomGenerator, Streams, global_generators, put_back
from invariscope.common.samples import Inputs, is_structured
from invariscope.readers.base import (
    AxisChoice,
    Forward,
    Identity,
    Inspection,
    Precision,
    Reader,
    Selection,
    Sink,
    prediction_info,
)
from invariscope.readers.feeding import Feeding
from invariscope.readers.fingerprint import identify
from invariscope.readers.irregular import padding_notes
from invariscope.readers.pooling import as_pooling
from invariscope.readers.prediction import OutputChoice, PredictionSelector, as_output_choice, find_prediction
from invariscope.readers.selection import Directory, Selector, as_axis_choice, as_selector
from invariscope.readers.threads import exclusive
from invariscope.readers.torch.built import inventory, refuse_built, structure
from invariscope.readers.torch.copies import Placed, home, place, uncompiled
from invariscope.readers.torch.dataflow import sources
from invariscope.readers.torch.eager import without_compilation
from invariscope.readers.torch.modules import Site, module_kind, never_ran, survey
from invariscope.readers.torch.plan import (
    Calls,
    Candidate,
    SiteKey,
    Trials,
    choose,
    operation_tables,
    slots_of,
    with_aliases,
)
from invariscope.readers.torch.preserve import preserved
from invariscope.readers.torch.recording import (
    SMALL,
    Recording,
    forward_mode,
    other_size,
    probes,
    record,
)
from invariscope.readers.torch.tapping import ModuleForward


@dataclass(frozen=True, eq=False)
class Plan:
    """The result of an inspection for one device and dtype.

    Args:
        sets_up: whether the first forward pass changes hooks or submodules, so that it must run before our
            hooks are registered.
    """

    inspection: Inspection
    calls: Mapping[SiteKey, Calls]
    tables: Mapping[str, Mapping[str, SiteKey]]
    drawn: tuple[str, ...]
    wrote_input: bool
    sets_up: bool


@dataclass(frozen=True, eq=False)
class TorchReader(Reader):
    """Reader of the modules of a `torch.nn.Module`, and of functional operations such as residual sums.

    Names: a module has its dotted name, and the model itself the name of its class. An operation outside
    any leaf module is `block1/add`, or `add` at the root (`/add` if a module has that name). If an output
    holds several tensors, the first has the plain name, and the others add their position: `lstm[1][0]`,
    `head[logits]`. Runs of the same layer within a forward pass are distinguished by `call`, counted from 0.

    Read by default: modules without children, attention and recurrent modules, and operations that return
    floating-point values with a batch axis; if there are none, the model itself. A container is read if a
    pattern names it. Operations inside custom autograd functions, scripted modules and compiled code are not
    read.

    Args:
        model: any module, in any mode, on any device.
        layers: names, globs, a list of them, or a predicate on `LayerInfo`; a leading "!" excludes.
        batch_axis: the batch axis if several axes follow the batch: one for all, or {name or glob: axis}.
        output, gradients, preprocess, call, pool: see `iv.measure`.
    """

    stops: ClassVar[bool] = True
    model: nn.Module
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    output: OutputChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    preprocess: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    call: Callable[[Any, Any], Any] | None = field(default=None, kw_only=True)
    pool: Any = field(default=None, kw_only=True)
    _plans: dict[tuple[str | None, str], Plan] = field(default_factory=dict, init=False, repr=False)
    _remarks: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        as_selector(self.layers)
        as_axis_choice(self.batch_axis)
        as_output_choice(self.output)
        as_pooling(self.pool)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is a module."""
        return isinstance(model, nn.Module)

    @property
    def name(self) -> str:
        """Class name of the model."""
        return module_kind(uncompiled(self.model))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the forward passes so far, for example that a tokenizer truncated texts."""
        return tuple(self._remarks)

    @property
    def device(self) -> str:
        """Device of the parameters."""
        return str(home(self.model) or "cpu")

    def identity(self) -> Identity:
        """Digest classes, code, configuration, weights and buffers of all modules: see `identify`."""
        model = uncompiled(self.model)
        with exclusive(model):
            return identify(model, self.name)

    def inspect(
        self, x: Inputs, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Run the model on two, then three inputs, and return the readable layers; see `Reader.inspect`."""
        placed = self._placed(device, precision)
        with preserved(placed.model), without_compilation():
            plan = self._plan(placed, x)
        self._plans[device, precision] = plan
        return plan.inspection

    @contextmanager
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> Iterator[Forward]:
        """Put the model in eval mode with hooks until exit; the first call inspects it if necessary."""
        placed = self._placed(device, precision)
        with preserved(placed.model), without_compilation(), ExitStack() as stack:
            plan = self._plans.get((device, precision))
            forward: ModuleForward | None = None

            def run(x: Inputs, sink: Sink) -> Any:
                nonlocal plan, forward
                if plan is None:
                    plan = self._plans[device, precision] = self._plan(placed, x)
                if forward is None:
                    if plan.sets_up:
                        _run_once(placed, x)
                    forward = _installed(placed, plan, seed, stack)
                return forward(x, sink)

            yield run

    def _placed(self, device: str | None, precision: Precision) -> Placed:
        placed = place(self.model, device=device, precision=precision)
        return replace(
            placed, gradients=self.gradients, feeding=Feeding(self.preprocess, self.call, self._remarks)
        )

    def _plan(self, placed: Placed, x: Inputs) -> Plan:
        first = _first_forwards(placed, x)
        trials = self._trials(placed, x, first)
        unused = never_ran(first.sites, first.ran)
        chosen = self._chosen(trials.candidates(), unused, trials)
        inspection = self._inspection(placed, first, trials, chosen, unused)
        calls = slots_of(chosen, trials)
        tables = operation_tables(calls, first.large.operations, first.sites)
        return Plan(inspection, calls, tables, first.drawn, first.large.wrote_input, first.sets_up)

    def _trials(self, placed: Placed, x: Inputs, first: _First) -> Trials:
        """Return the first forward passes, with further ones that run on demand."""
        generators = _generators(placed)

        def run(rows: Inputs) -> Recording:
            with put_back(generators):
                return record(placed, first.sites, rows, shape=_shape(x))

        @cache
        def ends_altered() -> Recording:
            return run(probes(x)[1])

        @cache
        def of_other_size() -> Recording | None:
            other = other_size(x)
            return None if other is None else run(other)

        modules = frozenset(site.name for site in first.sites)
        axes, poolings = as_axis_choice(self.batch_axis), as_pooling(self.pool)
        return Trials(first.small, first.large, ends_altered, axes, modules, of_other_size, poolings)

    def _inspection(
        self,
        placed: Placed,
        first: _First,
        trials: Trials,
        chosen: Sequence[Candidate],
        unused: Sequence[str],
    ) -> Inspection:
        prediction, large = self._prediction(trials), first.large
        infos = tuple(candidate.info for candidate in chosen)
        ran = {c.event.key: (c.info.layer, c.info.call) for c in chosen if c.event.tensor is not None}
        return Inspection(
            layers=infos,
            unused=_shown(unused, as_selector(self.layers)),
            notes=(*_notes(placed, first.sites, first.drawn), *padding_notes(infos, large.fed, large.batch)),
            output=prediction_info(prediction, self.name),
            prediction=prediction,
            sources=sources(large.flow, ran),
        )

    def _prediction(self, trials: Trials) -> PredictionSelector:
        returned = trials.small.output, trials.large.output
        axis = partial(trials.axis, name="output")
        return find_prediction(returned, self.output, axis, trials.large.batch)

    def _chosen(self, candidates: list[Candidate], unused: Sequence[str], trials: Trials) -> list[Candidate]:
        selector = as_selector(self.layers)
        names = tuple(dict.fromkeys(c.info.layer for c in candidates))
        listed = sum(c.event.default for c in candidates)
        also = tuple(name for c in candidates for name in c.also)
        directory = Directory(self.name, names, tuple(unused), listed, also)
        directory.check(selector)
        for pattern in self.batch_axis if isinstance(self.batch_axis, Mapping) else ():
            Directory(self.name, (*names, "output"), tuple(unused), listed).find(pattern)
        for pattern in as_pooling(self.pool):
            directory.find(pattern, option="pool: ")
        chosen = [trials.ordered(candidate) for candidate in choose(candidates, selector)]
        if not chosen and self.layers is None:  # only views, or only complex or integer values
            chosen = [trials.ordered(c) for c in candidates if c.event.site == self.name]
        elif self.layers is None and not any(candidate.axis for candidate in chosen):
            chosen += [trials.ordered(c) for c in candidates if c.event.site == self.name and c.axis]
        elif not chosen:
            raise directory.nothing_chosen(selector, self.layers)
        return with_aliases(chosen, trials.large.batch)


@dataclass(frozen=True, eq=False)
class _First:
    """The forward passes of two and of three inputs with which every inspection begins.

    Args:
        sites: the modules, as they are after the first forward pass.
        drawn: names of the random generators that a forward pass uses.
        sets_up: whether the first forward pass changes hooks or submodules.
    """

    small: Recording
    large: Recording
    sites: Sequence[Site]
    drawn: tuple[str, ...]
    sets_up: bool

    @property
    def ran(self) -> set[str]:
        """Names of the modules that ran."""
        return self.small.ran | self.large.ran | self.large.elsewhere.keys()


def _first_forwards(placed: Placed, x: Inputs) -> _First:
    """Run the model on two, then three inputs, and leave the random generators as they were.

    Raises:
        FailedForward: the model fails on them.
        ValueError: the first forward pass builds layers with new weights.
    """
    rows, _ = probes(x)
    generators, fresh = _generators(placed), structure(placed.model)
    parts, run = inventory(placed.model), partial(record, placed, shape=_shape(x))
    with put_back(generators) as before:
        small = run(survey(placed.model), rows[:SMALL])
        drawn_first = _moved(generators, before)
    sets_up, sites = fresh != structure(placed.model), survey(placed.model)
    if sets_up:  # later forward passes differ from the first one
        with put_back(generators):
            small = run(sites, rows[:SMALL])
    with put_back(generators) as before:
        large = run(sites, rows, earlier=small)
        drawn = _moved(generators, before)
    refuse_built(parts, inventory(placed.model), drew=bool(drawn_first and not drawn))
    return _First(small, large, sites, drawn, sets_up)


def _generators(placed: Placed) -> tuple[RandomGenerator, ...]:
    return global_generators(str(placed.device or "cpu"))


def _shape(x: Inputs) -> tuple[int, ...]:
    """Return the shape of all inputs, for errors; () if samples have no common shape."""
    return () if is_structured(x) else tuple(x.shape)


def _run_once(placed: Placed, x: Inputs) -> None:
    """Run a first forward pass, which sets up hooks or submodules."""
    rows, _ = probes(x)
    with put_back(_generators(placed)), forward_mode(gradients=placed.gradients), as_the_caller():
        placed.run(placed.feed(rows[:SMALL]))


def _moved(generators: Sequence[RandomGenerator], states: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of the generators that have been used since these states were recorded."""
    return tuple(g.name for g, state in zip(generators, states, strict=True) if g.moved_from(state))


def _installed(placed: Placed, plan: Plan, seed: int, stack: ExitStack) -> ModuleForward:
    drawn = [generator for generator in _generators(placed) if generator.name in plan.drawn]
    streams = Streams(drawn, seed) if drawn else None
    unused = plan.inspection.unused
    forward = ModuleForward(placed, survey(placed.model), plan.calls, plan.tables, stack, unused=unused)
    forward.streams, forward.copies_input = streams, plan.wrote_input
    return forward


def _shown(unused: Sequence[str], selector: Selector) -> tuple[str, ...]:
    if selector.predicate is not None:
        return ()
    return tuple(name for name in unused if selector.names(name))


def _notes(placed: Placed, sites: Sequence[Site], drawn: Sequence[str]) -> tuple[str, ...]:
    scripted = [site.name for site in sites if site.role == "scripted"]
    notes = []
    if scripted:
        notes.append(f"only the outputs of traced or scripted modules are read: {', '.join(scripted)}")
    if placed.left_training:
        listed = ", ".join(placed.left_training)
        notes.append(f"modules in training mode are read in eval mode, like the rest of the model: {listed}")
    if placed.compiled:
        notes.append("the compiled model is read uncompiled")
    if any(isinstance(site.module, (nn.MultiheadAttention, nn.TransformerEncoderLayer)) for site in sites):
        notes.append("torch's attention fast path is disabled while reading; values agree to within 1e-6")
    if drawn:
        notes.append(f"the forward pass draws random numbers ({', '.join(drawn)})")
    return tuple(notes)
