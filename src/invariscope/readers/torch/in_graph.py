"""Read responses with their autograd graph, from a model in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from invariscope.readers.base import LayerInfo, LayerKey, Selection
from invariscope.readers.prediction import OutputChoice, find_prediction
from invariscope.readers.selection import Directory, Selector, as_selector
from invariscope.readers.threads import exclusive, in_this_thread
from invariscope.readers.torch.axes import BatchAxis
from invariscope.readers.torch.copies import uncompiled
from invariscope.readers.torch.failing import failure
from invariscope.readers.torch.functions import OperationMode, unobserved
from invariscope.readers.torch.layouts import Layouts
from invariscope.readers.torch.modules import Site, module_kind, survey
from invariscope.readers.torch.outputs import dtype_name, suffixes, tensors_in


def output_in_graph(model: nn.Module, x: Tensor, *, output: OutputChoice = None) -> Tensor:
    """Return the model's prediction for each row of x, with gradients.

    The prediction is the only floating-point tensor in the model's output, or in the part that `output`
    selects, whose first axis holds the rows. Other batch axes cannot be found from a single forward pass in
    the model's current mode.

    Raises:
        TypeError: not a module.
        ValueError: there is no such tensor, or several, or the model fails.
    """
    _need_module(model)
    returned, rows = _returned(model, x), len(x)

    def axis(small: Tensor, large: Tensor) -> BatchAxis | str:
        right = large.shape[:1] == (rows,)
        return BatchAxis(0) if right else f"its first axis does not hold the {rows} inputs"

    return find_prediction((returned, returned), output, axis, rows).of(returned, rows)


def responses_in_graph(model: nn.Module, x: Tensor, *, layers: Selection = None) -> dict[LayerKey, Tensor]:
    """Run the model once and return its (row, unit...) responses by layer and call, with gradients.

    Layers have the same names as in `iv.measure`. Tensors must have the batch on their first axis; maps have
    their channels on the second. Each response is a copy, which later in-place operations do not change.

    Args:
        model: the model, run as it is: its mode, buffers and hooks are not managed.
        x: (row, ...) inputs.
        layers: names, globs, a list of them, or a predicate on `LayerInfo`; None: modules without children
            and functional operations.
    Raises:
        TypeError: not a module.
        ValueError: a pattern that matches no layer, or a layer whose first axis is not the batch.
    """
    _need_module(model)
    plain = uncompiled(model)
    watch = _Watch(as_selector(layers), len(x))
    watch.layouts.begin(x)
    with exclusive(plain), ExitStack() as stack:  # another thread's measurement may have put it in eval mode
        for site in survey(plain):
            for handle in watch.hooks(site):
                stack.callback(handle.remove)
        with watch.layouts, OperationMode(watch.operation):
            _returned(plain, x)
    watch.check(module_kind(plain))
    return watch.found


def _returned(model: nn.Module, x: Tensor) -> Any:
    try:
        return model(x)
    except torch.OutOfMemoryError:  # a training loop may retry with a smaller batch
        raise
    except Exception as error:
        raise failure(error, x, uncompiled(model)) from error


def _need_module(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"responses with gradients need a torch.nn.Module; got {type(model).__name__}")


@dataclass(eq=False)
class _Watch:
    """Readings of a forward pass so far, and the modules being run (`around`), the innermost last."""

    selector: Selector
    rows: int
    found: dict[LayerKey, Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    listed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    around: list[Site] = field(default_factory=list)
    misshapen: dict[str, tuple[int, ...]] = field(default_factory=dict)
    layouts: Layouts = field(default_factory=Layouts)

    def hooks(self, site: Site) -> Iterator[RemovableHandle]:
        """Register the hooks of a module; scripted modules do not support any."""
        if site.role == "scripted":
            return
        enter, note, leave = self._trio(site)
        yield site.module.register_forward_pre_hook(in_this_thread(enter))
        yield site.module.register_forward_hook(in_this_thread(note))
        # Also called after an error, which the model itself may catch.
        yield site.module.register_forward_hook(in_this_thread(leave), always_call=True)

    def _trio(self, site: Site) -> tuple[Callable[..., None], ...]:
        def enter(module: nn.Module, args: Any) -> None:
            self.around.append(site)

        def note(module: nn.Module, args: Any, output: Any) -> None:
            with unobserved():
                self._add(site.name, site.kind, output, default=site.default, operation=False)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self.around.pop()

        return enter, note, leave

    def operation(self, name: str, output: Any) -> None:
        """Add the output of an operation, unless it ran inside a leaf module."""
        if self.around and self.around[-1].role == "container":
            prefix = self.around[-1].prefix
            self._add(f"{prefix}{name}", f"function {name}", output, default=True, operation=True)

    def _add(self, name: str, kind: str, output: Any, *, default: bool, operation: bool) -> None:
        found = [(path, tensor) for path, tensor in tensors_in(output) if tensor.is_floating_point()]
        if operation:  # arithmetic on weights is not a layer
            found = [(path, tensor) for path, tensor in found if tensor.shape[:1] == (self.rows,)]
        call = self.counts[name]
        self.counts[name] += bool(found)
        for (_, tensor), suffix in zip(found, suffixes([path for path, _ in found]), strict=True):
            self._keep(name + suffix, call, kind, tensor, default=default)

    def _keep(self, name: str, call: int, kind: str, tensor: Tensor, *, default: bool) -> None:
        self.names.append(name)
        self.listed += default
        info = LayerInfo(name, call, tuple(tensor.shape[1:]), dtype_name(tensor), kind, None)
        if not self.selector(info, default=default):
            return
        if tensor.shape[:1] == (self.rows,):
            last = self.layouts.channels_last(tensor)
            self.found[name, call] = (tensor.movedim(-1, 1) if last else tensor).clone()
        else:
            self.misshapen[name] = tuple(tensor.shape)

    def check(self, model: str) -> None:
        """Raise ValueError unless every pattern matched, and every named layer could be read."""
        directory = Directory(model, tuple(dict.fromkeys(self.names)), (), self.listed)
        directory.check(self.selector)
        if self.misshapen and (self.selector.patterns or not self.found):
            name, shape = next(iter(self.misshapen.items()))
            raise ValueError(
                f"{name!r} has shape {shape}, but its first axis should hold the {self.rows} inputs; select "
                "other layers"
            )
        if not self.found:
            raise ValueError(f"layers={self.selector.patterns or 'predicate'} selects no layer of {model}")
