"""Saves and restores, in place, what a forward may write to besides weights."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.readers.torch.modules import is_scripted

_NUMBERS = (int, float, bool, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_ATOMS = frozenset([*_NUMBERS, type, FunctionType, BuiltinFunctionType, ModuleType])

_PLAIN = frozenset([dict, OrderedDict, list, set])


class Snapshot:
    """The attributes of all modules of a model, and their contents.

    Saved are, however deeply nested, the entries of dictionaries (including those of hooks and submodules),
    lists, sets, deques and byte arrays, the values of tensors and NumPy arrays, and the attributes of objects
    whose class comes from the package of one of the modules. Weights are not copied. Not saved is what
    only closures, globals, class attributes, objects of other packages, files, queues or iterators hold.

    Args:
        model: whose state is saved.
        rescaled: weights that a forward may rescale in place, which are copied too.

    Attributes:
        objects: modules and other objects that are not containers, including random generators.
    """

    def __init__(self, model: nn.Module, rescaled: Iterable[Tensor] = ()) -> None:
        self.objects: list[Any] = []
        self._held: dict[int, Any] = {}  # keeps the ids valid
        self._parts: list[Any] = []
        self._empty: list[Any] = []
        modules = list(model.modules())
        self._own = {_package(type(module)) for module in modules} - {"torch", "builtins"}
        self._weights = {place for weight in model.parameters() if (place := _place(weight)) is not None}
        self._walk([*modules, *model.buffers()])
        self._parts += [_Values.of(weight) for weight in rescaled]

    def restore(self) -> None:
        """Restore everything, writing only what differs."""
        for container in self._empty:
            if container:
                container.clear()
        for part in self._parts:
            part.restore()

    def _walk(self, waiting: list[Any]) -> None:
        while waiting:
            value = waiting.pop()
            if type(value) in _ATOMS:
                continue
            if type(value) in _PLAIN and not value:  # true of most tables of most modules
                self._empty.append(value)
            elif id(value) not in self._held:
                self._held[id(value)] = value
                waiting += self._remember(value)

    def _remember(self, value: Any) -> Iterable[Any]:
        """Save one value; return what it holds."""
        if isinstance(value, Tensor):
            if self._is_copied(value):
                self._parts.append(_Values.of(value))
        elif isinstance(value, np.ndarray):
            self._parts.append(_Array(value, value.copy()))
            return value.ravel().tolist() if value.dtype.hasobject else ()
        elif isinstance(value, nn.Module) and is_scripted(value):  # its attributes live in C++
            self._parts.append(_Mode(value, value.training))
        elif isinstance(value, dict):
            return [*self._note_table(value), *self._attributes(value)]
        elif isinstance(value, (list, deque, bytearray)):
            self._parts.append(_Sequence(value, list(value)))
            return [*(() if isinstance(value, bytearray) else list(value)), *self._attributes(value)]
        elif isinstance(value, set):
            self._parts.append(_Set(value, set(value)))
        elif isinstance(value, tuple):
            return list(tuple.__iter__(value))  # subclasses may have no length
        else:
            self.objects.append(value)
            return self._attributes(value)
        return ()

    def _attributes(self, value: Any) -> list[Any]:
        own = isinstance(value, (nn.Module, SimpleNamespace)) or _package(type(value)) in self._own
        table = getattr(value, "__dict__", None) if own and not isinstance(value, type) else None
        return self._note_table(table) if type(table) is dict else []

    def _note_table(self, table: dict[Any, Any]) -> list[Any]:
        entries = dict(table)
        self._parts.append(_Table(table, entries))
        return list(entries.values())

    def _is_copied(self, tensor: Tensor) -> bool:
        """Whether to copy a tensor: not weights or views of them."""
        if isinstance(tensor, nn.Parameter) or tensor.is_nested or tensor.layout is not torch.strided:
            return False
        if tensor.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # type: ignore[attr-defined]
            return False
        return _place(tensor) not in self._weights


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _place(tensor: Tensor) -> int | None:
    """Return the address of a tensor's storage; None if it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # lazy, fake, and wrappers
        return None


@dataclass(frozen=True, eq=False)
class _Table:
    """A dictionary, or the attributes of an object."""

    target: dict[Any, Any]
    entries: dict[Any, Any]

    def restore(self) -> None:
        # Another thread may be using it: entries that stay are not removed, unless their order has changed.
        table, entries = self.target, self.entries
        # The plain methods, whatever a subclass overrides.
        kind: Any = OrderedDict if isinstance(table, OrderedDict) else dict
        for key in [key for key in kind.keys(table) if key not in entries]:
            kind.__delitem__(table, key)
        for key, value in entries.items():
            if kind.get(table, key, table) is not value:
                kind.__setitem__(table, key, value)
        if list(kind.keys(table)) != list(entries):
            for key, value in entries.items():
                kind.__delitem__(table, key)
                kind.__setitem__(table, key, value)


@dataclass(frozen=True, eq=False)
class _Sequence:
    """A list, a deque or a byte array."""

    target: Any
    entries: list[Any]

    def restore(self) -> None:
        now = list(self.target)
        if len(now) == len(self.entries) and all(a is b for a, b in zip(now, self.entries, strict=True)):
            return
        if isinstance(self.target, deque):
            self.target.clear()
            self.target.extend(self.entries)
        else:
            kind: Any = list if isinstance(self.target, list) else bytearray
            kind.__setitem__(self.target, slice(None), self.entries)


@dataclass(frozen=True, eq=False)
class _Set:
    target: set[Any]
    entries: set[Any]

    def restore(self) -> None:
        if set(self.target) != self.entries:
            set.intersection_update(self.target, self.entries)
            set.update(self.target, self.entries)


@dataclass(frozen=True, eq=False)
class _Array:
    target: np.ndarray
    values: np.ndarray

    def restore(self) -> None:
        if self.target.shape != self.values.shape:
            self.target.resize(self.values.shape, refcheck=False)
        if self.target.tobytes() != self.values.tobytes():
            self.target[...] = self.values


@dataclass(frozen=True, eq=False)
class _Mode:
    module: nn.Module
    training: bool

    def restore(self) -> None:
        self.module.training = self.training


@dataclass(frozen=True, eq=False)
class _Values:
    """The values of a tensor, and whether it requires gradients."""

    tensor: Tensor
    values: Tensor
    requires_grad: bool

    @classmethod
    def of(cls, tensor: Tensor) -> _Values:
        return cls(tensor, tensor.detach().clone(), tensor.requires_grad)

    def restore(self) -> None:
        # Written only if it changed: a write would invalidate a graph that the user recorded.
        tensor, values = self.tensor, self.values
        with torch.inference_mode(tensor.is_inference()), torch.no_grad():
            if tensor.shape != values.shape or tensor.dtype != values.dtype:  # resized, or given other data
                tensor.data = values
            elif not _same_bits(tensor.detach(), values):
                tensor.copy_(values)
        if tensor.is_leaf and tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
