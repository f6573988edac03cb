"""Families whose elements are drawn anew for each sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from invariscope.transforms.base import Transform
from invariscope.transforms.inverse import Inverse


@dataclass(frozen=True)
class _Drawn(Transform):
    """A transform of so many draws from a group, others for each sample. A family defines `drawn`."""

    @property
    @abstractmethod
    def drawn(self) -> int:
        """How many elements each sample gets."""

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The number of the `draw`."""
        return {"draw": tuple(k + 1.0 for k in range(self.drawn))}

    @property
    def identity(self) -> int | None:
        """None: which draw changes nothing, if any, differs between samples."""
        return None

    @property
    def exact(self) -> tuple[bool, ...]:
        """False for all, as of everything that differs between samples."""
        return (False,) * self.drawn

    @property
    def per_sample(self) -> bool:
        """True: every sample has elements of its own."""
        return True

    def inverse(self) -> Transform:
        """The same draws, undone."""
        return Inverse(self)

    def table(self) -> None:
        """None: products of draws are no draws."""
