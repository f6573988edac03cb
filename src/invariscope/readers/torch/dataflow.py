"""Track, during a forward pass, which layers each tensor is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from invariscope.readers.base import LayerKey
from invariscope.readers.torch.functions import unobserved
from invariscope.readers.torch.outputs import Path

EventKey: TypeAlias = tuple[str, str, int, Path]
Origins: TypeAlias = frozenset[EventKey]

INPUT: EventKey = ("input", "", 0, ())
UNKNOWN: EventKey = ("unknown", "", 0, ())
NONE: Origins = frozenset()
# Values that leave torch may return in tensors that no torch operation created.
_LEAVING = frozenset({"numpy", "__array__", "tolist", "__dlpack__"})


class _Written(NamedTuple):
    """Last write to a storage: its step, the part written, and the origins of the values."""

    step: int
    part: tuple[int, int]
    origins: Origins


class Flow(TorchFunctionMode):
    """Torch function mode that records the layers from which each tensor is computed.

    The results of an operation have the origins of all its arguments. A write to a tensor also applies to
    views of its memory. A tensor that no operation created is a constant if the first forward pass used the
    same object. Otherwise its origin is unknown, as for results of C++ extensions and of other threads.

    Args:
        earlier: the flow of an earlier forward pass, which identifies the constants; None in the first pass.

    Attributes:
        parents: origins of the output of every module and operation, in execution order.
        lost: whether values have left torch, or tensors of an unsupported kind (fake tensors, say) occurred.
    """

    def __init__(self, earlier: Flow | None = None) -> None:
        super().__init__()
        self.parents: dict[EventKey, Origins] = {}
        self.lost = False
        self._earlier = earlier
        self._origins: Any = WeakIdKeyDictionary()
        self._written: dict[int, _Written] = {}
        self._strange: dict[int, Tensor] = {}
        self._constant: set[EventKey] = set()
        self._steps = count()

    def begin(self, tensors: Iterable[Tensor]) -> None:
        """Record the model's inputs."""
        for tensor in tensors:
            self._set(tensor, frozenset([INPUT]))

    def note(self, key: EventKey, tensor: Tensor, given: Any = ()) -> None:
        """Record a layer's output, so that the layer becomes its origin.

        Args:
            key: identifies the layer's output.
            tensor: the output.
            given: arguments of the module, whose origins are used if those of the output are unknown.
        """
        try:
            with unobserved():
                self._note(key, tensor, given)
        except RuntimeError:
            self.lost = True

    def _note(self, key: EventKey, tensor: Tensor, given: Any) -> None:
        origins = self.of(tensor)
        if UNKNOWN in origins:
            origins = self._union(_tensors(given)) or origins
        self.parents[key] = origins
        if origins <= self._constant:
            self._constant.add(key)
        here, own = _storage(tensor), frozenset([key])
        written = self._written.get(here)
        self._set(tensor, own)
        if written is not None and (written.part, written.origins) == (_part(tensor), origins):
            self._written[here] = _Written(next(self._steps), written.part, own)

    def of(self, tensor: Tensor) -> Origins:
        """Return the origins of a tensor."""
        found = self._origins.get(tensor)
        if found is None:
            self._strange[id(tensor)] = tensor
            return NONE if self._earlier is None or self._earlier.held(tensor) else frozenset([UNKNOWN])
        step, origins = found
        written = self._written.get(_storage(tensor)) if self._written else None
        if written is None or written.step < step:
            return origins
        return written.origins if written.part == _part(tensor) else origins | written.origins

    def held(self, tensor: Tensor) -> bool:
        """Return whether the tensor was a constant in this forward pass."""
        found = self._origins.get(tensor)
        return id(tensor) in self._strange if found is None else found[1] <= self._constant

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and record the origins of its results and of the tensors that it changed."""
        options = kwargs or {}
        inputs = list(_tensors((args, options)))
        before = [_version(tensor) for tensor in inputs]
        result = func(*args, **options)
        try:
            self._follow(getattr(func, "__name__", ""), inputs, before, result)
        except RuntimeError:
            self.lost = True
        return result

    def _follow(self, name: str, inputs: list[Tensor], before: list[int], result: Any) -> None:
        origins = self._union(inputs)
        if name in _LEAVING and origins:
            self.lost = True
        for tensor in _tensors(result):
            self._set(tensor, origins)
        for tensor, version in zip(inputs, before, strict=True):
            if _version(tensor) != version:
                self._set(tensor, origins)
                self._written[_storage(tensor)] = _Written(next(self._steps), _part(tensor), origins)

    def _union(self, tensors: Iterable[Tensor]) -> Origins:
        return NONE.union(*map(self.of, tensors))

    def _set(self, tensor: Tensor, origins: Origins) -> None:
        self._origins[tensor] = next(self._steps), origins


def sources(flow: Flow, layers: Mapping[EventKey, LayerKey]) -> dict[LayerKey, tuple[LayerKey | None, ...]]:
    """Return the source layers of each layer, connected directly or through operations that are not layers.

    Args:
        flow: the record of a forward pass.
        layers: the layers among the recorded outputs.
    Returns:
        The sources of each layer in execution order, with None for the model's input. Empty if any origin is
        unknown.
    """
    found: dict[EventKey, Origins] = {INPUT: frozenset([INPUT]), UNKNOWN: frozenset([UNKNOWN])}
    for key, parents in flow.parents.items():
        direct = (frozenset([p]) if p in layers else found.get(p, frozenset([UNKNOWN])) for p in parents)
        found[key] = NONE.union(*direct)
    if flow.lost or any(UNKNOWN in found.get(key, {UNKNOWN}) for key in layers):
        return {}
    place = {key: number for number, key in enumerate((INPUT, *layers))}
    ordered = {key: sorted(found[key], key=place.__getitem__) for key in layers}
    return {layer: tuple(layers.get(source) for source in ordered[key]) for key, layer in layers.items()}


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if _has_memory(tensor) else id(tensor)


def _part(tensor: Tensor) -> tuple[int, int]:
    """Return offset and length of the memory that a tensor covers if it is contiguous."""
    return (int(tensor.storage_offset()), tensor.numel()) if _has_memory(tensor) else (0, 0)


def _has_memory(tensor: Tensor) -> bool:
    """Return whether a tensor has a storage of its own: not sparse, nested, or inside `vmap`."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # type: ignore[attr-defined]
    return tensor.layout is torch.strided and not tensor.is_nested and not wrapped
