"""Record every layer's inputs and outputs in the autograd graph, for derivatives layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from invariscope.readers.prediction import PredictionSelector
from invariscope.readers.torch.copies import frozen, place
from invariscope.readers.torch.functions import operation_name, unobserved
from invariscope.readers.torch.modules import Site, survey

_WHOLE = PredictionSelector()
_SHAPES = frozenset(["flatten", "reshape", "view", "squeeze", "unsqueeze", "permute", "transpose"])


@dataclass(frozen=True, eq=False)
class Passage:
    """One run of one module or operation.

    Args:
        layer: name of the layer, as given by a reader.
        call: number of the run, from 0.
        inputs: the inputs that depend on the model's input, copied so that only this run uses them.
        outputs: the outputs, through which gradients from later layers pass.
        first: (input,) whether each one is the model's own input.
    """

    layer: str
    call: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    first: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded forward pass in which every passage can be differentiated.

    Args:
        x: the input.
        output: (batch, *unit) prediction.
        passages: the passages in the order of completion.
    """

    x: Tensor
    output: Tensor
    passages: tuple[Passage, ...]


def traced(
    model: nn.Module, *, layerwise: bool = True, dtype: torch.dtype = torch.float64
) -> Callable[..., Trace]:
    """Return a function that traces a forward pass of a copy of the model in eval mode.

    Passages are modules without children, attention and recurrent modules, and operations between modules,
    including those that only change the shape. In-place operations between modules are left out.

    Args:
        layerwise: whether to record the layers; otherwise there are no passages.
        dtype: dtype of the copy.
    Raises:
        TypeError: the model is not a module.
        ValueError: the model cannot be copied, or its output changes when its layers are recorded.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"derivatives by layer need a torch.nn.Module; got {type(model).__name__}. Other "
            "frameworks are not supported here"
        )
    placed = place(model, device=None, precision="float64")
    copied = frozen(placed.model, dtype)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    watch = _Watch()
    sites = survey(copied) if layerwise else []
    _refuse_scripted(sites)
    checked = not layerwise

    def run(x: Tensor, prediction: PredictionSelector = _WHOLE) -> Trace:
        nonlocal checked
        fed = placed.feed(x).to(dtype).requires_grad_()
        with torch.enable_grad(), ExitStack() as stack:
            plain = None if checked else prediction.of(copied(fed.detach().clone()), len(fed))
            watch.begin(fed)
            for site in sites:
                watch.follow(site, stack)
            stack.enter_context(_Operations(watch) if layerwise else ExitStack())
            output = prediction.of(copied(fed), len(fed))
        if plain is not None and not torch.allclose(plain, output, rtol=tolerance, atol=tolerance / 1000):
            raise ValueError(
                "the model's output changes when its layers are recorded: an operation between modules "
                "writes in place to a tensor that another one reads. Use inplace=False there, or "
                "layerwise=False"
            )
        checked = True
        return Trace(fed, output, tuple(watch.passages))

    return run


def _refuse_scripted(sites: Sequence[Site]) -> None:
    scripted = next((site.name for site in sites if site.role == "scripted"), None)
    if scripted is not None:
        raise ValueError(
            f"{scripted!r} is traced or scripted, so its layers cannot be recorded; pass layerwise=False, or "
            "the original model"
        )


@dataclass(eq=False)
class _Watch:
    """What has been recorded of a forward pass so far.

    Attributes:
        around: for each enclosing module, the name prefix of the operations in it; None inside a layer.
    """

    x: Tensor | None = None
    passages: list[Passage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    around: list[str | None] = field(default_factory=list)
    open: list[tuple[str, list[Tensor], list[bool]]] = field(default_factory=list)

    def begin(self, x: Tensor) -> None:
        """Start recording a forward pass."""
        self.x, self.passages, self.open = x, [], []
        self.counts.clear()
        self.around[:] = [""]

    def follow(self, site: Site, stack: ExitStack) -> None:
        """Register hooks on a module, to be removed by the stack."""
        if site.role == "inner":
            return
        before, after = (self._enter, self._leave) if site.default else (self._within, self._outside)
        module = site.module
        pre = module.register_forward_pre_hook(
            lambda _, args, more: before(site, args, more), with_kwargs=True
        )
        post = module.register_forward_hook(lambda _, args, output: after(output))
        stack.callback(pre.remove)
        stack.callback(post.remove)

    def operation(self, name: str, function: Callable[..., Any], args: Any, more: dict[str, Any]) -> Any:
        """Run an operation as a passage."""
        tapped, kept = self.tapped((args, more))
        self.open.append((name, *kept))
        return self._closed(function(*tapped[0], **tapped[1]))

    def _enter(self, site: Site, args: Any, more: Any) -> Any:
        self.around.append(None)
        tapped, kept = self.tapped((args, more))
        self.open.append((site.name, *kept))
        return tapped

    def _leave(self, output: Any) -> Any:
        self.around.pop()
        return self._closed(output)

    def _within(self, site: Site, args: Any, more: Any) -> None:
        self.around.append(site.prefix)

    def _outside(self, output: Any) -> None:
        self.around.pop()

    def _closed(self, output: Any) -> Any:
        name, inputs, first = self.open.pop()
        tapped, (outputs, _) = self.tapped(output)
        if not (inputs and outputs):  # for example, a size or a constant
            return output
        number = self.counts[name]
        self.counts[name] += 1
        self.passages.append(Passage(name, number, tuple(inputs), tuple(outputs), tuple(first)))
        return tapped

    def tapped(self, value: Any) -> tuple[Any, tuple[list[Tensor], list[bool]]]:
        """Copy the differentiable tensors in a value.

        Returns the value with the copies in place, the copies, and whether each is a copy of the model's
        input.
        """
        held: list[Tensor] = []
        first: list[bool] = []

        def tap(tensor: Tensor) -> Tensor:
            if not (tensor.requires_grad and tensor.is_floating_point()):
                return tensor
            held.append(tensor.clone())
            first.append(tensor is self.x)
            return held[-1].clone()  # the model may overwrite this copy in place, but not the recorded one

        with unobserved():
            return _mapped(value, tap), (held, first)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to the tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(_mapped(entry, function) for entry in value)
    if type(value) is dict:
        return {key: _mapped(entry, function) for key, entry in value.items()}
    return value


class _Operations(TorchFunctionMode):
    """Function mode that records the operations between modules as passages."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation; record it if it counts as a passage."""
        raw = getattr(func, "__name__", "__unnamed__")
        name, prefix = _passage_name(raw), self.watch.around[-1]
        if name is None or prefix is None:
            return func(*args, **(kwargs or {}))
        return self.watch.operation(f"{prefix}{name}", func, args, kwargs or {})


def _passage_name(raw: str) -> str | None:
    """Return the name of an operation; None for in-place operations, indexing, copies and constants."""
    if raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__")):
        return None
    return raw if raw in _SHAPES else operation_name(raw)
