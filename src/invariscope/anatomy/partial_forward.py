"""Run a model up to one of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from invariscope.common.registry import unknown
from invariscope.readers.threads import in_this_thread
from invariscope.readers.torch.copies import uncompiled
from invariscope.readers.torch.failing import failure
from invariscope.readers.torch.preserve import preserved


class _Reached(Exception):
    """Raised internally to end a forward pass after the layer of interest."""


@contextmanager
def up_to(model: nn.Module, layer: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield a function that returns a layer's first output for given inputs, without running later layers.

    Inputs may therefore have sizes that later layers do not accept. The model is in eval mode inside the
    context and restored on exit. Gradients follow the caller's setting.

    Args:
        layer: dotted name of a module.
    Raises:
        TypeError: the model is not a module.
        ValueError: the layer does not exist, the model does not run it, its output is not a tensor with one
            row per input, or the model fails.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the model must be a torch.nn.Module to run it up to a layer; got {type(model).__name__}"
        )
    inner = uncompiled(model)
    target = _named(inner, layer)

    def run(x: Tensor) -> Tensor:
        held: list[Any] = []

        def stop(module: nn.Module, args: Any, output: Any) -> None:
            held.append(output)
            raise _Reached

        handle = target.register_forward_hook(in_this_thread(stop))
        try:
            inner(x)
        except _Reached:
            pass
        except Exception as error:
            raise failure(error, x, inner) from error
        finally:
            handle.remove()
        return _only_tensor(held, layer, len(x))

    with preserved(inner):
        yield run


def _named(model: nn.Module, layer: str) -> nn.Module:
    modules = dict(model.named_modules())
    if not isinstance(layer, str) or layer not in modules or layer == "":
        raise unknown("layer", str(layer), [name for name in modules if name], hint="Modules only.")
    return modules[layer]


def _only_tensor(held: list[Any], layer: str, rows: int) -> Tensor:
    if not held:
        raise ValueError(f"the forward pass never runs layer {layer!r}; name a module that it runs")
    if not isinstance(held[0], Tensor):
        raise ValueError(
            f"layer {layer!r} returns a {type(held[0]).__name__} instead of a tensor; name another layer"
        )
    if held[0].shape[:1] != (rows,):
        raise ValueError(
            f"layer {layer!r} returns shape {tuple(held[0].shape)} for {rows} inputs, instead of one row per "
            "input; name another layer"
        )
    return held[0]
