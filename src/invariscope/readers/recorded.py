"""Base class of readers for frameworks other than torch: turn the values that layers emit into readings."""

from __future__ import annotations

import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from invariscope.common.random_state import Streams, global_generators, put_back
from invariscope.common.samples import is_structured, kind_of
from invariscope.readers.base import (
    OK,
    AxisChoice,
    FailedForward,
    Forward,
    Inspection,
    LayerInfo,
    LayerKey,
    Precision,
    Reader,
    Reading,
    Selection,
    Sink,
    prediction_info,
)
from invariscope.readers.emissions import Emission, Emitter, RefusedModel
from invariscope.readers.foreign import as_tensor
from invariscope.readers.prediction import OutputChoice, PredictionSelector, as_output_choice, find_prediction
from invariscope.readers.selection import Directory, Selector, as_axis_choice, as_selector, axis_choice
from invariscope.readers.torch.axes import NO_AXIS, BatchAxis, find_batch_axis, order_rows
from invariscope.readers.torch.outputs import unreadable
from invariscope.readers.torch.plan import UNEVEN, describe
from invariscope.readers.torch.recording import LARGE, SMALL, probes

_CPU = "cpu"
_IMAGES = 4  # axes of a batch of images
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOCK = threading.RLock()  # forward passes patch what they read, so they run one at a time


@dataclass(frozen=True, eq=False)
class Opened:
    """A model that is ready to run.

    Args:
        run: takes the inputs and an emitter; returns the output, with arrays converted to torch tensors.
        layers: all layers that a forward pass may run, as {name: whether it is read by default}.
        notes: differences from a plain forward pass.
    """

    run: Callable[[Tensor, Emitter], Any]
    layers: Mapping[str, bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Trial:
    events: dict[LayerKey, Emission]
    values: dict[LayerKey, Tensor]
    output: Any


@dataclass(frozen=True, eq=False)
class _Plan:
    inspection: Inspection
    axes: dict[LayerKey, BatchAxis]
    drawn: tuple[str, ...]

    @property
    def wanted(self) -> set[str]:
        """Names of the readings, and of the layers they are parts of."""
        return {name for layer, _ in self.axes for name in (layer, layer.partition("[")[0])}


@dataclass(frozen=True, eq=False)
class RecordedReader(Reader):
    """Abstract base of readers for other frameworks than torch; subclasses define how a run is recorded."""

    model: Any
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    output: OutputChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    _plans: list[_Plan] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        as_selector(self.layers)
        as_axis_choice(self.batch_axis)
        as_output_choice(self.output)
        if self.gradients:
            raise TypeError(
                f"gradients=True needs a torch module: {self.framework} models are read without gradients"
            )

    @property
    @abstractmethod
    def framework(self) -> str:
        """Name of the framework, such as "Keras"."""

    @property
    @abstractmethod
    def placing(self) -> str:
        """Advice on how to run such models on another device, as an imperative clause."""

    @abstractmethod
    def opened(self) -> AbstractContextManager[Opened]:
        """Prepare the model for measuring; it is restored on exit."""

    @property
    def device(self) -> str:
        """Device of the readings; the framework itself may compute elsewhere."""
        return _CPU

    def inspect(
        self, x: Tensor, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Run the model on two, then three inputs, and return the readable layers; see `Reader.inspect`."""
        self._check_place(device, precision)
        if is_structured(x):
            raise TypeError(
                f"{self.framework} models are read from inputs that are one tensor; samples are "
                f"{kind_of(x[0])}. Pass a function of a batch's fields that returns "
                "{layer: array}, with preprocess= to make batches"
            )
        with self.opened() as model:
            self._plans[:] = [self._plan(model, x)]
        return self._plans[0].inspection

    @contextmanager
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> Iterator[Forward]:
        """Open the model; the first forward pass inspects it if necessary."""
        self._check_place(device, precision)
        with self.opened() as model:
            streams: Streams | None = None

            def run(x: Tensor, sink: Sink) -> Any:
                nonlocal streams
                self._plans[:] = self._plans or [self._plan(model, x)]
                plan = self._plans[0]
                if streams is None:
                    streams = Streams([g for g in global_generators(_CPU) if g.name in plan.drawn], seed)
                with streams.active() if streams.generators else nullcontext():
                    return self._later(model, plan, x, sink)

            yield run

    def _check_place(self, device: str | None, precision: Precision) -> None:
        if precision != "float32":
            raise ValueError(
                f"precision={precision!r} needs a torch module: convert the weights of the {self.framework} "
                "model yourself"
            )
        if device is not None and torch.device(device).type != _CPU:
            raise ValueError(
                f"device={device!r} needs a torch module: {self.framework} places its models itself. Leave "
                f"device= out, and {self.placing}"
            )

    # --- one forward pass -----------------------------------------------------------------------------------

    def _fed(self, x: Tensor) -> Tensor:
        x = x.detach().cpu()
        return x.movedim(1, -1).contiguous() if self.channels_last and x.ndim >= _IMAGES else x.contiguous()

    def _later(self, model: Opened, plan: _Plan, x: Tensor, sink: Sink) -> Any:
        delivery = _Delivery(plan, len(x), sink)
        emitter = Emitter(delivery, plan.wanted)
        try:
            with _LOCK, torch.no_grad():
                returned = model.run(self._fed(x), emitter)
                emitter(self.name, self.name, returned)
        except Exception as error:
            raise self._explained(error, emitter, partial(FailedForward.during, x, self.name)) from error
        delivery.finish()
        return returned

    def _explained(
        self, error: Exception, emitter: Emitter, failed: Callable[[Exception], FailedForward]
    ) -> Exception:
        """Return the error to raise: our errors unchanged, the model's with a description of its inputs."""
        if emitter.failure is not None:
            return emitter.failure
        return error if isinstance(error, RefusedModel) else failed(_plain(error))

    def _trial(self, model: Opened, x: Tensor, shape: Sequence[int]) -> _Trial:
        events: dict[LayerKey, Emission] = {}
        values: dict[LayerKey, Tensor] = {}

        def receive(event: Emission) -> None:
            tensor = None if event.problem else as_tensor(event.value)
            if isinstance(tensor, Tensor):
                values[event.key] = tensor.clone()  # an in-place operation may follow
            events[event.key] = replace(event, problem=tensor if isinstance(tensor, str) else event.problem)

        emitter = Emitter(receive)
        try:
            with _LOCK, torch.no_grad():
                returned = model.run(self._fed(x), emitter)
        except Exception as error:
            raise self._explained(error, emitter, partial(FailedForward.on, x, shape, self.name)) from error
        if self.name not in {name for name, _ in events}:
            emitter(self.name, self.name, returned, default=False, channels_last=self.channels_last)
        return _Trial(events, values, returned)

    # --- the plan -------------------------------------------------------------------------------------------

    def _plan(self, model: Opened, x: Tensor) -> _Plan:
        rows, other = probes(x)
        generators = global_generators(_CPU)
        with put_back(generators) as before:
            small = self._trial(model, rows[:SMALL], x.shape)
            drawn = tuple(g.name for g, state in zip(generators, before, strict=True) if g.moved_from(state))
            large = self._trial(model, rows, x.shape)
            altered = cache(lambda: self._trial(model, other, x.shape).values)
            verdicts = {key: self._verdict(key, small, large, altered) for key in large.events}
        verdicts |= {key: UNEVEN for key in small.events if key not in large.events}
        chosen = self._chosen(model, {**small.events, **large.events}, verdicts, large, small)
        keys = [(info.layer, info.call) for info in chosen if info.status == OK]
        axes = {key: axis for key in keys if isinstance(axis := verdicts[key], BatchAxis)}
        prediction = self._prediction(small, large)
        notes = (f"the forward pass draws random numbers ({', '.join(drawn)})",) if drawn else ()
        inspection = Inspection(
            layers=tuple(chosen),
            unused=_unused(model, large, as_selector(self.layers)),
            notes=(*model.notes, *notes),
            output=prediction_info(prediction, self.name),
            prediction=prediction,
        )
        return _Plan(inspection, axes, drawn)

    def _verdict(
        self, key: LayerKey, small: _Trial, large: _Trial, altered: Callable[[], dict[LayerKey, Tensor]]
    ) -> BatchAxis | str:
        event = large.events[key]
        if event.problem or key not in small.values:
            return event.problem or UNEVEN
        before = large.values[key]
        if problem := unreadable(before):
            return problem
        axis = self._axis(small.values[key], before, event.layer)
        if isinstance(axis, str):
            return axis
        if axis.per_sample > 1:
            after = altered().get(key)
            if after is None or after.shape != before.shape:
                return "its shape depends on the inputs"
            return order_rows(axis, before, after, LARGE)
        return _with_layout(axis, before, channels_last=event.channels_last)

    def _axis(self, small: Tensor, large: Tensor, name: str) -> BatchAxis | str:
        choice = axis_choice(self.batch_axis, name)
        return find_batch_axis(small.shape, large.shape, (SMALL, LARGE), choice=choice)

    def _prediction(self, small: _Trial, large: _Trial) -> PredictionSelector:
        def axis(before: Tensor, after: Tensor) -> BatchAxis | str:
            found = self._axis(before, after, "output")
            return (
                found
                if isinstance(found, str)
                else _with_layout(found, after, channels_last=self.channels_last)
            )

        return find_prediction((small.output, large.output), self.output, axis, LARGE)

    def _chosen(
        self,
        model: Opened,
        events: dict[LayerKey, Emission],
        verdicts: dict[LayerKey, BatchAxis | str],
        large: _Trial,
        small: _Trial,
    ) -> list[LayerInfo]:
        infos = {
            key: _info(event, large.values.get(key), verdicts[key])
            for key, event in events.items()
            if not (event.operation and _no_layer(key, verdicts[key], large, small))
        }
        names = tuple(dict.fromkeys(layer for layer, _ in infos))
        listed = sum(events[key].default for key in infos)
        selector = as_selector(self.layers)
        directory = Directory(
            self.name, names, tuple(name for name in model.layers if name not in names), listed
        )
        directory.check(selector)
        chosen = [key for key in infos if selector(infos[key], default=events[key].default)]
        if self.layers is None and not any(isinstance(verdicts[key], BatchAxis) for key in chosen):
            chosen += [key for key in infos if key[0] == self.name and key not in chosen]
        if not chosen:
            raise directory.nothing_chosen(selector, self.layers)
        return _with_aliases([infos[key] for key in chosen], large.events)


def _unused(model: Opened, trial: _Trial, selector: Selector) -> tuple[str, ...]:
    """Return the layers that would be read but never ran."""
    if selector.predicate is not None:
        return ()
    ran = {layer.partition("[")[0] for layer, _ in trial.events}
    idle = {name: default for name, default in model.layers.items() if name not in ran}
    return tuple(name for name, default in idle.items() if selector.names(name, default=default))


def _with_layout(axis: BatchAxis, tensor: Tensor, *, channels_last: bool) -> BatchAxis:
    """Mark the batch axis of a channels-last map, so that the map is passed on with channels first."""
    plain = axis.axis == 0 and axis.per_sample == 1 and tensor.ndim > 2
    return replace(axis, channels_last=True) if channels_last and plain else axis


def _no_layer(key: LayerKey, verdict: BatchAxis | str, large: _Trial, small: _Trial) -> bool:
    """Return whether an operation is not a layer because it gives the same result for any inputs."""
    if isinstance(verdict, BatchAxis):
        return False
    one, other = large.values.get(key), small.values.get(key)
    if one is None or unreadable(one):
        return True
    return verdict in (NO_AXIS, UNEVEN) and other is not None and torch.equal(one, other)


def _info(event: Emission, tensor: Tensor | None, verdict: BatchAxis | str) -> LayerInfo:
    if tensor is None:
        return LayerInfo(event.layer, event.call, (), "none", event.kind, None, str(verdict))
    info = describe(event.layer, event.call, event.kind, tensor, verdict, LARGE)
    return replace(info, unclear=event.unclear and len(info.shape) > 2)


def _with_aliases(infos: list[LayerInfo], events: Mapping[LayerKey, Emission]) -> list[LayerInfo]:
    """Mark layers that return the same array as an earlier layer."""
    originals: dict[int, LayerKey] = {}
    marked = []
    for info in infos:
        key = info.layer, info.call
        original = originals.setdefault(id(events[key].value), key) if info.status == OK else key
        marked.append(info if original == key else replace(info, alias_of=original))
    return marked


class _Delivery:
    """Callback that passes the planned readings of one forward pass to the sink."""

    def __init__(self, plan: _Plan, batch: int, sink: Sink) -> None:
        self.axes, self.batch, self.sink = plan.axes, batch, sink
        self.aliases = {(i.layer, i.call): i.alias_of for i in plan.inspection.layers if i.alias_of}
        self.kept = dict.fromkeys(self.aliases.values())  # arrays of the originals of repeats
        self.missing = set(plan.axes)

    def __call__(self, event: Emission) -> None:
        """Deliver an array if it is planned and has not been delivered yet."""
        if event.key not in self.missing:
            return
        self.missing.discard(event.key)
        self.sink(self._reading(event, self.axes[event.key]))

    def _reading(self, event: Emission, axis: BatchAxis) -> Reading:
        tensor = event.problem or as_tensor(event.value)
        if isinstance(tensor, Tensor) and not axis.holds(tensor.shape, self.batch):
            tensor = (
                f"it has shape {tuple(tensor.shape)} for {self.batch} inputs, but axis {axis.axis} should be "
                "the batch axis"
            )
        if isinstance(tensor, str):
            return Reading(event.layer, event.call, None, None, None, tensor)
        if event.key in self.kept:
            self.kept[event.key] = event.value
        original = self.aliases.get(event.key)
        repeats = original is not None and self.kept[original] is event.value
        values = axis.arrange(tensor, self.batch)
        return Reading(event.layer, event.call, values, axis.axis, original if repeats else None, OK)

    def finish(self) -> None:
        """Report the planned layers that did not run."""
        for layer, call in sorted(self.missing):
            self.sink(Reading(layer, call, None, None, None, UNEVEN))


def _plain(error: Exception) -> Exception:
    """Return an error without the colour codes that Keras puts into its text."""
    text = _COLOUR.sub("", str(error))
    return error if text == str(error) else ValueError(text)
