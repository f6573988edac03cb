"""The tensors in what a module returns: one, or any nesting of tuples, lists, dicts and dataclasses.

So is what an object keeps as its attribute `tensor`, as the feature fields of escnn and e2cnn do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from torch import Tensor

Path: TypeAlias = tuple[Any, ...]


def tensors_in(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor with its path, in order; anything else is passed over."""
    if isinstance(output, Tensor):
        yield path, output
        return
    for key, value in _parts(output):
        yield from tensors_in(value, (*path, key))


def _parts(output: Any) -> list[tuple[Any, Any]]:
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, (tuple, list)):
        return list(enumerate(output))
    if is_dataclass(output):
        return [(field.name, getattr(output, field.name)) for field in fields(output)]
    wrapped = getattr(output, "tensor", None)
    return [("tensor", wrapped)] if isinstance(wrapped, Tensor) else []


def pick(output: Any, path: Path) -> Any:
    """What lies at a path; None if the output has no such part."""
    for key in path:
        output = dict(_parts(output)).get(key)
    return output


def suffixes(paths: list[Path]) -> list[str]:
    """How the tensors of one output are told apart: the first carries the plain name.

    >>> suffixes([(0,), (1, 0), (1, 1)]), suffixes([("logits",), ("features",)])
    (['', '[1][0]', '[1][1]'], ['', '[features]'])
    """
    return ["" if not rank else "".join(f"[{key}]" for key in path) for rank, path in enumerate(paths)]


def part_names(output: Any) -> tuple[str, ...]:
    """How the tensors of an output are reached, where there are several.

    >>> part_names({"logits": Tensor(), "features": (Tensor(), Tensor())}), part_names(Tensor())
    (("['logits']", "['features'][0]", "['features'][1]"), ())
    """
    names = ["".join(f"[{key!r}]" for key in path) for path, _ in tensors_in(output)]
    return tuple(names) if len(names) > 1 else ()
