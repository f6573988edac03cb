"""Read any callable that returns its layers as {layer: array}."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import as_the_caller
from invariscope.common.random_state import Streams, global_generators, put_back
from invariscope.common.samples import Inputs, is_structured
from invariscope.readers.base import (
    OK,
    AxisChoice,
    FailedForward,
    Forward,
    Identity,
    Inspection,
    LayerInfo,
    Precision,
    Reader,
    Reading,
    Selection,
    Sink,
    prediction_info,
)
from invariscope.readers.feeding import Feeding, mapped
from invariscope.readers.fingerprint import identify
from invariscope.readers.model_factories import no_model
from invariscope.readers.prediction import (
    OutputChoice,
    PredictionSelector,
    as_output_choice,
    find_prediction,
    one_row_axis,
)
from invariscope.readers.selection import Directory, as_axis_choice, as_selector, axis_choice
from invariscope.readers.torch.axes import BatchAxis, find_batch_axis
from invariscope.readers.torch.plan import describe
from invariscope.readers.torch.recording import LARGE, SMALL, probes

_KIND = "array"


@dataclass(frozen=True, eq=False)
class _Plan:
    inspection: Inspection
    axes: dict[str, BatchAxis]
    drawn: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CallableReader(Reader):
    """Reader of a callable that returns {layer: array}; layers keep the order of the dictionary.

    Arrays are torch tensors or anything NumPy understands. The batch axis is the axis whose size follows the
    batch size; if several do, pass `batch_axis`. A single array is the layer "output". The prediction is the
    entry "output", otherwise the last entry with one row per sample; `output` selects another. Train or eval
    mode and other state of the callable are not managed.

    Args:
        function: takes the inputs as a torch tensor, or whatever `preprocess` returns.
        layers: names, globs, a list of them, or a predicate on `LayerInfo`.
        batch_axis, output, gradients, preprocess, call: as for `TorchReader`; a function for `output`
            takes {layer: tensor}.
    """

    fallback: ClassVar[bool] = True

    function: Callable[[Tensor], Any]
    layers: Selection = field(default=None, kw_only=True)
    batch_axis: AxisChoice = field(default=None, kw_only=True)
    output: OutputChoice = field(default=None, kw_only=True)
    gradients: bool = field(default=False, kw_only=True)
    preprocess: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    call: Callable[[Any, Any], Any] | None = field(default=None, kw_only=True)
    _plans: dict[str | None, _Plan] = field(default_factory=dict, init=False, repr=False)
    _remarks: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        as_selector(self.layers)
        as_axis_choice(self.batch_axis)
        as_output_choice(self.output)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is callable."""
        return callable(model)

    @property
    def name(self) -> str:
        """Name of the function, or class name of the callable object."""
        return str(getattr(self.function, "__name__", "") or type(self.function).__name__)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the forward passes so far, for example that a tokenizer truncated texts."""
        return tuple(self._remarks)

    @property
    def device(self) -> str:
        """Always "cpu", since the device of a callable is unknown."""
        return "cpu"

    def identity(self) -> Identity:
        """Digest the code and the arrays, modules, values and functions that it uses: see `identify`."""
        return identify(self.function, self.name)

    def inspect(
        self, x: Inputs, *, device: str | None = None, precision: Precision = "float32"
    ) -> Inspection:
        """Call the function on two, then three inputs; return the readable layers as in `Reader.inspect`."""
        _check_precision(precision)
        self._plans[device] = plan = self._plan(_moved(x, device), device or self.device)
        return plan.inspection

    @contextmanager
    def open(
        self, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
    ) -> Iterator[Forward]:
        """Prepare seeded random streams for the callable; the global generators are unchanged afterwards."""
        _check_precision(precision)
        streams: Streams | None = None

        def run(x: Inputs, sink: Sink) -> Any:
            nonlocal streams
            x = _moved(x, device)
            plan = self._plans.get(device) or self._plan(x, device or self.device)
            self._plans[device] = plan
            if streams is None:
                generators = global_generators(device or self.device)
                streams = Streams([g for g in generators if g.name in plan.drawn], seed)
            drawing = streams.active() if streams.generators else nullcontext()
            with torch.set_grad_enabled(self.gradients), without_autocast(), drawing:
                found = self._later(x)
            _deliver(found, plan.axes, len(x), sink)
            return found

        yield run

    def _later(self, x: Inputs) -> dict[str, Tensor]:
        try:
            with as_the_caller():
                return self._named(self._run(x))
        except Exception as error:
            raise FailedForward.during(x, self.name, error) from error

    def _run(self, rows: Inputs) -> Any:
        """Call the function on a copy of its batch, which it may overwrite."""
        feeding = Feeding(self.preprocess, self.call, self._remarks)
        return feeding.run(self.function, mapped(feeding.batch(rows), torch.clone))

    def _named(self, returned: Any) -> dict[str, Tensor]:
        layers = returned if isinstance(returned, Mapping) else {"output": returned}
        if not layers:
            raise ValueError(f"{self.name} returned no layers: return {{layer: array}}, not an empty mapping")
        return {_layer_name(name): _tensor(name, value) for name, value in layers.items()}

    def _plan(self, x: Inputs, device: str) -> _Plan:
        rows, _ = probes(x)
        generators, shape = global_generators(device), () if is_structured(x) else x.shape
        with put_back(generators) as before:
            small = self._trial(rows[:-1], shape)
            drawn = tuple(g.name for g, state in zip(generators, before, strict=True) if g.moved_from(state))
            large = self._trial(rows, shape)
        verdicts = {name: self._axis(name, small.get(name), large[name]) for name in large}
        infos = [describe(n, 0, _KIND, large[n], verdicts[n], len(rows)) for n in large]
        chosen = self._chosen(infos)
        axes = {i.layer: v for i in chosen if isinstance(v := verdicts[i.layer], BatchAxis)}
        notes = (f"the forward pass draws random numbers ({', '.join(drawn)})",) if drawn else ()
        prediction = self._prediction(small, large, verdicts)
        output = prediction_info(prediction, _KIND)
        inspection = Inspection(tuple(chosen), notes=notes, output=output, prediction=prediction)
        return _Plan(inspection, axes, drawn)

    def _prediction(
        self, small: dict[str, Tensor], large: dict[str, Tensor], verdicts: dict[str, BatchAxis | str]
    ) -> PredictionSelector:
        """Find the prediction: the user's choice, "output", or the last entry with one row per sample."""
        choice, default = self.output, self.output is None
        if choice is None:
            good = [name for name, verdict in verdicts.items() if isinstance(verdict, BatchAxis)]
            choice = "output" if "output" in large else (good or list(large))[-1]
        sizes, last = (SMALL, LARGE), axis_choice(self.batch_axis, "output")

        def axis(before: Tensor, after: Tensor) -> BatchAxis | str:
            named = next((n for n, tensor in large.items() if tensor is after), "output")
            own = axis_choice(self.batch_axis, named)
            return find_batch_axis(before.shape, after.shape, sizes, choice=last if own is None else own)

        found = find_prediction((small, large), choice, axis, LARGE)
        return replace(found, note="") if default else found

    def _trial(self, x: Inputs, shape: Sequence[int]) -> dict[str, Tensor]:
        with torch.set_grad_enabled(self.gradients), without_autocast():
            try:
                with as_the_caller():
                    returned = self._run(x)
                found = {} if isinstance(returned, nn.Module) else self._named(returned)
            except Exception as error:
                raise FailedForward.on(x, shape, self.name, error) from error
        if isinstance(returned, nn.Module):
            raise no_model(self.function)
        return found

    def _axis(self, name: str, small: Tensor | None, large: Tensor) -> BatchAxis | str:
        choice = axis_choice(self.batch_axis, name)
        return one_row_axis(
            small, large, lambda a, b: find_batch_axis(a.shape, b.shape, (SMALL, LARGE), choice=choice)
        )

    def _chosen(self, infos: list[LayerInfo]) -> list[LayerInfo]:
        selector, names = as_selector(self.layers), tuple(info.layer for info in infos)
        directory = Directory(self.name, names, (), len(names))
        directory.check(selector)
        chosen = [info for info in infos if selector(info, default=True)]
        if not chosen:
            raise directory.nothing_chosen(selector, self.layers)
        return chosen


def _check_precision(precision: str) -> None:
    if precision != "float32":
        raise ValueError(
            f"precision={precision!r} needs a torch module: leave it out, and cast inside the callable"
        )


def _moved(x: Any, device: str | None) -> Any:
    return x.to(device) if device is not None and isinstance(x, Tensor) else x


def _layer_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"layer names must be strings, got {name!r}")
    return name


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"layer {name!r} must be an array of numbers, got {type(value).__name__}: return an array, or "
            "{layer: array} for several layers"
        ) from None
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"layer {name!r} must be an array of numbers, got {type(value).__name__}")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _deliver(found: dict[str, Tensor], axes: dict[str, BatchAxis], batch: int, sink: Sink) -> None:
    for name, axis in axes.items():
        tensor = found.get(name)
        if tensor is None or not axis.holds(tensor.shape, batch):
            if tensor is None:
                reason = f"it is missing from the output for {batch} inputs"
            else:
                shape = tuple(tensor.shape)
                reason = (
                    f"it has shape {shape} for {batch} inputs, but axis {axis.axis} should be the batch axis"
                )
            sink(Reading(name, 0, None, None, None, reason))
        else:
            sink(Reading(name, 0, axis.arrange(tensor, batch), axis.axis, None, OK))
