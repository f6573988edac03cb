"""The corruptions by name, with their strengths; to add one, decorate a function with `@kind`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.common.draws import Draws

BENCHMARKS = ("imagenet", "cifar10")
GROUPS = ("noise", "blur", "weather", "digital")


@dataclass(frozen=True)
class Chance:
    """Random numbers of one sample and draw; equal names give equal numbers.

    Args:
        draws: draws with a single sample and a single slot.
    """

    draws: Draws

    def normal(self, name: int, *shape: int) -> np.ndarray:
        """Return standard normal values."""
        return self.draws.under(name).normal(int(np.prod(shape))).reshape(shape)

    def uniform(self, name: int, *shape: int) -> np.ndarray:
        """Return values in [0, 1)."""
        return self.draws.under(name).uniforms(int(np.prod(shape))).reshape(shape)


Formula = Callable[[np.ndarray, Any, Chance], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """One corruption.

    Args:
        name: name in ImageNet-C.
        group: "noise", "blur", "weather" or "digital".
        strengths: for each benchmark, the strength at severities 1 to 5.
        random: whether it draws random numbers.
        apply: maps an image (H, W, C) of float64 from 0 to 1, a strength and random numbers to the corrupted
            image, which is clipped afterwards.
    """

    name: str
    group: str
    strengths: Mapping[str, Sequence[Any]]
    random: bool
    apply: Formula


KINDS: dict[str, Kind] = {}


def kind(
    group: str, *, imagenet: Sequence[Any], cifar10: Sequence[Any], random: bool = False
) -> Callable[[Formula], Formula]:
    """Register a function under its name."""

    def added(function: Formula) -> Formula:
        strengths = {"imagenet": tuple(imagenet), "cifar10": tuple(cifar10)}
        KINDS[function.__name__] = Kind(function.__name__, group, strengths, random, function)
        return function

    return added
