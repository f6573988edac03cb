"""Save everything except weights that a forward pass may write to, and restore it in place."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import partial
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
    """The saved attributes of all modules of a model, and their contents.

    Contents are saved at any depth: the entries of dictionaries (including those of hooks and submodules),
    lists, sets, deques and byte arrays; the values of tensors and NumPy arrays; and the attributes of objects
    whose class comes from the package of one of the modules. Weights are not copied. State that is held only
    by closures, globals, class attributes, objects of other packages, files, queues or iterators is not
    saved.

    Args:
        model: the model to save.
        rescaled: weights that a forward pass may rescale in place, which are copied too.

    Attributes:
        objects: modules and other objects that are not containers, including random generators.
    """

    def __init__(self, model: nn.Module, rescaled: Iterable[Tensor] = ()) -> None:
        self.objects: list[Any] = []
        self._held: dict[int, Any] = {}  # keeps the ids valid
        self._restorers: list[partial[Any]] = []
        self._empty: list[Any] = []
        modules = list(model.modules())
        self._own = {_package(type(module)) for module in modules} - {"torch", "builtins"}
        self._weights = {place for weight in model.parameters() if (place := _place(weight)) is not None}
        self._walk([*modules, *model.buffers()])
        for weight in rescaled:
            self._note_tensor(weight)

    def restore(self) -> None:
        """Restore everything, writing only what differs."""
        for container in self._empty:
            if container:
                container.clear()
        for restore in self._restorers:
            restore()

    def _walk(self, waiting: list[Any]) -> None:
        while waiting:
            value = waiting.pop()
            if type(value) in _ATOMS:
                continue
            if type(value) in _PLAIN and not value:  # as most tables of most modules are
                self._empty.append(value)
            elif id(value) not in self._held:
                self._held[id(value)] = value
                waiting += self._remember(value)

    def _remember(self, value: Any) -> Iterable[Any]:
        """Save one value, and return the values that it holds."""
        if isinstance(value, Tensor):
            if self._is_copied(value):
                self._note_tensor(value)
        elif isinstance(value, np.ndarray):
            self._note(_restore_array, value, value.copy())
            return value.ravel().tolist() if value.dtype.hasobject else ()
        elif isinstance(value, nn.Module) and is_scripted(value):  # its attributes live in C++
            self._note(setattr, value, "training", value.training)
        elif isinstance(value, dict):
            return [*self._note_table(value), *self._attributes(value)]
        elif isinstance(value, (list, deque, bytearray)):
            self._note(_restore_sequence, value, list(value))
            return [*(() if isinstance(value, bytearray) else list(value)), *self._attributes(value)]
        elif isinstance(value, set):
            self._note(_restore_set, value, set(value))
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

    def _note(self, restore: Callable[..., Any], *saved: Any) -> None:
        self._restorers.append(partial(restore, *saved))

    def _note_tensor(self, tensor: Tensor) -> None:
        self._note(_restore_tensor, tensor, tensor.detach().clone(), tensor.requires_grad)

    def _note_table(self, table: dict[Any, Any]) -> list[Any]:
        entries = dict(table)
        self._note(_restore_table, table, entries)
        return list(entries.values())

    def _is_copied(self, tensor: Tensor) -> bool:
        """Return whether to copy a tensor: weights and views of weights are not copied."""
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
    except (RuntimeError, NotImplementedError):  # lazy, fake and wrapper tensors
        return None


def _restore_table(table: dict[Any, Any], entries: dict[Any, Any]) -> None:
    """Restore a dictionary, or the attributes of an object."""
    # Another thread may be using the table, so unchanged entries stay in it unless their order has changed.
    # A subclass may override the methods, so those of the plain class are called.
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


def _restore_sequence(sequence: Any, entries: list[Any]) -> None:
    """Restore a list, a deque or a byte array."""
    now = list(sequence)
    if len(now) == len(entries) and all(a is b for a, b in zip(now, entries, strict=True)):
        return
    if isinstance(sequence, deque):
        sequence.clear()
        sequence.extend(entries)
    else:
        kind: Any = list if isinstance(sequence, list) else bytearray
        kind.__setitem__(sequence, slice(None), entries)


def _restore_set(members: set[Any], entries: set[Any]) -> None:
    if set(members) != entries:
        set.intersection_update(members, entries)
        set.update(members, entries)


def _restore_array(array: np.ndarray, values: np.ndarray) -> None:
    if array.shape != values.shape:
        array.resize(values.shape, refcheck=False)
    if array.tobytes() != values.tobytes():
        array[...] = values


def _restore_tensor(tensor: Tensor, values: Tensor, requires_grad: bool) -> None:
    # Write only if it changed, since a write would invalidate a graph that the user recorded.
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        if tensor.shape != values.shape or tensor.dtype != values.dtype:  # resized, or given other data
            tensor.data = values
        elif not _same_bits(tensor.detach(), values):
            tensor.copy_(values)
    if tensor.is_leaf and tensor.requires_grad != requires_grad:
        tensor.requires_grad_(requires_grad)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
