"""Read JAX models: Flax NNX modules, and functions that return their intermediate values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from invariscope.readers.base import Identity
from invariscope.readers.emissions import Emitter, RefusedModel
from invariscope.readers.fingerprint import identify
from invariscope.readers.foreign import (
    arrays_in,
    as_numpy,
    as_tensors,
    in_package,
    is_tracer,
    needed,
    own_code,
)
from invariscope.readers.recorded import Opened, RecordedReader

_JAX = ("jax", "jaxlib", "flax")
_TORCH_ONLY = {"torch", "numpy", "cpu", "detach"}  # `x.numpy()`: the function expects a torch tensor
_CONTAINERS = ("Sequential", "List", "Dict")
_OUTPUT = "output"
_IMAGES = 4  # axes of a batch of images


@dataclass(frozen=True, eq=False)
class _Site:
    name: str
    default: bool


@dataclass(frozen=True, eq=False)
class JaxReader(RecordedReader):
    """Reader of Flax NNX modules, and of JAX functions that return named intermediate values.

    **Flax NNX**: layers are the output of every module's `__call__`, under its path (`blocks.0.conv`), and
    every value that the model sows as an `nnx.Intermediate`, under its path and name (`relu`), in the order
    of the calls. A copy runs in evaluation mode (`model.eval()`). Values inside `nnx.jit`, `scan` or `remat`
    exist only for the compiler, and are not read. Read by default: sown values, the modules that Flax
    provides, and your own modules if they have no submodules. If the model has convolutions, the data must
    have channels last, as the model takes them. Transforms still see images as (n, C, H, W), and maps are
    read as (C, H, W).

    **Functions** return `{name: array}` or `(output, {name: array})`; names of nested entries are joined with
    dots. Layers keep the order in which the function fills its dictionary, even under `jax.jit`, which sorts
    it. A function counts as a JAX function if it is jitted, or if its code names `jax` or `flax` and uses
    nothing from torch; any other function takes torch tensors.

    Args:
        model: an `nnx.Module`, or a function of one array.
        layers, batch_axis, output: as for `TorchReader`.
        gradients: must be False.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if _is_a(self.model, "flax.linen", "Module"):
            raise TypeError(
                "a Flax Linen module holds no weights: pass a function of the inputs alone, such as "
                "jax.jit(lambda x: model.apply(variables, x, capture_intermediates=True))"
            )

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Return whether the model is a Flax module, a jitted function, or a function that names JAX."""
        model = _inner(model)
        ours = any(in_package(c, *_JAX) for c in type(model).__mro__)
        return callable(model) and not isinstance(model, type) and (ours or _names_jax(model, set()))

    @property
    def framework(self) -> str:
        """Name of the framework."""
        return "JAX"

    @property
    def placing(self) -> str:
        """How the user can choose the device."""
        return (
            "set the default device before the call, jax.config.update('jax_default_device', "
            "jax.devices('gpu')[0]); JAX uses an available GPU by default"
        )

    @property
    def name(self) -> str:
        """Class name of the module, or name of the function."""
        function = _inner(self.model)
        name = str(getattr(function, "__name__", "") or type(function).__name__)
        return f"{name}()" if self._modular and any(path == name for path, _ in self._paths()) else name

    @property
    def channels_last(self) -> bool:
        """Whether images come as (n, H, W, C), the only layout that Flax's convolutions take."""
        return self._last

    @cached_property
    def _last(self) -> bool:
        if not self._modular:
            return False
        modules = (module for _, module in self._paths())
        return any(_is_a(m, "flax.nnx", "Conv") and len(m.kernel_size) > 1 for m in modules)

    def identity(self) -> Identity:
        """Digest the code and the weights: see `identify`."""
        if not self._modular:
            return identify(self.model, self.name)
        nnx = _nnx()
        graph, state = nnx.split(self.model)
        weights = [
            ("/".join(map(str, path)), as_tensors(leaf[...])) for path, leaf in nnx.to_flat_state(state)
        ]
        modules = [(path, own_code(module, *_JAX)) for path, module in self._paths()]
        whole = identify((modules, str(graph), weights), self.name)
        return Identity(whole.digest, identify(weights, self.name).digest, whole.unseen, whole.parts)

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Copy a module in evaluation mode, to be patched during forward passes; run a function as it is."""
        if self._modular:
            copy, sites = self._copied()
            yield Opened(partial(_run_module, copy, sites), _defaults(sites.values()))
        else:
            yield Opened(_Function(self.model, self.name))

    @property
    def _modular(self) -> bool:
        return _is_a(self.model, "flax.nnx", "Module")

    def _paths(self) -> list[tuple[str, Any]]:
        return list(_modules(self.model))

    def _copied(self) -> tuple[Any, dict[int, _Site]]:
        nnx = _nnx()
        copy = nnx.clone(self.model)
        copy.eval()
        return copy, {id(module): _site(path, module) for path, module in _modules(copy) if path}


def _nnx() -> Any:
    return needed("flax.nnx", "jax")


# --- Flax modules -------------------------------------------------------------------------------------------


def _modules(model: Any) -> Iterator[tuple[str, Any]]:
    """Return every module with its path, enclosing ones first; the path of the model itself is ""."""
    found = [(".".join(map(str, path)), module) for path, module in _nnx().iter_modules(model)]
    return iter(sorted(found, key=lambda pair: pair[0].count(".") + bool(pair[0])))


def _site(path: str, module: Any) -> _Site:
    own = in_package(type(module), "flax") and type(module).__name__ not in _CONTAINERS
    inside = any(True for below, _ in _modules(module) if below)
    return _Site(path, callable(module) and (own or not inside))


def _defaults(sites: Iterable[_Site]) -> dict[str, bool]:
    """Return {name: whether it is read by default}; modules nested in one that is read by default are not."""
    defaults = {site.name: site.default for site in sites}
    whole = [f"{name}." for name, default in defaults.items() if default]
    return {name: default and not name.startswith(tuple(whole)) for name, default in defaults.items()}


def _run_module(model: Any, sites: Mapping[int, _Site], x: Tensor, emit: Emitter) -> Any:
    around: list[_Site] = []  # calls that have not returned yet

    def called(module: Any, call: Callable[[], Any]) -> Any:
        site = sites.get(id(module))
        if site is None or (around and around[-1] is site):  # the same call, forwarded to a base class
            return call()
        around.append(site)
        try:
            value = call()
        finally:
            around.pop()
        inside = any(outer.default for outer in around)
        emit(site.name, type(module).__name__, value, default=site.default and not inside, **_layout(value))
        return value

    def sown(module: Any, name: str, value: Any) -> None:
        site = sites.get(id(module))
        where = f"{site.name}.{name}" if site else name
        emit(where, "sown", value, **_layout(value))

    with ExitStack() as stack:
        for cls in dict.fromkeys(type(module) for _, module in _modules(model)):
            stack.enter_context(_calls_of(cls, called))
        stack.enter_context(_sown(sown))
        returned = model(_array(x))
    return as_tensors(_values(returned))


def _layout(value: Any) -> dict[str, bool]:
    return {"channels_last": any(getattr(array, "ndim", 0) >= _IMAGES for _, array in arrays_in(value))}


@contextmanager
def _calls_of(cls: type, called: Callable[[Any, Callable[[], Any]], Any]) -> Iterator[None]:
    """Route calls of a class's instances through `called` inside the context."""
    if not any("__call__" in vars(base) for base in cls.__mro__):
        yield
        return
    original = cls.__call__  # type: ignore[operator]

    @wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return called(self, lambda: original(self, *args, **kwargs))

    with _replaced(cls, "__call__", call):
        yield


@contextmanager
def _sown(sown: Callable[[Any, str, Any], None]) -> Iterator[None]:
    """Pass sown intermediate values to `sown` inside the context, instead of storing them in the model."""
    nnx = _nnx()
    original = nnx.Module.sow

    @wraps(original)
    def sow(self: Any, variable_type: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not (isinstance(variable_type, type) and issubclass(variable_type, nnx.Intermediate)):
            return original(self, variable_type, name, value, *args, **kwargs)
        sown(self, name, value)
        return True

    with _replaced(nnx.Module, "sow", sow):
        yield


@contextmanager
def _replaced(cls: type, name: str, value: Any) -> Iterator[None]:
    own = vars(cls).get(name)
    setattr(cls, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(cls, name)
        else:
            setattr(cls, name, own)


# --- functions ----------------------------------------------------------------------------------------------


class _Function:
    """A function that returns its intermediate values; they are emitted in the order of its dictionary."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name
        self.order: tuple[str, ...] | None = None

    def __call__(self, x: Tensor, emit: Emitter) -> Any:
        array = _array(x)
        output, layers = self._taken_apart(self.function(array))
        if self.order is None:
            self.order = self._written_order(array)
        rank = {name: place for place, name in enumerate(self.order)}
        for name in sorted(layers, key=lambda name: rank.get(name, len(rank))):
            if is_tracer(layers[name]):
                raise RefusedModel(
                    f"layer {name!r} is a JAX tracer, not a value: it leaked from a function transformed by "
                    "jit, scan, grad or vmap. Return it from that function instead of storing it"
                )
            emit(name, "array", layers[name])
        if output is None:
            names = [_OUTPUT, *self.order, *layers]
            return as_tensors(layers[next(n for n in names[:1] + names[:0:-1] if n in layers)])
        if _OUTPUT not in layers:
            emit(_OUTPUT, "array", output)
        return as_tensors(_values(output))

    def _taken_apart(self, returned: Any) -> tuple[Any, dict[str, Any]]:
        """Return (output, layers); the output is None if it is one of the layers."""
        if isinstance(returned, Mapping):
            output, named = None, returned
        elif isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping):
            output, named = returned
        else:
            return returned, {}
        layers = dict(_flat(named))
        if output is None and not layers:
            raise RefusedModel(f"{self.name} returned no layers: its dictionary is empty")
        return output, layers

    def _written_order(self, array: Any) -> tuple[str, ...]:
        """Return the names in the order of the function's own dictionary, before `jit` sorts it."""
        plain = _unjitted(self.function)
        if plain is self.function:
            return ()
        names: list[str] = []

        def spy(x: Any) -> None:
            names.extend(self._taken_apart(plain(x))[1])

        needed("jax", "jax").eval_shape(spy, array)
        return tuple(names)


def _flat(named: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested dictionaries under joined names.

    Flax Linen's `__call__` keys are left out of names, and its one-element tuples are unpacked.
    """
    for key, value in named.items():
        if not isinstance(key, str):
            raise RefusedModel(f"layer names must be strings, got {key!r}")
        name = prefix.rstrip(".") if key == "__call__" and prefix else f"{prefix}{key}"
        if isinstance(value, tuple | list) and len(value) == 1:
            value = value[0]
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield name, value


def _values(output: Any) -> Any:
    """Return the output; raise RefusedModel if it leaked from a transformed function."""
    if any(is_tracer(array) for _, array in arrays_in(output)):
        raise RefusedModel(
            "the output is a JAX tracer, not a value: it leaked from a function transformed by jit, scan, "
            "grad or vmap. Return it from that function"
        )
    return output


def _array(x: Tensor) -> Any:
    jnp = needed("jax.numpy", "jax")
    return jnp.asarray(as_numpy(x), dtype=jnp.bfloat16 if x.dtype == torch.bfloat16 else None)


def _inner(function: Any) -> Any:
    """Return the function inside partial applications."""
    while isinstance(function, partial):
        function = function.func
    return function


def _unjitted(function: Any) -> Any:
    if isinstance(function, partial):
        return partial(_unjitted(function.func), *function.args, **function.keywords)
    return getattr(function, "__wrapped__", function)


def _is_a(model: Any, module: str, name: str) -> bool:
    """Return whether the model is an instance of a class, given by name to avoid importing its module."""
    return any(cls.__name__ == name and cls.__module__.startswith(module) for cls in type(model).__mro__)


def _names_jax(function: Any, seen: set[int]) -> bool:
    """Return whether the code of a function, or of one that it names, uses JAX and nothing from torch."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return False
    seen.add(id(function))
    if _TORCH_ONLY & set(function.__code__.co_names):
        return False
    return any(_is_jax(value, seen) for value in _reached(function))


def _is_jax(value: Any, seen: set[int]) -> bool:
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] in _JAX
    return any(in_package(c, *_JAX) for c in type(value).__mro__) or _names_jax(_inner(value), seen)


def _reached(function: FunctionType) -> Iterable[Any]:
    """Yield the globals, defaults and closure variables that a function uses."""
    names = function.__code__.co_names
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
    yield from (function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
