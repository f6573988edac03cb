"""Samples, from whatever a person has: arrays, pairs, datasets, loaders, iterables of batches."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.engine.order import (
    CONTENT,
    IDS,
    INDEX,
    Identities,
    Order,
    apart,
    arrival_groups,
    given_keys,
    pair_numbers,
    refuse_repeated_ids,
    tensor_keys,
)
from invariscope.engine.window import Window, window_of
from invariscope.statistics.pairs import partners

# What the entries of a list of labels may be.
_LABELS = (int, float, str, np.number)

WINDOW_SAMPLES = 2048
WINDOW_BYTES = 64 << 20


class Source(abc.ABC):
    """A finite sequence of samples that can be walked in bounded memory.

    Args:
        order: keys, ranks, pairs and groups, if they are known before the walk.
    """

    name: str = "data"
    classes: tuple[str, ...] | None = None
    order: Order | None = None

    @property
    @abc.abstractmethod
    def length(self) -> int | None:
        """Number of samples, if known beforehand."""

    @property
    def labels(self) -> Tensor | None:
        """All labels in the order of the walk, if known beforehand."""
        return None

    @abc.abstractmethod
    def windows(self) -> Iterator[Window]:
        """The samples, in the order of the walk."""

    @property
    def keys_by_position(self) -> np.ndarray | None:
        """(sample,) keys, in the order of the data; None: their indices."""
        return None if self.order is None else self.order.keys

    def walked(self) -> dict[str, str]:
        """What identifies the samples, and the order in which they are walked, for the provenance."""
        if self.order is None:
            return {"keys": INDEX, "order": "arrival"}
        return {"keys": self.order.kind, "order": self.order.name}


@dataclass
class ArraySource(Source):
    """Samples that lie in memory.

    Args:
        inputs: (row, ...) in the order of the data.
        targets: (row,) labels, or None.
        order: of the walk.
    """

    inputs: Tensor
    targets: Tensor | None
    order: Order  # type: ignore[override]
    name: str = "data"
    classes: tuple[str, ...] | None = None

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.order)

    @property
    def labels(self) -> Tensor | None:
        """All labels."""
        return None if self.targets is None else self.targets[torch.from_numpy(self.order.walk)]

    def windows(self) -> Iterator[Window]:
        """Everything at once; inputs are copied block by block."""
        yield window_of(self.inputs, self.labels, self.order, rows=self.order.walk)


@dataclass
class DatasetSource(Source):
    """The items of a map-style dataset, read in the order of the walk and not kept."""

    items: Any
    order: Order  # type: ignore[override]
    name: str = "data"
    names: dict[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The class names met so far, if labels are words."""
        return tuple(self.names) or None

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.order)

    def windows(self) -> Iterator[Window]:
        """Items gathered to windows of a bounded size, which end with a pair."""
        held = _Held()
        low = 0
        for rank, position in enumerate(self.order.walk.tolist()):
            held.add(_pair(_batched(self.items[position]), self.names))
            if held.full and self._ends_pair(rank):
                yield window_of(*held.taken(), self.order, low=low, high=rank + 1)
                held, low = _Held(), rank + 1
        if held.rows:
            yield window_of(*held.taken(), self.order, low=low)

    def _ends_pair(self, rank: int) -> bool:
        pairs = self.order.pairs
        return rank + 1 == len(pairs) or bool(pairs[rank] != pairs[rank + 1])


@dataclass
class StreamSource(Source):
    """Samples that come in batches, are walked as they come, and are not kept.

    Args:
        ids, clusters: (sample,) int64 in the order of arrival, if they were given.
    """

    batches: Iterable[Any]
    count: int | None = None
    name: str = "data"
    names: dict[str, int] = field(default_factory=dict)
    ids: np.ndarray | None = None
    clusters: np.ndarray | None = None
    seed: int = 0

    @property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The class names met so far, if labels are words."""
        return tuple(self.names) or None

    @property
    def length(self) -> int | None:
        """Number of samples, if the iterable knows it."""
        return self.count

    @property
    def keys_by_position(self) -> np.ndarray | None:
        """The ids, if they were given."""
        return self.ids

    def walked(self) -> dict[str, str]:
        """Samples of a stream are walked as they come."""
        return {"keys": INDEX if self.ids is None else IDS, "order": "arrival"}

    def windows(self) -> Iterator[Window]:
        """Batches gathered to windows of a bounded size; the last holds two samples or three at least."""
        held, first = _Held(), 0
        for batch in self.batches:
            held.add(_pair(batch, self.names))
            if held.full and held.rows > 3:
                # What follows may be a single sample, which then joins the pair before it.
                inputs, labels = held.taken()
                cut = (len(inputs) - 2) // 2 * 2
                yield self._window(inputs[:cut], None if labels is None else labels[:cut], first)
                held, first = _Held(), first + cut
                held.add((inputs[cut:], None if labels is None else labels[cut:]))
        if held.rows:
            yield self._window(*held.taken(), first)
            first += held.rows
        self._refuse_other_length(first)

    def _window(self, inputs: Tensor, labels: Tensor | None, first: int) -> Window:
        ranks = np.arange(first, first + len(inputs))
        clusters = self._given("clusters", ranks)
        pairs = first // 2 + pair_numbers(len(ranks))
        mates = apart(partners(len(ranks)), clusters)
        groups = arrival_groups(pairs, clusters, self.seed)
        ids = self._given("ids", ranks)
        keys = ranks if ids is None else ids
        return Window(inputs, labels, ranks, keys, pairs, mates, groups, clusters, first=first)

    def _given(self, name: str, ranks: np.ndarray) -> np.ndarray | None:
        given = getattr(self, name)
        if given is None:
            return None
        if ranks[-1] >= len(given):
            raise ValueError(f"{name} has {len(given)} entries, but the stream gave more samples")
        return given[ranks]

    def _refuse_other_length(self, samples: int) -> None:
        for name in ("ids", "clusters"):
            given = getattr(self, name)
            if given is not None and len(given) != samples:
                raise ValueError(f"{name} has {len(given)} entries, but the stream gave {samples} samples")


class _Held:
    """Batches that wait to become a window."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor | None]] = []
        self.rows = self.size = 0

    def add(self, batch: tuple[Tensor, Tensor | None]) -> None:
        """Keep a batch."""
        self.batches.append(batch)
        self.rows += len(batch[0])
        self.size += batch[0].nbytes

    @property
    def full(self) -> bool:
        """Whether that is enough for a window."""
        return self.rows >= WINDOW_SAMPLES or self.size >= WINDOW_BYTES

    def taken(self) -> tuple[Tensor, Tensor | None]:
        """All inputs and labels.

        Raises:
            ValueError: shapes differ, or some batches have labels and some have none.
        """
        shapes = sorted({tuple(x.shape[1:]) for x, _ in self.batches})
        if len(shapes) > 1:
            raise ValueError(
                f"batches hold inputs of different shapes, {shapes[0]} and {shapes[-1]}; resize them to one"
            )
        inputs = torch.cat([x for x, _ in self.batches])
        known = [y for _, y in self.batches if y is not None]
        labels = torch.cat(known) if known else None
        if labels is not None and len(labels) != len(inputs):
            raise ValueError("some batches come with labels and some without; give labels for all or none")
        return inputs, labels


def refuse_second_walk(source: Source, why: str) -> None:
    """Raises a ValueError if the data can be walked only once."""
    source = getattr(source, "whole", source)
    if isinstance(source, StreamSource) and iter(source.batches) is source.batches:
        raise ValueError(f"{why}; give an array, a Dataset or a DataLoader, not an iterator")


VARIANCE = "a variance across samples needs at least two; an interval, 64"


def as_source(
    data: Any,
    *,
    samples: int | None = None,
    seed: int = 0,
    ids: Any = None,
    clusters: Any = None,
    few: str = VARIANCE,
) -> Source:
    """A source over whatever was given, or over a seeded subset of it.

    Args:
        data: see `iv.measure`.
        samples: how many: those of the lowest rank, or the first of a stream.
        seed: of the ranks and groups.
        ids, clusters: see `iv.measure`.
        few: what one sample is too few for.

    Raises:
        ValueError: no data, fewer than two samples, labels of another length.
        TypeError: nothing that could be read as samples.
    """
    source = data if isinstance(data, Source) else _ordered(_whole_source(data), seed, ids, clusters)
    if source.length is not None and source.length < 2:
        shape = f" of shape {tuple(source.inputs.shape[1:])}" if isinstance(source, ArraySource) else ""
        raise ValueError(
            f"got {source.length} sample{shape}: {few}. Samples are counted along the first axis; if it is "
            "missing, stack several inputs: torch.stack([x0, x1, ...])."
        )
    return source if samples is None else _subset(source, samples, seed)


def held(source: Source, seed: int) -> ArraySource:
    """The samples of a source in memory, in the order of their walk."""
    windows = list(source.windows())
    labels = [window.labels for window in windows if window.labels is not None]
    inputs, known = torch.cat([window.inputs for window in windows]), torch.cat(labels) if labels else None
    order = source.order
    if order is None:
        clusters = [window.clusters for window in windows if window.clusters is not None]
        keys = np.concatenate([window.keys for window in windows])
        kind = source.walked()["keys"]
        order = Identities(keys, kind, np.concatenate(clusters) if clusters else None).arrived(seed)
    place = np.arange(len(order))
    order = replace(order, keys=order.keys[order.walk], walk=place)
    return ArraySource(inputs, known, order, source.name, source.classes)


@dataclass(frozen=True)
class _Whole:
    """Data whose samples are not identified yet: tensors in memory, or a map-style dataset."""

    inputs: Tensor | None
    targets: Tensor | None = None
    items: Any = None
    name: str = "data"
    classes: tuple[str, ...] | None = None

    @property
    def length(self) -> int:
        return len(self.items if self.inputs is None else self.inputs)


def _ordered(whole: _Whole | StreamSource, seed: int, ids: Any, clusters: Any) -> Source:
    """The source with who its samples are, and the order in which they are walked."""
    count = whole.length
    together = None if clusters is None else given_keys(clusters, count, name="clusters")
    named = None if ids is None else given_keys(ids, count, name="ids")
    if named is not None:
        refuse_repeated_ids(named)
    if isinstance(whole, StreamSource):
        return replace(whole, ids=named, clusters=together, seed=seed)
    if named is not None:
        known = Identities(named, IDS, together)
    elif whole.inputs is not None:
        known = Identities(tensor_keys(whole.inputs), CONTENT, together)
    else:
        known = Identities(np.arange(whole.length), INDEX, together)
    order = known.ranked(seed)
    if whole.inputs is None:
        return DatasetSource(whole.items, order, whole.name)
    return ArraySource(whole.inputs, whole.targets, order, whole.name, whole.classes)


def _whole_source(data: Any) -> _Whole | StreamSource:
    if hasattr(data, "images") and hasattr(data, "labels"):
        classes = tuple(getattr(data, "classes", ())) or None
        return replace(_arrays(data.images, data.labels), name=getattr(data, "name", "data"), classes=classes)
    if isinstance(data, (Tensor, np.ndarray)):
        return _arrays(data, None)
    if isinstance(data, tuple) and len(data) == 2 and _is_pair(*data):
        return _arrays(*data)
    if isinstance(data, torch.utils.data.DataLoader):
        return StreamSource(data, _loader_length(data), name=type(data.dataset).__name__)
    if isinstance(data, torch.utils.data.IterableDataset):
        return StreamSource((_batched(item) for item in data), name=type(data).__name__)
    if isinstance(data, torch.utils.data.Dataset):
        return _dataset(data)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        return StreamSource(data)
    raise TypeError(
        "data must be an array or tensor (sample, ...), a pair (inputs, labels), a Dataset, a DataLoader, "
        f"or an iterable of batches; got {type(data).__name__}"
    )


def _is_pair(inputs: Any, labels: Any) -> bool:
    """Whether two things are inputs and their labels, rather than two batches of inputs."""
    if hasattr(labels, "ndim") and hasattr(inputs, "ndim"):
        return labels.ndim != inputs.ndim or labels.ndim == 1
    return isinstance(labels, (list, tuple)) and all(isinstance(v, _LABELS) for v in labels)


def _arrays(inputs: Any, labels: Any) -> _Whole:
    inputs = _tensor(inputs)
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError(f"the data are empty (shape {tuple(inputs.shape)}); give at least two samples")
    targets, classes = _labels(labels)
    if targets is not None and len(targets) != len(inputs):
        raise ValueError(
            f"{len(inputs)} inputs came with {len(targets)} labels; give one label for each input"
        )
    return _Whole(inputs, targets, classes=classes)


def _dataset(data: Any) -> _Whole:
    if not isinstance(data, Sized):
        raise TypeError(f"the {type(data).__name__} has no length; wrap it in a DataLoader")
    if len(data) == 0:
        raise ValueError(f"the {type(data).__name__} is empty; give at least two samples")
    return _Whole(None, items=data, name=type(data).__name__)


def _loader_length(loader: Any) -> int | None:
    if isinstance(loader.dataset, torch.utils.data.IterableDataset) or loader.drop_last:
        return None
    return len(loader.sampler) if loader.batch_sampler is None or hasattr(loader.sampler, "__len__") else None


def _batched(item: Any) -> Any:
    """One item of a dataset as a batch of one."""
    if not isinstance(item, (tuple, list)):
        return _tensor(item)[None]
    inputs = _tensor(next(iter(item)))[None]
    return (inputs, [_plain(item[1])]) if len(item) > 1 else inputs


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label


def _pair(batch: Any, names: dict[str, int]) -> tuple[Tensor, Tensor | None]:
    """Inputs and class numbers; words are numbered in the order in which they are met."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        single = isinstance(batch, (tuple, list)) and len(batch) == 1
        return _tensor(next(iter(batch)) if single else batch), None
    inputs, (numbers, words) = _tensor(batch[0]), _labels(batch[1])
    assert numbers is not None
    if len(numbers) != len(inputs):
        raise ValueError(f"a batch of {len(inputs)} inputs came with {len(numbers)} labels")
    if words is not None:
        known = [names.setdefault(words[number], len(names)) for number in numbers.tolist()]
        numbers = torch.tensor(known)
    return inputs, numbers


def _tensor(values: Any) -> Tensor:
    if isinstance(values, (Tensor, np.ndarray)):
        return torch.as_tensor(values)
    raise TypeError(f"inputs must be tensors or arrays, got {type(values).__name__}; convert them first")


def _labels(labels: Any) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Class numbers, or numbers to be predicted; and the class names where the labels were words."""
    if labels is None:
        return None, None
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype == object and all(isinstance(label, str) for label in array.ravel()):
        array = array.astype(str)
    if array.dtype.kind in "US" and array.ndim == 1:
        names, numbers = np.unique(array, return_inverse=True)
        return torch.from_numpy(numbers), tuple(map(str, names))
    if array.dtype.kind == "f" and array.ndim == 1 and np.isfinite(array).all():
        return torch.from_numpy(array.copy()), None
    if array.dtype.kind not in "iub" or array.ndim != 1:
        raise ValueError(
            f"labels must be one whole number a sample, got {array.dtype} of shape {array.shape}"
        )
    return torch.from_numpy(array.astype(np.int64)), None


def _subset(source: Source, samples: int, seed: int) -> Source:
    """The samples of the lowest rank; of a stream the first, which are then kept in memory."""
    if source.length is not None and samples > source.length:
        raise ValueError(f"samples={samples}, but there are only {source.length}")
    if isinstance(source, ArraySource | DatasetSource):
        return replace(source, order=source.order.first(samples))
    assert isinstance(source, StreamSource)
    few = replace(source, batches=_few(source, samples), ids=_cut(source.ids, samples))
    found = held(replace(few, clusters=_cut(source.clusters, samples)), seed)
    if found.length < samples:
        raise ValueError(f"samples={samples}, but there are only {found.length}")
    return found


def _cut(array: np.ndarray | None, samples: int) -> np.ndarray | None:
    return None if array is None else array[:samples]


def _few(source: StreamSource, samples: int) -> Iterator[Any]:
    """The batches of the first few samples."""
    left = samples
    for batch in source.batches:
        inputs, labels = _pair(batch, source.names)
        yield inputs[:left] if labels is None else (inputs[:left], labels[:left])
        left -= len(inputs)
        if left <= 0:
            return
