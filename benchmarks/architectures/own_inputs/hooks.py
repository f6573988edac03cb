"""Record the outputs of leaf modules for batches of any kind, and find the axes of the samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.own_inputs.catalogue import OwnInputs
from benchmarks.architectures.plain_hooks import Key, label, leaves, tensors_of


@dataclass(frozen=True)
class Place:
    """The axes of a tensor that belong to samples.

    Args:
        axis: axis of the samples, or of the rows that an index assigns to them.
        rows: number of rows per sample on that axis.
        mask: the field that marks padding on another axis, or "".
        entries: the axis that the mask refers to.
        index: the field that assigns rows to samples, or "".
        several: whether the shape depends on the samples in another way, so that pooling is impossible.
    """

    axis: int
    rows: int = 1
    mask: str = ""
    entries: int = 0
    index: str = ""
    several: bool = False


@dataclass(frozen=True, eq=False)
class Reading:
    """One floating tensor of a leaf module: its key, its name in the library, and its sample axes."""

    key: Key
    label: str
    place: Place


@dataclass(frozen=True, eq=False)
class Forward:
    """One forward pass: the batch, its number of samples, and {key: (rank in the output, tensor)}."""

    batch: Any
    rows: int
    notes: dict[Key, tuple[int, Tensor]]


def doubled(batch: Any) -> Any:
    """Return a batch whose floating tensors are float64."""
    if isinstance(batch, Tensor):
        return batch.double() if batch.is_floating_point() else batch
    if isinstance(batch, Mapping) and not hasattr(batch, "apply"):
        return {name: doubled(value) for name, value in batch.items()}
    return batch.apply(doubled) if hasattr(batch, "apply") else batch


def forward(own: OwnInputs, model: nn.Module, samples: Sequence[Any]) -> Forward:
    """Run a forward pass of these samples and copy what leaf modules return."""
    batch = own.collate(samples)
    batch = doubled(batch) if own.precision == "float64" else batch
    notes: dict[Key, tuple[int, Tensor]] = {}
    runs: dict[str, int] = {}
    given: dict[str, set[int]] = {}

    def before(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any) -> None:
            given[name] = {id(tensor) for tensor in _graph_parts(args)}

        return note

    def after(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            run = runs[name] = runs.get(name, -1) + 1
            found = [(path, t) for path, t in tensors_of(output) if id(t) not in given[name]]
            for rank, (path, tensor) in enumerate(found):
                many = len(found) > 1 and bool(given[name])
                notes[name, run, path] = rank + many, tensor.detach().clone()

        return note

    handles = [
        hook
        for name, module in leaves(model).items()
        for hook in (
            module.register_forward_pre_hook(before(name)),
            module.register_forward_hook(after(name)),
        )
    ]
    try:
        with torch.set_grad_enabled(own.gradients):
            own.call(model, copy.copy(batch))
    finally:
        for handle in handles:
            handle.remove()
    return Forward(batch, len(samples), notes)


def _graph_parts(args: Any) -> Iterator[Tensor]:
    """Yield the tensors of a mapping that is a module's only argument and may be part of what it returns."""
    if len(args) == 1 and isinstance(args[0], Mapping):
        yield from (tensor for _, tensor in tensors_of(args[0]))


def readings(own: OwnInputs, trials: Sequence[Forward], twice: Forward) -> list[Reading]:
    """Return the floating tensors of leaf modules whose shapes depend on the samples, from several passes."""
    found = []
    for key, (rank, tensor) in trials[0].notes.items():
        if tensor.is_floating_point() and all(key in trial.notes for trial in (*trials, twice)):
            shapes = [tuple(trial.notes[key][1].shape) for trial in trials]
            grows = tuple(twice.notes[key][1].shape) != shapes[-1]
            if grows and len({*map(len, shapes)}) == 1 and (place := _place(own, trials, shapes)):
                found.append(Reading(key, label(key, rank), place))
    return found


def _place(own: OwnInputs, trials: Sequence[Forward], shapes: list[tuple[int, ...]]) -> Place | None:
    def where(sizes: list[int]) -> list[int]:
        return [a for a in range(len(shapes[0])) if [shape[a] for shape in shapes] == sizes]

    for name in own.indices:
        if axes := where([len(trial.batch[name]) for trial in trials]):
            return Place(axes[0], index=name)
    per = [trial.rows for trial in trials]
    for axis, size in enumerate(shapes[0]):
        rows = size // per[0]
        if rows and [shape[axis] for shape in shapes] == [rows * count for count in per]:
            masked = [
                (name, a) for name in own.masks for a in where([t.batch[name].shape[1] for t in trials])
            ]
            masked = [(name, a) for name, a in masked if a != axis]
            changing = [
                a for a in range(len(shapes[0])) if a != axis and len({shape[a] for shape in shapes}) > 1
            ]
            if len(changing) > 1 or (changing and not masked):
                return Place(axis, rows, several=True)
            return Place(axis, rows, *masked[0]) if changing else Place(axis, rows)
    return Place(0, several=True) if len(set(shapes)) > 1 else None


def values(reading: Reading, trial: Forward) -> list[Tensor]:
    """Return (sample, *unit) values, pooled by mean. Rows of a sample may be consecutive or interleaved."""
    place, tensor = reading.place, trial.notes[reading.key][1]
    rows = tensor.movedim(place.axis, 0)
    if place.index:
        index, units = trial.batch[place.index], rows.shape[1:]
        sums = rows.new_zeros(trial.rows, *units).index_add(0, index, rows)
        counts = index.bincount(minlength=trial.rows).view(-1, *(1 for _ in units))
        found = sums / counts.to(sums.dtype)
        return [found if units else found[:, None]]
    if place.mask:
        rows = tensor.movedim((place.axis, place.entries), (0, 1))
        mask = trial.batch[place.mask].bool()
        return [torch.stack([row[entries].mean(0) for row, entries in zip(rows, mask, strict=True)])]
    if place.rows == 1:
        return [rows]
    return [rows.unflatten(0, (-1, place.rows)), rows.unflatten(0, (place.rows, -1)).transpose(0, 1)]
