"""The tensors in what a module returns: one, or any nesting of tuples, lists, dicts, dataclasses and graphs.

So is what an object keeps as its attribute `tensor`, as the feature fields of escnn and e2cnn do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from invariscope.common.samples import is_graph

Path: TypeAlias = tuple[Any, ...]


def tensors_in(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor with its path, in order; anything else is passed over."""
    if isinstance(output, Tensor):
        yield path, output
        return
    for key, value in parts_of(output):
        yield from tensors_in(value, (*path, key))


def parts_of(output: Any) -> list[tuple[Any, Any]]:
    """Return the parts of an output with their names or indices; empty if it has none.

    >>> parts_of({"logits": 1}), parts_of((2, 3)), parts_of(4)
    ([('logits', 1)], [(0, 2), (1, 3)], [])
    """
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, (tuple, list)):
        return list(enumerate(output))
    if is_graph(output):
        return list(output.to_dict().items())
    if is_dataclass(output):
        return [(field.name, getattr(output, field.name)) for field in fields(output)]
    wrapped = getattr(output, "tensor", None)
    return [("tensor", wrapped)] if isinstance(wrapped, Tensor) else []


@dataclass(frozen=True, eq=False)
class Given:
    """The tensors in the graphs that a module gets: those in the graph that it returns are not its own.

    Args:
        tensors: by identity, each with its version.
    """

    tensors: dict[int, tuple[Tensor, int]]

    @classmethod
    def to(cls, args: tuple[Any, ...]) -> Given:
        """Return those in a module's arguments."""
        found = (tensor for graph in args if is_graph(graph) for _, tensor in tensors_in(graph))
        return cls({id(tensor): (tensor, tensor._version) for tensor in found})

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor was among them, and has not been written to."""
        return id(tensor) in self.tensors and self.tensors[id(tensor)][1] == tensor._version


NOTHING = Given({})


def unreadable(tensor: Tensor) -> str:
    """Return why no measure applies to such a tensor; "" if measures do."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # type: ignore[attr-defined]
        return "it runs inside torch.func or vmap, where single values cannot be read"
    if tensor.is_nested or tensor.layout is not torch.strided:
        return "its tensor is not dense"
    if not tensor.is_floating_point():
        return f"its values are {str(tensor.dtype).removeprefix('torch.')}, not real floating-point numbers"
    return ""


def pick(output: Any, path: Path) -> Any:
    """What lies at a path; None if the output has no such part."""
    for key in path:
        output = dict(parts_of(output)).get(key)
    return output


def suffixes(paths: list[Path]) -> list[str]:
    """How the tensors of one output are told apart: the first carries the plain name.

    >>> suffixes([(0,), (1, 0), (1, 1)]), suffixes([("logits",), ("features",)])
    (['', '[1][0]', '[1][1]'], ['', '[features]'])
    """
    return ["" if not rank else "".join(f"[{key}]" for key in path) for rank, path in enumerate(paths)]
