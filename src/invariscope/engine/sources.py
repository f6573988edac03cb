"""Samples, from whatever a person has: arrays, pairs, datasets, loaders, iterables of batches."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.engine.labels import Labelling, is_pair, one_target, refuse_listed_pair

WINDOW_SAMPLES = 2048
WINDOW_BYTES = 64 << 20


@dataclass(frozen=True)
class Window:
    """Some samples in order: inputs (sample, ...), labels (sample,) or None, positions in the data."""

    inputs: Tensor
    labels: Tensor | None
    indices: np.ndarray


class Source(abc.ABC):
    """A finite sequence of samples that can be walked once, in order, in bounded memory."""

    name: str = "data"
    labelling: Labelling

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names, if there are any."""
        return self.labelling.classes

    @property
    @abc.abstractmethod
    def length(self) -> int | None:
        """Number of samples, if known beforehand."""

    @property
    @abc.abstractmethod
    def labels(self) -> Tensor | None:
        """All labels, if known beforehand."""

    @abc.abstractmethod
    def windows(self) -> Iterator[Window]:
        """The samples, in order."""


@dataclass
class ArraySource(Source):
    """Samples that lie in memory."""

    inputs: Tensor
    targets: Tensor | None
    indices: np.ndarray
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def labels(self) -> Tensor | None:
        """All labels."""
        return self.targets

    def windows(self) -> Iterator[Window]:
        """Everything at once: views cost nothing."""
        yield Window(self.inputs, self.targets, self.indices)


@dataclass
class StreamSource(Source):
    """Samples that come in batches and are not kept."""

    batches: Iterable[Any]
    count: int | None = None
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)

    @property
    def length(self) -> int | None:
        """Number of samples, if the iterable knows it."""
        return self.count

    @property
    def labels(self) -> None:
        """Not known beforehand."""
        return None

    def windows(self) -> Iterator[Window]:
        """Batches gathered to windows of a bounded size."""
        held: list[tuple[Tensor, Tensor | None]] = []
        seen = 0
        for batch in self.batches:
            held.append(_pair(batch, self.labelling))
            rows, size = sum(len(x) for x, _ in held), sum(x.nbytes for x, _ in held)
            if rows >= WINDOW_SAMPLES or size >= WINDOW_BYTES:
                yield _window(held, seen)
                held, seen = [], seen + rows
        if held:
            yield _window(held, seen)


def _window(held: list[tuple[Tensor, Tensor | None]], first: int) -> Window:
    shapes = sorted({tuple(x.shape[1:]) for x, _ in held})
    if len(shapes) > 1:
        raise ValueError(
            f"batches hold inputs of different shapes, {shapes[0]} and {shapes[-1]}; resize them to one. "
            "Inputs and their targets go in a tuple: (inputs, targets)"
        )
    inputs = torch.cat([x for x, _ in held])
    labels = None if held[0][1] is None else torch.cat([y for _, y in held if y is not None])
    return Window(inputs, labels, np.arange(first, first + len(inputs)))


def refuse_second_walk(source: Source, why: str) -> None:
    """Raises a ValueError if the data can be walked only once."""
    source = getattr(source, "whole", source)
    if isinstance(source, StreamSource) and iter(source.batches) is source.batches:
        raise ValueError(f"{why}; give an array, a Dataset or a DataLoader, not an iterator")


VARIANCE = "a variance across samples needs at least two; an interval, 64"


def as_source(data: Any, *, samples: int | None = None, seed: int = 0, few: str = VARIANCE) -> Source:
    """A source over whatever was given, or over a seeded subset of it.

    Args:
        data: see `iv.measure`.
        samples, seed: of the subset.
        few: what one sample is too few for.

    Raises:
        ValueError: no data, fewer than two samples, labels of another length.
        TypeError: nothing that could be read as samples.
    """
    source = data if isinstance(data, Source) else _whole_source(data)
    if source.length is not None and source.length < 2:
        shape = f" of shape {tuple(source.inputs.shape[1:])}" if isinstance(source, ArraySource) else ""
        raise ValueError(
            f"got {source.length} sample{shape}: {few}. Samples are counted along the first axis; if it is "
            "missing, stack several inputs: torch.stack([x0, x1, ...])."
        )
    return source if samples is None else _subset(source, samples, seed)


def _whole_source(data: Any) -> Source:
    if hasattr(data, "images") and hasattr(data, "labels"):
        source = _array_source(data.images, data.labels, Labelling.of(data))
        source.name = getattr(data, "name", "data")
        return source
    if isinstance(data, (Tensor, np.ndarray)):
        return _array_source(data, None)
    if is_pair(data):
        return _array_source(*data)
    if isinstance(data, torch.utils.data.DataLoader):
        return StreamSource(data, _loader_length(data), type(data.dataset).__name__, Labelling.of(data))
    if isinstance(data, torch.utils.data.IterableDataset):
        items = (_batched(item) for item in data)
        return StreamSource(items, name=type(data).__name__, labelling=Labelling.of(data))
    if isinstance(data, torch.utils.data.Dataset):
        return _dataset_source(data)
    refuse_listed_pair(data)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        return StreamSource(data, labelling=Labelling.of(data))
    raise TypeError(
        "data must be an array or tensor (sample, ...), a pair (inputs, labels), a Dataset, a DataLoader, "
        f"or an iterable of batches; got {type(data).__name__}"
    )


def _array_source(inputs: Any, labels: Any, labelling: Labelling | None = None) -> ArraySource:
    inputs, labelling = _tensor(inputs), labelling or Labelling()
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError(f"the data are empty (shape {tuple(inputs.shape)}); give at least two samples")
    targets = labelling.read(labels, len(inputs), whole=True)
    return ArraySource(inputs, targets, np.arange(len(inputs)), labelling=labelling)


def _dataset_source(data: Any) -> StreamSource:
    if not isinstance(data, Sized):
        raise TypeError(f"the {type(data).__name__} has no length; wrap it in a DataLoader")
    length = len(data)
    if length == 0:
        raise ValueError(f"the {type(data).__name__} is empty; give at least two samples")
    return StreamSource(_Items(data, length), length, type(data).__name__, Labelling.of(data))


def _loader_length(loader: Any) -> int | None:
    if isinstance(loader.dataset, torch.utils.data.IterableDataset) or loader.drop_last:
        return None
    return len(loader.sampler) if loader.batch_sampler is None or hasattr(loader.sampler, "__len__") else None


@dataclass(frozen=True)
class _Items:
    """The items of a map-style dataset as batches of one, as often as they are asked for."""

    items: Any
    length: int
    order: np.ndarray | None = None

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.length) if self.order is None else self.order.tolist():
            yield _batched(self.items[index])

    def in_order(self, order: np.ndarray) -> _Items:
        """The same items, read in another order."""
        return replace(self, order=order)


def _batched(item: Any) -> Any:
    """One item of a dataset as a batch of one."""
    if not isinstance(item, (tuple, list)):
        return _tensor(item)[None]
    inputs = _tensor(next(iter(item)))[None]
    return (inputs, one_target(item[1])) if len(item) > 1 else inputs


def _pair(batch: Any, labelling: Labelling) -> tuple[Tensor, Tensor | None]:
    """Inputs and their labels, if these are labels."""
    first, *others = batch if isinstance(batch, (tuple, list)) and len(batch) else [batch]
    inputs = _tensor(first)
    return inputs, labelling.read(others[0] if others else None, len(inputs))


def _tensor(values: Any) -> Tensor:
    if isinstance(values, (Tensor, np.ndarray)):
        return torch.as_tensor(values)
    raise TypeError(f"inputs must be tensors or arrays, got {type(values).__name__}; convert them first")


def _subset(source: Source, samples: int, seed: int) -> ArraySource:
    """`samples` of the samples, the same for the same seed, in their order."""
    generator = np.random.default_rng((seed, 0x5EED))
    if isinstance(source, ArraySource):
        if samples > source.length:
            raise ValueError(f"samples={samples}, but there are only {source.length}")
        chosen = np.sort(generator.permutation(source.length)[:samples])
        picked = torch.from_numpy(chosen)
        labels = None if source.targets is None else source.targets[picked]
        return ArraySource(source.inputs[picked], labels, chosen, source.name, source.labelling)
    return _picked(source, samples, generator) if source.length else _reservoir(source, samples, generator)


def _picked(source: Source, samples: int, generator: np.random.Generator) -> ArraySource:
    """The same subset of a stream of known length as of the array it would be."""
    assert source.length is not None
    if samples > source.length:
        raise ValueError(f"samples={samples}, but there are only {source.length}")
    chosen = np.sort(generator.permutation(source.length)[:samples])
    rows = []
    for window in source.windows():
        mine = torch.from_numpy(np.flatnonzero(np.isin(window.indices, chosen)))
        rows.append((window.inputs[mine], None if window.labels is None else window.labels[mine]))
    inputs = torch.cat([x for x, _ in rows])
    labels = None if rows[0][1] is None else torch.cat([y for _, y in rows if y is not None])
    return ArraySource(inputs, labels, chosen, source.name, source.labelling)


def _reservoir(source: Source, samples: int, generator: np.random.Generator) -> ArraySource:
    """A uniform subset of a stream of unknown length, in its order (reservoir sampling)."""
    held: dict[int, tuple[int, Tensor, Tensor | None]] = {}
    for window in source.windows():
        for row, index in enumerate(window.indices.tolist()):
            slot = index if index < samples else int(generator.integers(index + 1))
            if slot < samples:
                label = None if window.labels is None else window.labels[row]
                held[slot] = (index, window.inputs[row].clone(), label)
    if len(held) < samples:
        raise ValueError(f"samples={samples}, but there are only {len(held)}")
    rows = sorted(held.values(), key=lambda row: row[0])
    labels = None if rows[0][2] is None else torch.stack([label for *_, label in rows if label is not None])
    indices = np.array([index for index, *_ in rows])
    inputs = torch.stack([x for _, x, _ in rows])
    return ArraySource(inputs, labels, indices, source.name, source.labelling)


class Fingerprint:
    """A digest of the samples as they pass by, so that two results can be known to share them."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=12)

    def add(self, window: Window) -> None:
        """Counts a window's inputs and labels in."""
        for values in (window.inputs, window.labels):
            if values is not None:
                array = values.detach().cpu().contiguous()
                array = array.view(torch.uint8) if array.dtype == torch.bfloat16 else array
                self._hash.update(array.numpy().data)

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()
