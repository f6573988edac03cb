"""Transforms made of other transforms: what composition, product and inverse have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Transform, no_inverse
from invariscope.transforms.machinery.affine import _Affine, agree, first_true, moved
from invariscope.transforms.machinery.linear import _Linear
from invariscope.transforms.machinery.matrices import (
    compose,
    exact_elements,
    group_table,
    invert,
    is_identity,
)
from invariscope.transforms.machinery.product import product_table


@dataclass(frozen=True)
class Step:
    """One family's share in a chain.

    Args:
        family: a transform that is no chain itself.
        elements: for each element of the chain, which one of the family it uses.
        part: the position that the draws are keyed by; parts draw independently.
        inverse: whether the family's inverse elements are meant.
    """

    family: Transform
    elements: tuple[int, ...]
    part: int = 0
    inverse: bool = False

    def of(self, motion: Motion) -> Motion:
        """The chain's motion as this step's family sees it."""
        return replace(
            motion,
            elements=np.asarray(self.elements)[motion.elements],
            draws=motion.draws.under(self.part) if self.part else motion.draws,
            inverse=motion.inverse != self.inverse,
        )


class _Chain(_Linear):
    """Steps applied one after the other; neighbouring affine steps are multiplied and sampled once.

    A subclass defines `labels`, `parameters`, `inverse`, `examples`, `_factors` and `_build`.
    """

    @property
    @abstractmethod
    def _factors(self) -> tuple[Transform, ...]:
        """Transforms whose elements are all combined here, the last one's running fastest; () for none."""

    @abstractmethod
    def _build(self) -> tuple[Step, ...]:
        """What is done, first step first."""

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return self._build()

    @cached_property
    def _runs(self) -> list[list[Step]]:
        runs: list[list[Step]] = []
        for step in self._steps:
            if runs and agree_to_fuse([*runs[-1], step]):
                runs[-1].append(step)
            else:
                runs.append([step])
        return runs

    @property
    def per_sample(self) -> bool:
        """Whether an element means something else for each sample, as with jitter."""
        return any(step.family.per_sample for step in self._steps)

    @property
    def invertible(self) -> bool:
        """Whether every part has a known inverse."""
        return all(step.family.invertible for step in self._steps)

    @property
    def identity(self) -> int | None:
        """Index of the element that changes nothing, None where there is none."""
        return first_true(np.all([_still(run) for run in self._runs], axis=0))

    @property
    def exact(self) -> tuple[bool, ...]:
        """Which elements move whole pixels of square images, bit for bit, without interpolation."""
        return tuple(np.all([_exact(run) for run in self._runs], axis=0).tolist())

    def check(self, x: Any) -> None:
        """Raises a TypeError for data that the parts cannot move; after a callable nobody can tell."""
        for step in self._steps:
            step.family.check(x)
            if not isinstance(step.family, _Affine):
                return

    def table(self) -> np.ndarray | None:
        """Group table (m, m) of affine parts whose products are a finite group, and of direct products."""
        run = self._runs[0]
        if self.per_sample:
            return None
        if len(self._runs) == 1 and all_affine(run):
            return group_table(_product(run))
        return product_table(self._factors) if self._factors else None

    def linear_parts(self, motion: Motion) -> np.ndarray | None:
        """The products of the steps' linear parts; None where a step has none, or of another dimension."""
        found: np.ndarray | None = None
        for step in reversed(self._steps) if motion.inverse else self._steps:
            part = step.family.linear_parts(step.of(motion)) if isinstance(step.family, _Linear) else None
            if part is None or (found is not None and part.shape[-1] != found.shape[-1]):
                return None
            found = part if found is None else part @ found
        return found

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        for run in reversed(self._runs) if motion.inverse else self._runs:
            steps = run[::-1] if motion.inverse else run
            values = _apply_run(steps, values, motion)
        return values


def steps_of(transform: Transform, elements: Iterable[int]) -> tuple[Step, ...]:
    """The steps of one part of a chain, for the part's elements that the chain uses."""
    chosen = tuple(elements)
    if isinstance(transform, _Chain):
        return tuple(
            replace(step, elements=tuple(step.elements[k] for k in chosen)) for step in transform._steps
        )
    return (Step(transform, chosen),)


def numbered(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps with a draw of their own each."""
    return tuple(replace(step, part=part) for part, step in enumerate(steps))


def picked(values: Sequence[Any], elements: Iterable[int]) -> tuple[Any, ...]:
    """The values of the chosen elements."""
    return tuple(values[k] for k in elements)


def merged(parameters: Iterable[Mapping[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    """The parameters of all parts side by side; a name that comes again is numbered."""
    found: dict[str, tuple[float, ...]] = {}
    for mapping in parameters:
        for name, values in mapping.items():
            taken = sum(known == name or known.startswith(f"{name}_part") for known in found)
            found[f"{name}_part{taken + 1}" if taken else name] = values
    return found


def refuse_without_inverse(transform: Transform) -> None:
    """Raises the TypeError for transforms that cannot be undone."""
    if not transform.invertible:
        raise no_inverse(transform)


def all_affine(steps: Sequence[Step]) -> bool:
    """Whether every step is an affine map of the image plane."""
    return all(isinstance(step.family, _Affine) for step in steps)


def agree_to_fuse(steps: Sequence[Step]) -> bool:
    """Whether the steps can be applied in one sampling."""
    return all_affine(steps) and agree(_families(steps))


def _families(steps: Sequence[Step]) -> list[_Affine]:
    return [step.family for step in steps if isinstance(step.family, _Affine)]


def _product(run: Sequence[Step]) -> np.ndarray:
    each = []
    for family, step in zip(_families(run), run, strict=True):
        matrices = family.nominal[list(step.elements)]
        each.append(invert(matrices) if step.inverse else matrices)
    return reduce(_then, each)


def _still(run: Sequence[Step]) -> np.ndarray:
    if any(step.family.per_sample for step in run):
        return np.zeros(len(run[0].elements), dtype=bool)
    if all_affine(run):
        return is_identity(_product(run))
    return np.array([element == run[0].family.identity for element in run[0].elements])


def _exact(run: Sequence[Step]) -> np.ndarray:
    if any(step.family.per_sample for step in run):
        return np.zeros(len(run[0].elements), dtype=bool)
    if all_affine(run):
        return exact_elements(_product(run))
    return np.array([run[0].family.exact[element] for element in run[0].elements])


def _then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return compose(second, first)


def _apply_run(steps: Sequence[Step], values: Tensor, motion: Motion) -> Tensor:
    if not all_affine(steps):
        (step,) = steps
        return step.family._apply(values, step.of(motion))
    families = _families(steps)
    each = [family.moves(step.of(motion)) for family, step in zip(families, steps, strict=True)]
    return moved(values, reduce(_then, each), motion, families=families)
