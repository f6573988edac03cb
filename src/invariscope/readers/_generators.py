"""Generators of random numbers that a model may draw from: watched, replaced by our own, put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Generator:
    """One generator: how to read and write its state, and a state to start from."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]
    seeded: Callable[[int], Any]

    def moved_from(self, state: Any) -> bool:
        """Whether anything was drawn since that state."""
        return not _equal(self.read(), state)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return a == b


def global_generators(device: str) -> tuple[Generator, ...]:
    """Those of torch (CPU, and the model's device), NumPy and Python."""
    found = [
        Generator("torch", torch.get_rng_state, torch.set_rng_state, _torch_seeded),
        Generator("NumPy", _numpy_state, np.random.set_state, _numpy_seeded),
        Generator("Python", random.getstate, random.setstate, lambda seed: random.Random(seed).getstate()),
    ]
    if torch.device(device).type != "cpu":
        found.append(_device_generator(device))
    return tuple(found)


def _torch_seeded(seed: int) -> torch.Tensor:
    return torch.Generator().manual_seed(seed).get_state()


def _numpy_state() -> Any:
    return np.random.get_state(legacy=False)


def _numpy_seeded(seed: int) -> Any:
    return np.random.RandomState(seed).get_state(legacy=False)


def _device_generator(device: str) -> Generator:
    backend = torch.get_device_module(torch.device(device))
    indexed = () if torch.device(device).type == "mps" else (device,)
    return Generator(
        device,
        lambda: backend.get_rng_state(*indexed),
        lambda state: backend.set_rng_state(state, *indexed),
        lambda seed: torch.Generator(device).manual_seed(seed).get_state(),
    )


def own_generators(model: nn.Module) -> tuple[Generator, ...]:
    """Those that the modules hold as plain attributes."""
    held = {id(value): value for module in model.modules() for value in vars(module).values()}
    return tuple(generator for value in held.values() if (generator := _wrapped(value)) is not None)


def _wrapped(value: Any) -> Generator | None:
    if isinstance(value, torch.Generator):
        return Generator("own", value.get_state, lambda state: _set_state(value, state), _unseeded)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return Generator("own", lambda: bits.state, lambda state: setattr(bits, "state", state), _unseeded)
    if isinstance(value, np.random.RandomState):
        return Generator("own", lambda: value.get_state(legacy=False), value.set_state, _unseeded)
    if isinstance(value, random.Random):
        return Generator("own", value.getstate, value.setstate, _unseeded)
    return None


def _set_state(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state)


def _unseeded(seed: int) -> Any:
    raise AssertionError("a model's own generator is put back, never seeded")


@contextmanager
def put_back(generators: Sequence[Generator]) -> Iterator[list[Any]]:
    """On exit the generators are where they were; yields their states on entry."""
    states = [generator.read() for generator in generators]
    try:
        yield states
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.write(state)


class Streams:
    """Private streams behind the global generators, for the models that draw from them.

    Within `active()` the global generators continue our streams; outside they are the user's, unmoved.
    """

    def __init__(self, generators: Sequence[Generator], seed: int) -> None:
        self.generators = tuple(generators)
        self.states = [generator.seeded(seed) for generator in self.generators]

    @contextmanager
    def active(self) -> Iterator[None]:
        """One forward's worth."""
        with put_back(self.generators):
            for generator, state in zip(self.generators, self.states, strict=True):
                generator.write(state)
            try:
                yield
            finally:
                self.states = [generator.read() for generator in self.generators]
