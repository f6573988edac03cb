"""Transforms made of other transforms: what composition, product and inverse have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.affine import AffineTransform, agree, first_true, moved
from invariscope.transforms.machinery.linear import Linear
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


class Chain(Linear):
    """Steps applied one after the other; neighbouring affine steps are multiplied and sampled once.

    A family defines `examples`, `inverse`, `_build`, and `_traits` by calling `chained_traits`.
    """

    factors: tuple[Transform, ...] = ()
    """Transforms whose elements are all combined here, the last one's running fastest; () if none are."""

    @abstractmethod
    def _build(self) -> tuple[Step, ...]:
        """Return what is done, first step first."""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What is done, first step first."""
        return self._build()

    @cached_property
    def runs(self) -> list[list[Step]]:
        """The steps, those together that are applied in one sampling."""
        runs: list[list[Step]] = []
        for step in self.steps:
            if runs and agree_to_fuse([*runs[-1], step]):
                runs[-1].append(step)
            else:
                runs.append([step])
        return runs

    def chained_traits(self, labels: Sequence[str], parameters: Mapping[str, tuple[float, ...]]) -> Traits:
        """Return the traits of these elements, as far as they follow from the steps."""
        still = np.all([_flags(run, is_identity, _identities) for run in self.runs], axis=0)
        exact = np.all([_flags(run, exact_elements, _exactness) for run in self.runs], axis=0)
        return Traits(
            tuple(labels),
            parameters,
            identity=first_true(still),
            exact=tuple(exact.tolist()),
            per_sample=any(step.family.per_sample for step in self.steps),
            invertible=all(step.family.invertible for step in self.steps),
        )

    def check(self, x: Any) -> None:
        """Raise TypeError for data that the parts cannot move; after a callable nobody can tell."""
        for step in self.steps:
            step.family.check(x)
            if not isinstance(step.family, AffineTransform):
                return

    def table(self) -> np.ndarray | None:
        """Return the table of affine parts whose products are a finite group, or of direct products."""
        if self.per_sample:
            return None
        if len(self.runs) == 1 and all_affine(self.runs[0]):
            return group_table(_product(self.runs[0]), compose)
        return product_table(self.factors) if self.factors else None

    def linear_parts(self, motion: Motion) -> np.ndarray | None:
        """Return the products of the steps' linear parts; None if one has none, or of another dimension."""
        found: np.ndarray | None = None
        for step in reversed(self.steps) if motion.inverse else self.steps:
            part = step.family.linear_parts(step.of(motion)) if isinstance(step.family, Linear) else None
            if part is None or (found is not None and part.shape[-1] != found.shape[-1]):
                return None
            found = part if found is None else part @ found
        return found

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the runs in order, or undo them in reverse order."""
        for run in reversed(self.runs) if motion.inverse else self.runs:
            values = apply_run(run[::-1] if motion.inverse else run, values, motion)
        return values


def steps_of(transform: Transform, elements: Iterable[int]) -> tuple[Step, ...]:
    """The steps of one part of a chain, for the part's elements that the chain uses."""
    chosen = tuple(elements)
    if isinstance(transform, Chain):
        return tuple(
            replace(step, elements=tuple(step.elements[k] for k in chosen)) for step in transform.steps
        )
    return (Step(transform, chosen),)


def numbered(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps with a draw of their own each."""
    return tuple(replace(step, part=part) for part, step in enumerate(steps))


def picked(values: Sequence[Any], elements: Iterable[int]) -> tuple[Any, ...]:
    """The values of the chosen elements."""
    return tuple(values[k] for k in elements)


def merged(parts: Iterable[tuple[Transform, Iterable[int]]]) -> dict[str, tuple[float, ...]]:
    """Return the parameters of parts, for their elements that a chain uses; a repeated name is numbered."""
    found: dict[str, tuple[float, ...]] = {}
    for part, elements in parts:
        chosen = tuple(elements)
        for name, values in part.parameters.items():
            taken = sum(known == name or known.startswith(f"{name}_part") for known in found)
            found[f"{name}_part{taken + 1}" if taken else name] = picked(values, chosen)
    return found


def all_affine(steps: Sequence[Step]) -> bool:
    """Whether every step is an affine map of the image plane."""
    return all(isinstance(step.family, AffineTransform) for step in steps)


def agree_to_fuse(steps: Sequence[Step]) -> bool:
    """Whether the steps can be applied in one sampling."""
    return all_affine(steps) and agree(families(steps))


def families(steps: Sequence[Step]) -> list[AffineTransform]:
    """Return the families of affine steps."""
    return [step.family for step in steps if isinstance(step.family, AffineTransform)]


def _product(run: Sequence[Step]) -> np.ndarray:
    each = []
    for family, step in zip(families(run), run, strict=True):
        matrices = family.nominal[list(step.elements)]
        each.append(invert(matrices) if step.inverse else matrices)
    return reduce(_then, each)


def _flags(
    run: Sequence[Step],
    of_maps: Callable[[np.ndarray], np.ndarray],
    of_family: Callable[[Transform], Sequence[bool]],
) -> np.ndarray:
    """Return a flag per element: of the run's maps or, without maps, of its only family's elements."""
    if any(step.family.per_sample for step in run):
        return np.zeros(len(run[0].elements), dtype=bool)
    if all_affine(run):
        return of_maps(_product(run))
    return np.array(of_family(run[0].family))[list(run[0].elements)]


def _identities(family: Transform) -> list[bool]:
    return [k == family.identity for k in range(len(family))]


def _exactness(family: Transform) -> Sequence[bool]:
    return family.exact


def _then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return compose(second, first)


def apply_run(steps: Sequence[Step], values: Tensor, motion: Motion) -> Tensor:
    """Apply steps of one run to values (sample, column, ...)."""
    if not all_affine(steps):
        (step,) = steps
        return step.family.apply(values, step.of(motion))
    affine = families(steps)
    each = [family.maps(step.of(motion)) for family, step in zip(affine, steps, strict=True)]
    return moved(values, reduce(_then, each), motion, families=affine)
