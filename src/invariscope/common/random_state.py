"""Find, seed and restore the random generators that models and callables draw from."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

_OWN = "own"
_GLOBAL = threading.RLock()


@dataclass(frozen=True)
class RandomGenerator:
    """Uniform access to a random generator of torch, NumPy or Python.

    Args:
        name: "torch", "NumPy", "Python" or a device for a global generator; "own" for one held by an object.
        read: returns the state.
        write: sets the state.
        seeded: returns the state after seeding, without changing the generator.
        restart: seeds the generator directly, which is faster than writing a seeded state.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    seeded: Callable[[int], Any]
    restart: Callable[[int], Any] | None = None

    def start(self, seed: int) -> None:
        """Seed the generator."""
        if self.restart is None:
            self.write(self.seeded(seed))
        else:
            self.restart(seed)

    def moved_from(self, state: Any) -> bool:
        """Return whether the generator has been used since it was in this state."""
        return not _equal(self.read(), state)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return a == b


def global_generators(device: str) -> tuple[RandomGenerator, ...]:
    """Return the global generators of torch (CPU and the given device), NumPy and Python."""
    found = [
        RandomGenerator(
            "torch",
            torch.get_rng_state,
            torch.set_rng_state,
            _torch_seeded,
            torch.default_generator.manual_seed,
        ),
        RandomGenerator(
            "NumPy",
            _numpy_state,
            np.random.set_state,
            _numpy_seeded,
            lambda seed: np.random.seed(_words(seed)),
        ),
        RandomGenerator(
            "Python",
            random.getstate,
            random.setstate,
            lambda seed: random.Random(seed).getstate(),
            random.seed,
        ),
    ]
    if torch.device(device).type not in ("cpu", "meta"):
        found.append(_device_generator(device))
    return tuple(found)


def _torch_seeded(seed: int, device: Any = "cpu") -> torch.Tensor:
    return torch.Generator(device).manual_seed(seed).get_state()


def _numpy_state() -> Any:
    return np.random.get_state(legacy=False)


def _numpy_seeded(seed: int) -> Any:
    return np.random.RandomState(_words(seed)).get_state(legacy=False)


def _words(seed: int) -> Any:
    """Return a seed for NumPy: a number below 2**32, or a list of two 32-bit words."""
    return seed if seed < 2**32 else [seed & 0xFFFF_FFFF, seed >> 32]


def _device_generator(device: str) -> RandomGenerator:
    backend = torch.get_device_module(torch.device(device))
    indexed = () if torch.device(device).type == "mps" else (device,)
    return RandomGenerator(
        device,
        lambda: backend.get_rng_state(*indexed),
        lambda state: backend.set_rng_state(state, *indexed),
        functools.partial(_torch_seeded, device=device),
    )


def callable_generators(function: Callable[..., Any]) -> tuple[RandomGenerator, ...]:
    """Return the generators in a callable's attributes, defaults and bound arguments, and in what it names.

    It names variables of its closure and of its module, and variables of other modules (`config.rng`).
    Attributes of the objects that it holds, and of their submodules, are searched too, but nothing deeper.
    """
    holders = [*_parts(function)]
    holders += [module for part in holders if isinstance(part, nn.Module) for module in part.modules()]
    attributes = [value for holder in holders for value in getattr(holder, "__dict__", {}).values()]
    return held_generators([*holders, *attributes])


def _parts(function: Any) -> Iterator[Any]:
    """Yield the callable and everything bound to it."""
    yield function
    if isinstance(function, functools.partial):
        yield from _parts(function.func)
        yield from (*function.args, *function.keywords.values())
    yield from _bound(function)


def _bound(function: Any) -> Iterator[Any]:
    """Yield a method's object, a function's defaults, and the variables that it names."""
    if (holder := getattr(function, "__self__", None)) is not None:
        yield holder
    yield from getattr(function, "__defaults__", None) or ()
    yield from (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from _named(getattr(function, "__func__", function))


def _named(function: Any) -> Iterator[Any]:
    """Yield the variables of its module that a function names, and those of other modules."""
    known = getattr(function, "__globals__", {})
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    found = [known[name] for name in names if name in known]
    modules = [vars(value) for value in found if isinstance(value, ModuleType)]
    found += [module[name] for module in modules for name in names if name in module]
    yield from (value for value in found if not isinstance(value, ModuleType))


def held_generators(values: Iterable[Any]) -> tuple[RandomGenerator, ...]:
    """Return the random generators among these values, without duplicates."""
    held = {id(value): value for value in values}
    return tuple(generator for value in held.values() if (generator := _wrapped(value)) is not None)


def _wrapped(value: Any) -> RandomGenerator | None:
    if isinstance(value, torch.Generator):
        seeded = functools.partial(_torch_seeded, device=value.device)
        return RandomGenerator(_OWN, value.get_state, value.set_state, seeded)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        kind: Any = type(bits)
        write = functools.partial(setattr, bits, "state")
        return RandomGenerator(_OWN, lambda: bits.state, write, lambda seed: kind(seed).state)
    if isinstance(value, np.random.RandomState):
        return RandomGenerator(_OWN, lambda: value.get_state(legacy=False), value.set_state, _numpy_seeded)
    if isinstance(value, random.Random):
        return RandomGenerator(
            _OWN, value.getstate, value.setstate, lambda seed: random.Random(seed).getstate()
        )
    return None


@contextmanager
def put_back(generators: Sequence[RandomGenerator]) -> Iterator[list[Any]]:
    """Yield the states of the generators, and restore them on exit.

    Only one thread at a time holds the global generators, so that measurements in several threads do not
    share draws.
    """
    with _GLOBAL if any(generator.name != _OWN for generator in generators) else nullcontext():
        states = [generator.read() for generator in generators]
        try:
            yield states
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.write(state)


class Streams:
    """Private random streams that stand in for the global generators while a model runs.

    Inside `active()`, the global generators continue the private streams; outside, they are unchanged.
    """

    def __init__(self, generators: Sequence[RandomGenerator], seed: int) -> None:
        self.generators = tuple(generators)
        self.states = [generator.seeded(seed) for generator in self.generators]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Replace the global generators with the private streams for one forward pass."""
        with put_back(self.generators):  # one thread at a time
            for generator, state in zip(self.generators, self.states, strict=True):
                generator.write(state)
            try:
                yield
            finally:
                self.states = [generator.read() for generator in self.generators]
