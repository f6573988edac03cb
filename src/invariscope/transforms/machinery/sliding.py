"""Families whose elements differ by one number, so that there is something between any two of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from invariscope.transforms.base import Transform


@dataclass(frozen=True, eq=False)
class Slider:
    """The one number that tells a transform's elements apart.

    Args:
        name: as in `parameters`, with its unit.
        values: one an element.
        at: the same transform with elements at other values.
        period: values so far apart are one element; None where no two are.
    """

    name: str
    values: tuple[float, ...]
    at: Callable[[Sequence[float]], Transform]
    period: float | None = None


class _Sliding(ABC):
    """A family that may have a slider."""

    @property
    @abstractmethod
    def slider(self) -> Slider | None:
        """The one number; None where elements differ by several, or are drawn."""
