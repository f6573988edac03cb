"""Samples of any type: mappings of arrays, text, images, graphs, atoms.

A batch is either one tensor (sample, ...), handled as a whole, or a one-dimensional array of Python objects,
which can be indexed and joined like a tensor.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date
from pathlib import PurePath
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.common.wording import listed

Inputs: TypeAlias = Any
"""A tensor (sample, ...), or an array of objects (sample,)."""

_PLAIN = (str, bytes, bool, int, float, complex, type(None), date, PurePath)
_MAX_DEPTH = 30


def is_structured(inputs: Any) -> TypeGuard[np.ndarray]:
    """Return whether the inputs are an array of objects rather than a tensor."""
    return isinstance(inputs, np.ndarray) and inputs.dtype == object


def as_samples(items: Iterable[Any]) -> np.ndarray:
    """Return the items as an array of objects, (sample,), without merging items that are arrays or lists.

    >>> as_samples([[1, 2], [3, 4]]).shape
    (2,)
    """
    items = list(items)
    found = np.empty(len(items), object)
    for place, item in enumerate(items):
        found[place] = item
    return found


def taken(inputs: Inputs, rows: Any) -> Inputs:
    """Return the inputs at these positions; tensors are copied."""
    if isinstance(inputs, Tensor):
        return inputs[torch.as_tensor(rows, device=inputs.device)]
    return inputs[np.asarray(rows)]


def joined_inputs(parts: list[Inputs]) -> Inputs:
    """Return several batches concatenated into one."""
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)  # type: ignore[arg-type]
    return np.concatenate(parts)


def same_inputs(one: Any, other: Any) -> bool:
    """Return whether two single inputs are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other) or _equal_with_nan(one, other)
    return sample_digest(one) == sample_digest(other)


def _equal_with_nan(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal, with NaN in the same places."""
    if one.shape != other.shape or not bool(one.isnan().any()):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def copies_of(inputs: Inputs, row: int, times: int) -> Inputs:
    """Return a batch that repeats one of the inputs; a view if the inputs are a tensor."""
    if isinstance(inputs, Tensor):
        return inputs[row].expand(times, *inputs.shape[1:])
    return np.repeat(inputs[row : row + 1], times)


def turned_round(inputs: Inputs) -> Inputs:
    """Return the inputs in reverse order."""
    return inputs.flip(0) if isinstance(inputs, Tensor) else inputs[::-1]


def shape_of(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of one input; () if samples have no common shape."""
    return tuple(inputs.shape[1:])


def parts_of_sample(sample: Any) -> list[tuple[Any, Any]]:
    """Return the named or numbered parts of a sample; empty if it has none.

    >>> parts_of_sample({"b": 1, "a": 2}), parts_of_sample("text")
    ([('b', 1), ('a', 2)], [])
    """
    if isinstance(sample, (*_PLAIN, Tensor, np.ndarray)) or is_image(sample):
        return []
    if isinstance(sample, Mapping):
        return list(sample.items())
    if isinstance(sample, list | tuple):
        return list(enumerate(sample))
    if is_dataclass(sample) and not isinstance(sample, type):
        return [(entry.name, getattr(sample, entry.name)) for entry in fields(sample)]
    graph: Any = sample
    if is_graph(graph):
        return list(graph.to_dict().items())
    return list(getattr(sample, "__dict__", {}).items())


def field(sample: Any, name: Any) -> Any:
    """Return a part of a sample by name, index or attribute.

    Raises:
        ValueError: the sample has no such part; the message suggests the closest ones.
    """
    try:
        if isinstance(sample, Mapping | list | tuple) and not _is_named(sample, name):
            return sample[name]
        if isinstance(name, str):
            return getattr(sample, name)
    except (KeyError, IndexError, TypeError, AttributeError):
        pass
    raise no_field(sample, name)


def _is_named(sample: Any, name: Any) -> bool:
    """Return whether the sample is a named tuple with a part of this name."""
    return isinstance(sample, tuple) and name in getattr(sample, "_fields", ())


def no_field(sample: Any, name: Any) -> ValueError:
    """Return the error for a field that a sample does not have."""
    names = [str(own) for own, _ in parts_of_sample(sample)]
    if not names:
        return ValueError(f"samples of type {kind_of(sample)} have no field {name!r}")
    return unknown("field", str(name), names)


def with_fields(sample: Any, changed: Mapping[Any, Any]) -> Any:
    """Return a copy of a sample with some parts replaced; the original is not modified."""
    if isinstance(sample, Mapping):
        return dict(sample) | dict(changed)
    named: Any = sample
    if isinstance(sample, tuple) and hasattr(sample, "_replace"):
        parts = {name if isinstance(name, str) else named._fields[name]: v for name, v in changed.items()}
        return named._replace(**parts)
    if isinstance(sample, list | tuple):
        return type(sample)(changed.get(place, part) for place, part in enumerate(sample))
    if is_dataclass(sample) and not isinstance(sample, type):
        return replace(sample, **changed)
    made = copy.copy(sample) if is_graph(sample) else copy.deepcopy(sample)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def copied(sample: Any) -> Any:
    """Return a copy of a sample that shares nothing with it, or the sample itself if it cannot be copied."""
    if isinstance(sample, _PLAIN):
        return sample
    try:
        return sample.copy() if is_image(sample) else copy.deepcopy(sample)
    except Exception:  # such as tensors with a gradient graph, or open files
        return sample


def without_field(sample: Any, name: Any) -> Any:
    """Return a mapping without one of its parts; other samples are returned unchanged."""
    if isinstance(sample, Mapping):
        return {own: value for own, value in sample.items() if own != name}
    return sample


def kind_of(sample: Any) -> str:
    """Return a description of a sample for messages: its type and fields.

    >>> kind_of({"ids": 1, "mask": 2}), kind_of("a text")
    ("dict with the fields 'ids', 'mask'", 'str')
    """
    names = [repr(name) for name, _ in parts_of_sample(sample)]
    own = type(sample).__name__
    return f"{own} with the fields {listed(names, limit=8)}" if names else own


def leaves(sample: Any, path: tuple[Any, ...] = (), depth: int = 0) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the innermost parts of a sample, with their paths."""
    parts = parts_of_sample(sample) if depth < _MAX_DEPTH else []
    if not parts:
        yield path, sample
    for name, part in parts:
        yield from leaves(part, (*path, name), depth + 1)


def nbytes_of(inputs: Inputs) -> int:
    """Return the memory of all inputs in bytes, estimated from their leaves."""
    if isinstance(inputs, Tensor):
        return inputs.nbytes
    return sum(_nbytes(leaf) for sample in inputs for _, leaf in leaves(sample))


def _nbytes(leaf: Any) -> int:
    if isinstance(leaf, Tensor | np.ndarray):
        return int(leaf.nbytes)
    if isinstance(leaf, str | bytes):
        return len(leaf)
    if is_image(leaf):
        return leaf.size[0] * leaf.size[1] * len(leaf.getbands())
    return 8


def sizes_of(sample: Any) -> tuple[Any, ...]:
    """Return the lengths and shapes of a sample's leaves, which decide how many rows a model makes of it."""
    return tuple((path, _size(leaf)) for path, leaf in leaves(sample))


def _size(leaf: Any) -> Any:
    if isinstance(leaf, Tensor | np.ndarray):
        return tuple(leaf.shape)
    if isinstance(leaf, str | bytes):
        return len(leaf)
    return leaf.size if is_image(leaf) else type(leaf).__name__


def sample_digest(sample: Any) -> bytes:
    """Return a 16-byte digest of the names, types, shapes and values of a sample's parts.

    It is the same in every process. The order of a mapping's entries does not matter. A part that is not an
    array, a plain value or an image, and has no parts of its own, contributes only its type.

    >>> sample_digest({"a": 1, "b": 2}) == sample_digest({"b": 2, "a": 1})
    True
    >>> sample_digest({"a": 1}) == sample_digest({"a": True})
    False
    """
    found = hashlib.blake2b(digest_size=16)
    _add(found, sample, 0)
    return found.digest()


def has_known_content(sample: Any) -> bool:
    """Return whether `sample_digest` covers all parts of a sample; of other objects, it covers only the type.

    >>> has_known_content({"a": [1, "b"]}), has_known_content(object())
    (True, False)
    """
    known = (*_PLAIN, Tensor, np.ndarray, np.generic, list, tuple, Mapping)
    return all(isinstance(leaf, known) or is_image(leaf) for _, leaf in leaves(sample))


def _add(found: Any, sample: Any, depth: int) -> None:
    found.update(type(sample).__name__.encode() + b"\0")
    if isinstance(sample, Tensor | np.ndarray):
        array = sample.detach().cpu() if isinstance(sample, Tensor) else sample
        found.update(f"{array.dtype} {tuple(array.shape)}\0".encode())
        if isinstance(array, Tensor):
            array = array.contiguous().reshape(-1).view(torch.uint8).numpy()
        if array.dtype != object:
            found.update(array.tobytes())
        for part in array.ravel() if array.dtype == object and depth < _MAX_DEPTH else ():
            _add(found, part, depth + 1)
    elif isinstance(sample, _PLAIN):
        found.update(f"{sample!r}\0".encode("utf-8", "backslashreplace"))
    elif isinstance(sample, np.generic):
        found.update(f"{sample.dtype}\0".encode() + sample.tobytes())
    elif is_image(sample):
        found.update(f"{sample.mode} {sample.size}\0".encode() + sample.tobytes())
        found.update(bytes(sample.getpalette() or ()))
    elif depth < _MAX_DEPTH:
        parts = parts_of_sample(sample)
        for name, part in sorted(parts, key=lambda entry: str(entry[0])):
            found.update(f"{name!s}\0".encode())
            _add(found, part, depth + 1)


def is_image(sample: Any) -> bool:
    """Return whether a sample is a PIL image."""
    return all(hasattr(sample, name) for name in ("mode", "getbands", "tobytes", "size"))


def is_graph(sample: Any) -> bool:
    """Return whether a sample is a PyTorch Geometric graph, or a batch of graphs."""
    methods = (getattr(sample, name, None) for name in ("to_dict", "keys", "apply"))
    return not isinstance(sample, type) and all(map(callable, methods))
