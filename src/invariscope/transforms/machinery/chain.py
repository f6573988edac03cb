"""Transforms made of other transforms: the common base of composition, product and inverse."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.affine import AffineTransform, first_true, moved
from invariscope.transforms.machinery.linear import Linear
from invariscope.transforms.machinery.matrices import (
    compose,
    exact_elements,
    group_table,
    invert,
    is_identity,
)
from invariscope.transforms.machinery.product import product_table
from invariscope.transforms.machinery.traits import picked


@dataclass(frozen=True)
class Step:
    """One step of a chain.

    Args:
        family: a transform that is not itself a chain.
        elements: the element of the family that each element of the chain uses.
        part: position of the part, which keys the draws so that parts are drawn independently.
        inverse: whether to apply the inverses of the family's elements.
    """

    family: Transform
    elements: tuple[int, ...]
    part: int = 0
    inverse: bool = False

    def of(self, motion: Motion) -> Motion:
        """Return the chain's motion as seen by this step's family."""
        return replace(
            motion,
            elements=np.asarray(self.elements)[motion.elements],
            draws=motion.draws.under(self.part) if self.part else motion.draws,
            inverse=motion.inverse != self.inverse,
        )


class Chain(Linear):
    """A sequence of steps, in which adjacent affine steps are multiplied and applied in one interpolation.

    A family defines `examples`, `inverse`, `_build` and, by calling `chained_traits`, `_traits`.
    """

    factors: tuple[Transform, ...] = ()
    """The transforms whose full product this is; the last one's element varies fastest."""

    @abstractmethod
    def _build(self) -> tuple[Step, ...]:
        """Return the steps in order."""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        return self._build()

    @cached_property
    def runs(self) -> list[list[Step]]:
        """The steps, grouped into runs that are each applied in one interpolation."""
        return runs_of(self.steps)

    def chained_traits(self, labels: Sequence[str], parameters: Mapping[str, tuple[float, ...]]) -> Traits:
        """Return the traits of these elements, with flags computed from the steps."""
        identity = [_flags(run, is_identity, _is_identity) for run in self.runs]
        exact = [_flags(run, exact_elements, lambda family: family.exact) for run in self.runs]
        return Traits(
            tuple(labels),
            parameters,
            identity=first_true(np.all(identity, axis=0)),
            exact=tuple(np.all(exact, axis=0).tolist()),
            per_sample=any(step.family.per_sample for step in self.steps),
            invertible=all(step.family.invertible for step in self.steps),
            resizes=any(step.family.traits.resizes for step in self.steps),
            added_by=tuple(
                dict.fromkeys(name for step in self.steps for name in step.family.traits.added_by)
            ),
        )

    def check(self, x: Any) -> None:
        """Raise TypeError for data that the parts cannot act on; parts after a callable are not checked."""
        for step in self.steps:
            step.family.check(x)
            if not isinstance(step.family, AffineTransform):
                return

    def table(self) -> np.ndarray | None:
        """Return the group table if all parts are affine or the product is direct; None otherwise."""
        if self.per_sample:
            return None
        if len(self.runs) == 1 and affine_families(self.runs[0]):
            return group_table(_product(self.runs[0]), compose)
        return product_table(self.factors) if self.factors else None

    def linear_parts(self, motion: Motion) -> np.ndarray | None:
        """Return the products of the steps' linear parts; None if undefined or of different dimensions."""
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


class Combination(Chain):
    """A chain of several parts; a family defines `examples`, `inverse`, `_parts_in_use` and `joint`."""

    joint: ClassVar[str]  # text between the labels of the parts

    @abstractmethod
    def _parts_in_use(self) -> list[tuple[Transform, Sequence[int]]]:
        """Return the parts in order, each with its element for each element of the chain."""

    def _traits(self) -> Traits:
        parts = self._parts_in_use()
        labels = zip(*(picked(part.labels, elements) for part, elements in parts), strict=True)
        return self.chained_traits([self.joint.join(some) for some in labels], _merged(parts))

    def _build(self) -> tuple[Step, ...]:
        steps = (step for part, elements in self._parts_in_use() for step in steps_of(part, elements))
        return tuple(replace(step, part=position) for position, step in enumerate(steps))


def steps_of(transform: Transform, elements: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps of one part of a chain, for the part's elements that the chain uses."""
    if isinstance(transform, Chain):
        return tuple(replace(step, elements=picked(step.elements, elements)) for step in transform.steps)
    return (Step(transform, tuple(elements)),)


def runs_of(steps: Iterable[Step]) -> list[list[Step]]:
    """Group adjacent steps that can be applied in one interpolation."""
    runs: list[list[Step]] = []
    for step in steps:
        families = affine_families([*runs[-1], step]) if runs else []
        if families and len({family.sampling for family in families} - {None}) <= 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _merged(parts: Iterable[tuple[Transform, Sequence[int]]]) -> dict[str, tuple[float, ...]]:
    """Return the parameters of all parts, for the elements that a chain uses; repeated names are numbered."""
    found: dict[str, tuple[float, ...]] = {}
    for part, elements in parts:
        for name, values in part.parameters.items():
            taken = sum(known == name or known.startswith(f"{name}_part") for known in found)
            found[f"{name}_part{taken + 1}" if taken else name] = picked(values, elements)
    return found


def affine_families(steps: Sequence[Step]) -> list[AffineTransform]:
    """Return the families of the steps; [] unless all are affine maps of the image plane."""
    found = [step.family for step in steps if isinstance(step.family, AffineTransform)]
    return found if len(found) == len(steps) else []


def _product(run: Sequence[Step]) -> np.ndarray:
    each = []
    for family, step in zip(affine_families(run), run, strict=True):
        matrices = family.nominal[list(step.elements)]
        each.append(invert(matrices) if step.inverse else matrices)
    return reduce(_then, each)


def _flags(
    run: Sequence[Step],
    of_maps: Callable[[np.ndarray], np.ndarray],
    of_family: Callable[[Transform], Sequence[bool]],
) -> np.ndarray:
    """Return one flag per element, from the run's affine maps or else from its only family."""
    if any(step.family.per_sample for step in run):
        return np.zeros(len(run[0].elements), dtype=bool)
    if affine_families(run):
        return of_maps(_product(run))
    return np.array(of_family(run[0].family))[list(run[0].elements)]


def _is_identity(family: Transform) -> list[bool]:
    return [k == family.identity for k in range(len(family))]


def _then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return compose(second, first)


def apply_run(steps: Sequence[Step], values: Tensor, motion: Motion) -> Tensor:
    """Apply the steps of one run to values (sample, column, ...)."""
    families = affine_families(steps)
    if not families:
        (step,) = steps
        return step.family.apply(values, step.of(motion))
    each = [family.maps(step.of(motion)) for family, step in zip(families, steps, strict=True)]
    return moved(values, reduce(_then, each), motion, families=families)
