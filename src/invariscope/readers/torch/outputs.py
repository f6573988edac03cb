"""Find the tensors in a module's output: a tensor, or nested tuples, lists, dicts, dataclasses and graphs.

This includes tensors in the attribute `tensor` of an object, such as a feature field of escnn or e2cnn.
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
    """Yield every tensor with its path, in order; anything else is ignored."""
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
    """Tensors of the graphs passed to a module, which do not count as its output if it returns them.

    Args:
        tensors: (tensor, version) by the id of the tensor.
    """

    tensors: dict[int, tuple[Tensor, int]]

    @classmethod
    def to(cls, args: tuple[Any, ...]) -> Given:
        """Return the tensors of the graphs among a module's arguments."""
        found = (tensor for graph in args if is_graph(graph) for _, tensor in tensors_in(graph))
        return cls({id(tensor): (tensor, tensor._version) for tensor in found})

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor is one of these and has not been written to since."""
        return id(tensor) in self.tensors and self.tensors[id(tensor)][1] == tensor._version


NOTHING = Given({})


def unreadable(tensor: Tensor) -> str:
    """Return why no measure applies to a tensor; "" if measures apply."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # type: ignore[attr-defined]
        return "it runs inside torch.func or vmap, where single values cannot be read"
    if tensor.is_nested or tensor.layout is not torch.strided:
        return "its tensor is not dense"
    if not tensor.is_floating_point():
        return f"its values are {dtype_name(tensor)}, not real floating-point numbers"
    return ""


def dtype_name(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype, such as "float32"."""
    return str(tensor.dtype).removeprefix("torch.")


def pick(output: Any, path: Path) -> Any:
    """Return the part of an output at a path; None if there is no such part."""
    for key in path:
        output = dict(parts_of(output)).get(key)
    return output


def suffixes(paths: list[Path]) -> list[str]:
    """Return the name suffixes that distinguish the tensors of one output; the first one's is empty.

    >>> suffixes([(0,), (1, 0), (1, 1)]), suffixes([("logits",), ("features",)])
    (['', '[1][0]', '[1][1]'], ['', '[features]'])
    """
    return ["" if not rank else "".join(f"[{key}]" for key in path) for rank, path in enumerate(paths)]
