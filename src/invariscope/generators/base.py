"""What a generator is, and what a user may write for one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, cast

from torch import Tensor

from invariscope.generators.derivatives import Derivatives


class Generator(ABC):
    """A one-parameter flow ρ(t) on images, by its derivative at t = 0: X x = d/dt ρ(t) x.

    Subclasses are frozen dataclasses: equal options make equal generators. They define `name`, `tangent` and

    Attributes:
        unit: what t counts: "px", "rad".
        step: a small t, for differences.
        moves_maps: whether feature maps should move as the image does; if not, they should stay as they are.
    """

    unit: str
    step: float
    moves_maps: bool

    @property
    @abstractmethod
    def name(self) -> str:
        """Such as "rotation"."""

    @abstractmethod
    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """X x, of the shape of the images.

        Args:
            at: images or feature maps.
            input_size: (H, W) of the inputs that led to feature maps; None: theirs.
        """


def as_generators(given: Any) -> tuple[Generator, ...]:
    """Generators from names, generators, callables (x, t), or a list of them.

    Raises:
        ValueError: none, an unknown name, or the same twice.
        TypeError: nothing of the kind.

    >>> [generator.name for generator in as_generators(["rotation", lambda x, t: x + t])]
    ['rotation', '<lambda>']
    """
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found = tuple(_as_generator(entry) for entry in (given if several else [given]))
    names = [generator.name for generator in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not found or twice:
        came = f"{twice[0]!r} {names.count(twice[0])} times" if twice else "none"
        raise ValueError(f"generators: each once, and at least one; got {came}. A UserFlow takes a name.")
    return found


def _as_generator(entry: Any) -> Generator:
    from invariscope.generators.flows import UserFlow, named

    if isinstance(entry, Generator):
        return entry
    if isinstance(entry, str):
        return named(entry)
    if callable(entry) and not isinstance(entry, type):
        return UserFlow(cast("Callable[[Tensor, float], Tensor]", entry))
    raise TypeError(f"a generator is a name, a Generator, or a callable (x, t); got {type(entry).__name__}")
