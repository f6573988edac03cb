"""Digests that identify models, functions and transforms, the same in every process."""

from __future__ import annotations

import copyreg
import hashlib
import logging
import re
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Set
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.readers.base import Identity
from invariscope.readers.code import (
    belongs_to_library,
    class_parts,
    code_parts,
    function_parts,
    global_parts,
    is_library_module,
)
from invariscope.readers.tensor_bytes import bytes_of, dense_parts
from invariscope.readers.torch.copies import uncompiled
from invariscope.readers.torch.modules import is_scripted, module_kind

_ATOMS = frozenset(
    [str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented), range]
)
_TORCH = (torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout)
_OPERATIONS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
# Objects of these types do not affect results.
_IDLE = (type(threading.Lock()), type(threading.RLock()), threading.local, weakref.ref, logging.Logger)
_CONTEXT = type(contextmanager(iter)(()))
_DEEPEST = 80
# Parts are kept for messages only: not those of code, nor the entries of longer containers.
_LONGEST, _MOST_PARTS = 64, 20_000
_INTERNAL = frozenset([*vars(nn.Module()), "_compiled_call_impl"])


def identify(value: Any, name: str, *, by_name: Collection[str] = ()) -> Identity:
    """Return the identity of a model or function, or of any object that holds models, functions or values.

    For modules, the digest covers classes, configuration, weights, buffers, hooks and the code of `forward`
    methods. For functions, it covers code, defaults, closures, bound arguments and the globals that they
    name; for other objects, what pickle would save. Code of Python, torch, NumPy and JAX is identified by
    name; code of other installed packages by its content, without the globals that it names. Not covered:
    train or eval mode, gradients, requires_grad, memory formats.

    Args:
        value: the object to identify.
        name: its name in `unseen` and `parts`.
        by_name: further packages whose code is identified by name.
    """
    found = _Digests(frozenset(by_name))
    digest = weights = _sha(found.of(value, name), *sorted(found.of_reached())).hex()
    if isinstance(value, nn.Module):
        named = [
            *value.named_parameters(remove_duplicate=False),
            *value.named_buffers(remove_duplicate=False),
        ]
        weights = _sha(*(part for n, tensor in named for part in (n, found.of(tensor, n)))).hex()
    return Identity(digest, weights, tuple(dict.fromkeys(found.unseen)), found.parts)


class _Digests:
    """Digests by content; a reference to an enclosing object is digested as the number of levels up to it."""

    def __init__(self, by_name: Set[str] = frozenset()) -> None:
        self.by_name = by_name
        self.known: dict[int, tuple[Any, bytes]] = {}  # with the objects, to keep their ids valid
        self.around: dict[int, int] = {}
        self.reached: dict[int, tuple[str, Any]] = {}
        self.unseen: list[str] = []
        self.parts: dict[str, str] = {}
        self.within_code = 0

    def of_reached(self) -> list[bytes]:
        """Digest functions and classes that others name as globals, without recursion."""
        found = []
        while self.reached:
            where, value = self.reached.popitem()[1]
            found.append(self.of(value, where))
        return found

    def of(self, value: Any, where: str) -> bytes:
        """Return the SHA-256 of a value; `where` is its place, for `unseen`."""
        if type(value) in _ATOMS:
            self._keep_part(where, repr(value))
            return _sha(type(value).__name__, repr(value))
        if id(value) in self.known:
            return self.known[id(value)][1]
        if id(value) in self.around:
            return _sha("around", str(len(self.around) - self.around[id(value)]))
        if len(self.around) >= _DEEPEST:
            return self._not_seen(value, f"{where[:60]}...")
        self.around[id(value)] = len(self.around)
        self.within_code += (silent := _holds_much(value))
        try:
            digest = self._compound(value, where)
        finally:
            del self.around[id(value)]
            self.within_code -= silent
        self.known[id(value)] = value, digest
        self._keep_part(where, f"{_kind(value)} #{digest.hex()[:8]}")
        return digest

    def _keep_part(self, where: str, text: str) -> None:
        """Keep what is at a place; a whole replaces those of its parts that have no place of their own."""
        if not self.within_code and (where in self.parts or len(self.parts) < _MOST_PARTS):
            self.parts[where] = text if len(text) <= _LONGEST else f"{text[:40]}... #{_sha(text).hex()[:8]}"

    def _by_name(self, value: Any) -> bool:
        """Return whether a function or class is identified by its name."""
        home = str(getattr(value, "__module__", None) or "").partition(".")[0]
        return belongs_to_library(value) or home in self.by_name

    def _compound(self, value: Any, where: str) -> bytes:
        for kinds, digest in _KINDS:
            if isinstance(value, kinds):
                return digest(self, value, where)
        if hasattr(value, "__array__") and hasattr(value, "dtype") and not isinstance(value, type):
            try:
                return self._array(np.asarray(value), where)
            except Exception:  # an array of another kind, such as JAX's random keys
                return self._object(value, where)
        if callable(getattr(value, "__wrapped__", None)):  # a jitted or cached function
            return _sha("wrapped", type(value).__qualname__, self.of(value.__wrapped__, where))
        return self._object(value, where)

    def _all(self, kind: str, values: Iterable[Any], where: str) -> bytes:
        return _sha(kind, *(self.of(v, f"{where}[{k}]") for k, v in enumerate(values)))

    def _named(self, kind: str, parts: Iterable[tuple[str, Any]], where: str) -> bytes:
        """Digest named parts in the given order; a method that is overridden has its name twice."""
        digests: list[Any] = []
        places: set[str] = set()
        for name, value in parts:
            place = f"{where}.{name}" + " (inherited)" * (name in places)
            places.add(name)
            digests += [name, self.of(value, place)]
        return _sha(kind, *digests)

    def _not_seen(self, value: Any, where: str) -> bytes:
        self.unseen.append(f"{where} ({type(value).__qualname__})")
        return _sha("unseen", type(value).__qualname__)

    # --- kinds of values ------------------------------------------------------------------------------------

    def _constant(self, value: Any, where: str) -> bytes:
        return _sha(type(value).__name__, repr(value))

    def _idle(self, value: Any, where: str) -> bytes:
        return _sha("idle", type(value).__qualname__)

    def _sequence(self, value: Any, where: str) -> bytes:
        entries = [*tuple.__iter__(value)] if isinstance(value, tuple) else list(value)  # some lack len()
        return _sha(self._all(type(value).__qualname__, entries, where), self._own(value, where))

    def _mapping(self, value: Any, where: str) -> bytes:
        pairs = [
            _sha(self.of(key, where), self.of(entry, f"{where}[{key!r:.40}]"))
            for key, entry in list(value.items())
        ]
        return _sha(type(value).__qualname__, *sorted(pairs), self._own(value, where))

    def _own(self, value: Any, where: str) -> bytes:
        """Digest the attributes of subclasses of containers."""
        table = getattr(value, "__dict__", None)
        return self._named("attributes", sorted(table.items()), where) if table else b""

    def _tensor(self, value: Tensor, where: str) -> bytes:
        meta = _sha(type(value).__name__, str(tuple(value.shape)), str(value.dtype))
        try:
            return _sha(meta, *(bytes_of(part) for part in dense_parts(value)))
        except Exception:  # a tensor subclass, or a layout without plain memory
            return _sha(meta, self._not_seen(value, where))

    def _array(self, value: Any, where: str) -> bytes:
        array = np.asarray(value)
        if array.dtype.hasobject:
            return _sha("objects", str(array.shape), self._all("array", array.ravel().tolist(), where))
        return _sha("array", str(array.shape), str(array.dtype), np.ascontiguousarray(array).tobytes())

    # --- code -----------------------------------------------------------------------------------------------

    def _function(self, value: FunctionType, where: str) -> bytes:
        if self._by_name(value):
            return _sha("function", value.__module__, value.__qualname__)
        named = [(name, self._reference(name, part)) for name, part in global_parts(value)]
        return self._named("function", [*function_parts(value), *named], where)

    def _code(self, value: CodeType, where: str) -> bytes:
        if value not in _CODES:
            _CODES[value] = self._named("code", code_parts(value), where)
        return _CODES[value]

    def _module(self, value: ModuleType, where: str) -> bytes:
        """Digest a module that something holds: of your own ones, all names without a leading "_"."""
        if is_library_module(value):
            return _sha("module", value.__name__)
        own = sorted((name, held) for name, held in vars(value).items() if not name.startswith("_"))
        return self._named("module", [(name, self._reference(name, held)) for name, held in own], where)

    def _reference(self, name: str, value: Any) -> Any:
        """Return what stands for a global where it is named; functions and classes are digested apart."""
        if isinstance(value, (FunctionType, type)):
            if id(value) not in self.known:
                self.reached[id(value)] = name, value
            return value.__qualname__
        return value.__name__ if isinstance(value, ModuleType) else value

    def _builtin(self, value: Any, where: str) -> bytes:
        owner = getattr(value, "__self__", None)
        bound = None if owner is None or isinstance(owner, ModuleType) else owner
        return _sha("builtin", str(value.__module__), value.__qualname__, self.of(bound, where))

    def _ufunc(self, value: np.ufunc, where: str) -> bytes:
        if not any(vars(module).get(value.__name__) is value for module in list(sys.modules.values())):
            return self._not_seen(value, where)  # made from a Python function
        return _sha("ufunc", value.__name__, *value.types)

    def _class(self, value: type, where: str) -> bytes:
        if value.__module__.partition(".")[0] in self.by_name:
            return _sha("class", value.__module__, value.__qualname__)
        return self._named("class", [("name", value.__qualname__), *class_parts(value)], where)

    # --- objects and modules --------------------------------------------------------------------------------

    def _object(self, value: Any, where: str) -> bytes:
        kind: Any = type(value)
        if kind.__module__.startswith("torch.distributed"):  # these only distribute work
            return self._idle(value, where)
        if is_dataclass(value) and (own := _own_fields(kind)) is not None:
            return self._named(
                "dataclass", [("class", kind), *((name, getattr(value, name)) for name in own)], where
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                saved = kind.__reduce_ex__(value, 4)
                saved = saved if isinstance(saved, str) else [_listed(part) for part in saved]
        except Exception:
            return self._not_seen(value, where)
        if isinstance(saved, str):
            return _sha("global", str(kind.__module__), saved)
        return _sha("object", self.of(kind, where), self._saved(saved, where))

    def _saved(self, saved: list[Any], where: str) -> bytes:
        """Digest what pickle would save: the rebuilding function, its arguments, state and entries."""
        maker, args, *rest = saved
        made = _sha("maker", maker.__qualname__) if maker in _MAKERS else self.of(maker, where)
        state = rest[0] if rest else None
        if isinstance(state, dict):
            held = self._named("state", sorted(state.items(), key=lambda pair: str(pair[0])), where)
        else:
            held = self.of(state, where)
        return _sha(made, self._all("args", args, where), held, *(self.of(part, where) for part in rest[1:]))

    def _nn_module(self, given: nn.Module, where: str) -> bytes:
        module = uncompiled(given)
        own = self._scripted(module, where) if is_scripted(module) else self._configured(module, where)
        tensors = [
            part
            for kind, table in (("parameter", module._parameters), ("buffer", module._buffers))
            for name, tensor in list(table.items())
            for part in (kind, name, self.of(tensor, f"{where}.{name}"))
        ]
        children = self._named("children", list(module._modules.items()), where)
        return _sha("nn.Module", module_kind(module), own, *tensors, children)

    def _configured(self, module: nn.Module, where: str) -> bytes:
        graph = isinstance(module, torch.fx.GraphModule)
        attributes = {} if graph else _state(module)
        named = sorted((name, value) for name, value in attributes.items() if name not in _INTERNAL)
        hooks = [
            self._named(kind, [(str(key in kept), hook) for key, hook in list(table.items())], where)
            for kind, table, kept in (
                ("hook", module._forward_hooks, module._forward_hooks_with_kwargs),
                ("pre-hook", module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs),
            )
        ]
        code = str(module.code) if graph else self.of(type(module), where)
        return _sha(code, self._named("attributes", named, where), *hooks)

    def _scripted(self, module: Any, where: str) -> bytes:
        try:
            code, constants = module.code_with_constants
        except (RuntimeError, AttributeError):  # no `forward` method
            return b""
        named = [(n, module._c.getattr(n)) for n in sorted(set(_WORD.findall(code))) if module._c.hasattr(n)]
        plain = [(name, value) for name, value in named if not isinstance(value, torch._C.ScriptObject)]
        own = [*plain, ("constants", constants.const_mapping)]
        return _sha("scripted", _MANGLED.sub("", code), self._named("attributes", own, where))


def _holds_much(value: Any) -> bool:
    """Return whether parts of a value are no help in messages."""
    if isinstance(value, CodeType):
        return True
    try:
        return isinstance(value, (dict, list, tuple, set, frozenset, deque)) and len(value) > _LONGEST
    except Exception:  # some containers have no length
        return True


def _kind(value: Any) -> str:
    """Return what to call a value in messages."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def _own_fields(kind: type) -> list[str] | None:
    """Return the fields that define a dataclass of this package, or one derived from it; else None.

    Its other attributes are caches, and so are fields with "_" that nobody passes.
    """
    if not any(is_dataclass(base) and base.__module__.startswith("invariscope.") for base in kind.__mro__):
        return None
    return [
        one.name
        for one in fields(kind)
        if not one.name.startswith("_") or (one.init and one.default_factory is MISSING)
    ]


def _state(module: nn.Module) -> dict[str, Any]:
    """Return the attributes, from the module's own `__getstate__` if it has one."""
    own = getattr(type(module), "__getstate__", None)
    if own is None or own is getattr(object, "__getstate__", None):
        return dict(vars(module))
    try:
        state = module.__getstate__()  # type: ignore[operator]
    except Exception:
        state = None
    return state if isinstance(state, dict) else dict(vars(module))


def _listed(part: Any) -> Any:
    """Return an iterator as a list, and anything else unchanged."""
    return list(part) if hasattr(part, "__next__") and not isinstance(part, type) else part


def _sha(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


_CODES: weakref.WeakKeyDictionary[CodeType, bytes] = weakref.WeakKeyDictionary()  # code never changes
_WORD, _MANGLED = re.compile(r"\w+"), re.compile(r"\.?___torch_mangle_\d+")
_MAKERS = (copyreg.__newobj__, copyreg.__newobj_ex__, copyreg._reconstructor)  # type: ignore[attr-defined]
_KINDS: tuple[tuple[Any, Callable[[_Digests, Any, str], bytes]], ...] = (
    (nn.Module, _Digests._nn_module),
    (Tensor, _Digests._tensor),
    ((np.ndarray, np.generic), _Digests._array),
    ((*_TORCH, *_OPERATIONS, np.dtype), _Digests._constant),
    (Enum, lambda own, v, at: _sha("enum", type(v).__qualname__, v.name)),
    ((str, bytes, int, float, complex), _Digests._constant),
    (dict, _Digests._mapping),
    ((list, tuple, deque, bytearray), _Digests._sequence),
    (
        (set, frozenset),
        lambda own, v, at: _sha(type(v).__qualname__, *sorted(own.of(e, at) for e in v)),
    ),
    (slice, lambda own, v, at: own._all("slice", (v.start, v.stop, v.step), at)),
    (FunctionType, _Digests._function),
    (MethodType, lambda own, v, at: _sha("method", own.of(v.__func__, at), own.of(v.__self__, at))),
    (BuiltinFunctionType, _Digests._builtin),
    (np.ufunc, _Digests._ufunc),
    (partial, lambda own, v, at: own._all("partial", (v.func, v.args, v.keywords), at)),
    # For a contextlib context manager, digest how it is created, not its generator.
    (_CONTEXT, lambda own, v, at: own._all("context", (v.func, v.args, v.kwds), at)),
    (CodeType, _Digests._code),
    (type, _Digests._class),
    ((staticmethod, classmethod), lambda own, v, at: own._all(type(v).__name__, (v.__func__,), at)),
    (property, lambda own, v, at: own._all("property", (v.fget, v.fset), at)),
    (ModuleType, _Digests._module),
    (
        torch.Generator,
        lambda own, v, at: _sha("generator", str(v.device), own._tensor(v.get_state(), at)),
    ),
    (_IDLE, _Digests._idle),
)
