"""A model run up to one of its layers, and no further."""

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
    """Ends a forward where nothing more is wanted of it."""


@contextmanager
def up_to(model: nn.Module, layer: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """A function from inputs to the first output of a layer within one forward; what follows is not run.

    Inputs may therefore have another size than the layers behind would take. The model is in eval mode
    inside, and on exit what it was before. Gradients follow the caller's setting.

    Args:
        layer: a module by its dotted name.
    Raises:
        TypeError: no module.
        ValueError: no such layer, one that the forward does not run, or one that gives no tensor with a row
            per input; the model fails.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"a layer is reached inside a torch.nn.Module; got {type(model).__name__}")
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
        raise ValueError(f"the forward never runs layer {layer!r}; name a module that it does run")
    if not isinstance(held[0], Tensor):
        raise ValueError(f"layer {layer!r} gives a {type(held[0]).__name__}, not one tensor; name another")
    if held[0].shape[:1] != (rows,):
        raise ValueError(
            f"layer {layer!r} gives {tuple(held[0].shape)} for {rows} inputs, and not a row for each "
            "of them; name another"
        )
    return held[0]
