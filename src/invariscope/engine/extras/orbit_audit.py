"""Check during a run that the elements of a transform depend on nothing but the sample, and move it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.random_state import (
    RandomGenerator,
    callable_generators,
    global_generators,
    put_back,
)
from invariscope.common.samples import Inputs, has_known_content, is_structured, leaves, same_inputs, taken
from invariscope.engine.needs import ForwardRows, lay_out
from invariscope.engine.state import Run
from invariscope.statistics.probes import Batch, Probe
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.callables import APART, differ

_ADVICE = (
    "Elements must keep no state between calls, and draw random numbers only in iv.Drawn(f, draws=8), from "
    "generators that it can seed: its draws depend only on the seed and the sample."
)


class OrbitAudit:
    """Lay out the inputs of each block, and check on a few samples that elements repeat their results.

    Callables are tried before the run, which misses an element that changes after some calls, differs
    rarely, or depends on a large batch. Therefore, two samples of block 0 are transformed again on their own,
    and one of blocks 1, 2, 4, 8, … and after the last block. Only transforms that hold code of the user
    are checked.

    Args:
        transform: the transform that is forwarded.
        seed: seed of its draws.
        run: receives notes, which elements change a sample, and the number of samples with NaN.
    """

    def __init__(self, transform: Transform, seed: int, run: Run) -> None:
        self.transform, self.seed, self.run = transform, seed, run
        self.foreign = _holds_foreign_code(transform)
        self.block = self.samples = 0
        self.first: tuple[Inputs, Batch, Inputs] | None = None

    def lay_out(self, probes: tuple[Probe, ...], x: Inputs, *, batch: Batch) -> ForwardRows:
        """Return the inputs of a block, as `needs.lay_out` does; check some of them if a check is due.

        Raises:
            ValueError: an element gives another result for the same sample.
        """
        number, self.block = self.block, self.block + 1
        due = self.foreign and not number & (number - 1)
        generators = self._generators(x) if due else ()
        before = [generator.read() for generator in generators]
        laid = lay_out(self.transform, probes, x, batch=batch)
        if due:
            moved = [g for g, state in zip(generators, before, strict=True) if g.moved_from(state)]
            with put_back(generators):
                self._check(x, batch, laid, moved)
        self.samples += len(x)
        self.run.missing += samples_with_nan(x)
        self.run.moved = self.run.moved or self._moves(laid, len(x))
        self._narrow_unmoved(laid, x)
        return laid

    def finish(self) -> None:
        """Transform a sample of the first block once more.

        Raises:
            ValueError: the result has changed.
        """
        if self.first is not None:
            x, batch, known = self.first
            with put_back(self._generators(x)):
                self._refuse_changed(known, self._orbit(x, batch))

    def _check(self, x: Inputs, batch: Batch, laid: ForwardRows, moved: list[RandomGenerator]) -> None:
        """Compare orbits of a block with those of a few of its samples on their own."""
        rows = _spread(len(x), 2 if self.first is None and len(x) > 2 else 1)
        few, own = taken(x, rows), _rows_of(batch, rows)
        alone, among = self._orbit(few, own), self._of(laid, rows)
        if (element := self._different(among, alone)) is not None:
            again, whole = self._orbit(few, own), self._orbit(x, batch)[rows]
            self._refuse_changed(alone, again)
            self._refuse_changed(among, whole)
            label = self.transform.labels[element]
            raise ValueError(
                f"element {label!r} depends on the batch: a sample gave a different result among {len(x)} "
                f"samples than {'alone' if len(few) == 1 else f'among {len(few)}'}, so values would depend "
                f"on the batch size. {APART}"
            )
        if self.first is None:
            self.first = taken(few, [0]), _rows_of(own, [0]), alone[:1]
        if moved:
            self._note_draws(few, own, moved)

    def _note_draws(self, x: Inputs, batch: Batch, moved: list[RandomGenerator]) -> None:
        """Note that elements draw random numbers, unless they seed the generators themselves."""
        ends = []
        for _ in range(2):
            self._orbit(x, batch)
            ends.append([generator.read() for generator in moved])
            for generator in moved if not ends[1:] else ():
                generator.start(0)  # from another state, only seeding leads to the same end
        drawn = [g for g, end in zip(moved, ends[0], strict=True) if g.moved_from(end)]
        if drawn:
            names = ", ".join(dict.fromkeys("their own" if g.name == "own" else g.name for g in drawn))
            self.run.note_once(
                f"elements of the transform draw random numbers ({names}). Repeated calls agreed, but "
                "differences that are rare go unnoticed: wrap random functions in iv.Drawn"
            )

    def _refuse_changed(self, known: Inputs, again: Inputs) -> None:
        if (element := self._different(known, again)) is not None:
            after = f"after {self.samples:,} samples, " if self.samples else ""
            raise ValueError(
                f"element {self.transform.labels[element]!r} depends on chance or on earlier calls: {after}"
                "the same samples gave different results, so values would not be due to the transformation "
                f"alone. {_ADVICE}"
            )

    def _different(self, one: Inputs, other: Inputs) -> int | None:
        """Return the first element whose results (sample, element, ...) differ; None if there is none."""
        for element in range(len(self.transform)):
            mine, theirs = one[:, element], other[:, element]
            if not is_structured(one):
                if differ(mine, theirs, exactly=False):
                    return element
            elif not all(map(same_inputs, mine, theirs)):
                return element
        return None

    def _orbit(self, x: Inputs, batch: Batch) -> Inputs:
        return self.transform.orbit(x, indices=batch.indices, keys=batch.keys, seed=self.seed)

    def _of(self, laid: ForwardRows, samples: list[int]) -> Inputs:
        """Return the (sample, element, ...) orbits of some samples of a block."""
        own = _places(laid, np.array(samples), len(self.transform))
        rows = taken(laid.rows, own.reshape(-1))
        return rows.reshape(*own.shape, *rows.shape[1:])

    def _moves(self, laid: ForwardRows, samples: int) -> bool:
        """Return whether the elements give different inputs for at least one sample."""
        rows = laid.rows
        for own in _places(laid, np.arange(samples), len(self.transform)).tolist():
            first = rows[own[0]]
            if any(not _unchanged(first, rows[k]) for k in own[1:]):
                return True
        return False

    def _narrow_unmoved(self, laid: ForwardRows, x: Inputs) -> None:
        """Leave out of `run.unmoved` the elements that change a sample of this block."""
        if self.transform.identity is not None or self.transform.traits.resizes:
            return
        left = range(len(self.transform)) if self.run.unmoved is None else self.run.unmoved
        rows = _places(laid, np.arange(len(x)), len(self.transform))
        self.run.unmoved = {
            element
            for element in left
            if all(_unchanged(x[n], laid.rows[row]) for n, row in enumerate(rows[:, element].tolist()))
        }

    def _generators(self, x: Inputs) -> tuple[RandomGenerator, ...]:
        device = str(x.device) if isinstance(x, Tensor) else "cpu"
        held = [g for f in _functions(self.transform) for g in callable_generators(f)]
        return (*global_generators(device), *held)


def _unchanged(one: Any, other: Any) -> bool:
    """Return whether two inputs are known to be equal."""
    return same_inputs(one, other) and has_known_content(one)


def _places(laid: ForwardRows, samples: np.ndarray, elements: int) -> np.ndarray:
    """Return the (sample, element) rows of the orbits of some samples."""
    return samples[:, None] * laid.sample_step + np.arange(elements) * laid.element_step


def _rows_of(batch: Batch, rows: list[int]) -> Batch:
    return Batch(batch.indices[rows], batch.keys[rows], np.full(len(rows), -1), batch.seed)


def _spread(rows: int, count: int) -> list[int]:
    return torch.linspace(rows - 1, 0, count).round().long().tolist()


def _holds_foreign_code(transform: Transform) -> bool:
    """Return whether a transform is, or calls, code from outside this package."""
    return any(not _is_own(part) for part in _functions(transform))


def _is_own(value: Any) -> bool:
    home = getattr(value, "__module__", None) or type(value).__module__
    return str(home).partition(".")[0] == "invariscope"


def _functions(value: Any) -> Iterator[Any]:
    """Yield the classes of a transform and its parts, and the functions that they hold."""
    if isinstance(value, Transform):
        yield type(value)
        assert is_dataclass(value)
        for option in fields(value):
            yield from _functions(getattr(value, option.name))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _functions(part)
    elif callable(value) and not isinstance(value, type):
        yield value


def samples_with_nan(x: Inputs) -> int:
    """Return the number of samples that hold NaN. Infinite values are legitimate, such as those of masks.

    >>> samples_with_nan(torch.tensor([[1.0, float("nan")], [float("-inf"), float("inf")]]))
    1
    """
    if is_structured(x):
        return sum(any(_has_nan(leaf) for _, leaf in leaves(sample)) for sample in x)
    if not x.is_floating_point() and not x.is_complex():
        return 0
    rows = x.reshape(len(x), -1)
    if not bool(rows.sum().isnan()):  # much faster than looking at every value
        return 0
    return int(rows.isnan().any(1).sum())


def _has_nan(leaf: Any) -> bool:
    if isinstance(leaf, Tensor):
        return bool(leaf.is_floating_point() or leaf.is_complex()) and bool(leaf.isnan().any())
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.kind in "fc" and bool(np.isnan(leaf).any())
    return isinstance(leaf, float | np.floating) and leaf != leaf
