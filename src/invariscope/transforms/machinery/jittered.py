"""Affine families whose elements are given by numbers, with optional jitter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import SampledTransform
from invariscope.transforms.machinery.checks import number
from invariscope.transforms.machinery.traits import Slider


@dataclass(frozen=True)
class Numbers:
    """The options that hold a family's numbers, and their meaning.

    Args:
        option: name of the option that holds one number, or one tuple of numbers, per element.
        jitter: name of the option that holds the size of the draws.
        parameters: parameter name of each number, with its unit.
        factors: whether the numbers are factors, so that draws multiply them and inverses are reciprocals.
        period: numbers that differ by this amount describe the same element.
    """

    option: str
    jitter: str
    parameters: tuple[str, ...]
    factors: bool = False
    period: float | None = None


@dataclass(frozen=True, kw_only=True)
class Jittered(SampledTransform):
    """An affine family whose elements are given by numbers.

    A subclass defines `numbers`, `examples`, `_labels`, `_kept` and `_maps`.
    """

    numbers: ClassVar[Numbers]

    @abstractmethod
    def _labels(self, *, jittered: bool) -> Sequence[str]:
        """Return one name per element."""

    @abstractmethod
    def _kept(self) -> tuple[Any, ...]:
        """Return the numbers in hashable form; raise for invalid values."""

    @abstractmethod
    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        """Return the map (..., 2, 3) of each number, or of each tuple along the last axis."""

    def inverse(self) -> Transform:
        """Return the opposite elements; with jitter, the inverses of the same draws."""
        if self.per_sample:
            return Inverse(self)
        found = np.array(self._numbers)
        return self._at(1 / found if self.numbers.factors else -found + 0.0)

    def _checked(self) -> dict[str, Any]:
        name, factors = self.numbers.jitter, self.numbers.factors
        jitter = number(name, self._jitter)
        if jitter < factors:
            what, least = ("largest factor", 1) if factors else ("half-width", 0)
            raise ValueError(f"{name}, the {what} of the draws, must be at least {least}; got {jitter:g}.")
        return {self.numbers.option: self._kept(), name: jitter}

    def _traits(self) -> Traits:
        jittered = self._jitter > self.numbers.factors
        columns = np.array(self._numbers).reshape(len(self._numbers), -1).T.tolist()
        parameters = dict(zip(self.numbers.parameters, columns, strict=True))
        slider = None if jittered else self._slider(parameters)
        labels = self._labels(jittered=jittered)
        about = {"slider": slider, "added_by": (self.numbers.option,)}
        return self.planar_traits(labels, parameters, per_sample=jittered, **about)

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        found = np.array(self._numbers)[elements]
        if draws is not None:
            count = len(self.numbers.parameters)
            chance = 2 * (draws.uniform() if count == 1 else draws.uniforms(count)) - 1
            found = found * self._jitter**chance if self.numbers.factors else found + self._jitter * chance
        return self._maps(found)

    @property
    def _numbers(self) -> Any:
        return getattr(self, self.numbers.option)

    @property
    def _jitter(self) -> Any:
        return getattr(self, self.numbers.jitter)

    def _at(self, numbers: np.ndarray) -> Transform:
        return replace(self, **{self.numbers.option: numbers.tolist()})

    def _slider(self, parameters: dict[str, list[float]]) -> Slider | None:
        """Return the only parameter in which elements differ; None if they differ in several."""
        names = list(parameters)
        varying = [k for k, name in enumerate(names) if len(set(parameters[name])) > 1] or [0]
        if len(varying) > 1:
            return None
        (k,) = varying
        return Slider(names[k], tuple(parameters[names[k]]), partial(self._slid, k), self.numbers.period)

    def _slid(self, k: int, values: Sequence[float]) -> Transform:
        """Return elements in which number k takes the given values and the other numbers are fixed."""
        found = np.tile(np.array(self._numbers)[:1].reshape(1, -1), (len(values), 1))
        found[:, k] = values
        return self._at(found[:, 0] if len(self.numbers.parameters) == 1 else found)
