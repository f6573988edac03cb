"""Sources that yield samples, from any supported form of data, in the order of the walk over them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import Inputs, is_structured, nbytes_of
from invariscope.data.forms import Batch, Form, batched, channels_first, form_of, joined, read
from invariscope.data.image_set import ImageSet
from invariscope.data.keys import identified
from invariscope.data.labels import Labelling
from invariscope.data.order import (
    IDS,
    INDEX,
    Identities,
    Order,
    arrival_groups,
    given_keys,
    pair_numbers,
    refuse_repeated_ids,
    without_own_cluster,
)
from invariscope.data.source import Source
from invariscope.data.window import Window, chosen_window, window_of
from invariscope.data.workers import delivered
from invariscope.statistics.pairs import partners

WINDOW_SAMPLES = 2048
WINDOW_BYTES = 64 << 20


class _OrderedSource(Source):
    """Samples whose order is known before the walk."""

    order: Order  # type: ignore[override]

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.order)

    @abc.abstractmethod
    def between(self, low: int, high: int) -> Iterator[Window]:
        """Yield the samples with ranks from `low` to before `high`, which are whole pairs."""

    @abc.abstractmethod
    def chosen(self, ranks: np.ndarray) -> Window:
        """Return a window of the samples with these ranks, ascending."""

    @abc.abstractmethod
    def read_labels(self) -> Tensor | None:
        """Return all labels in the order of the walk, which may take a pass over the data."""

    def windows(self) -> Iterator[Window]:
        """Yield all samples."""
        yield from self.between(0, len(self.order))


@dataclass
class ArraySource(_OrderedSource):
    """Samples in memory.

    Args:
        inputs: (row, ...) or (row,) samples, in the order of the data.
        targets: (row,) labels, or None.
        order: order of the walk.
    """

    inputs: Inputs
    targets: Tensor | None
    order: Order  # type: ignore[override]
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)
    collate: Callable[[Any], Any] | None = None

    @property
    def labels(self) -> Tensor | None:
        """All labels."""
        return None if self.targets is None else self.targets[torch.from_numpy(self.order.walk)]

    def between(self, low: int, high: int) -> Iterator[Window]:
        """Yield a single window; inputs are copied later, block by block."""
        labels, rows = self.labels, self.order.walk[low:high]
        labels = None if labels is None else labels[low:high]
        yield window_of(self.inputs, labels, self.order, low=low, high=high, rows=rows)

    def chosen(self, ranks: np.ndarray) -> Window:
        """Return a window of the samples with these ranks."""
        labels = None if self.labels is None else self.labels[torch.from_numpy(ranks)]
        return chosen_window(self.inputs, labels, self.order, ranks, rows=self.order.walk[ranks])

    def read_labels(self) -> Tensor | None:
        """Return all labels."""
        return self.labels


@dataclass
class DatasetSource(_OrderedSource):
    """The items of a map-style dataset, read in the order of the walk and not kept."""

    items: Any
    order: Order  # type: ignore[override]
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)
    label: Any = None
    collate: Callable[[Any], Any] | None = None

    def between(self, low: int, high: int) -> Iterator[Window]:
        """Yield items gathered into windows of bounded size, each of which ends with a complete pair."""
        waiting = _Waiting()
        for rank, position in enumerate(self.order.walk[low:high].tolist(), start=low):
            waiting.add(self._read(position))
            if waiting.full and self._ends_pair(rank):
                yield self._window(waiting, low, rank + 1)
                waiting, low = _Waiting(), rank + 1
        if waiting.rows:
            yield self._window(waiting, low, high)

    def chosen(self, ranks: np.ndarray) -> Window:
        """Return a window of the samples with these ranks."""
        batches = [self._read(position) for position in self.order.walk[ranks].tolist()]
        return chosen_window(*joined(batches), self.order, ranks)

    def read_labels(self) -> Tensor | None:
        """Return all labels, reading every item unless they are known without it."""
        if isinstance(self.items, ImageSet) and self.items.labels is not None:
            known = self.labelling.read(list(self.items.labels), len(self.items), whole=True)
            return None if known is None else known[torch.from_numpy(self.order.walk)]
        labels = [self._read(position)[1] for position in self.order.walk.tolist()]
        found = [label for label in labels if label is not None]
        return torch.cat(found) if found else None

    def _read(self, position: int) -> Batch:
        try:
            item = self.items[position]
        except IndexError as error:
            raise ValueError(
                f"sample {position} of {len(self.items)} of the {self.name} cannot be read: IndexError"
                f"{f': {error}' if str(error) else ''}. Let the dataset's `__len__` return the number of "
                "samples that it has, or fix its `__getitem__`"
            ) from error
        return read(batched(item, self.label), self.labelling)

    def _window(self, waiting: _Waiting, low: int, high: int) -> Window:
        found = window_of(*joined(waiting.batches), self.order, low=low, high=high)
        return replace(found, singly=True)

    def _ends_pair(self, rank: int) -> bool:
        pairs = self.order.pairs
        return rank + 1 == len(pairs) or bool(pairs[rank] != pairs[rank + 1])


@dataclass
class StreamSource(Source):
    """Samples that arrive in batches, are walked in order of arrival, and are not kept.

    Args:
        batches: an iterable of batches.
        count: number of samples, if known.
        ids, clusters: (sample,) int64 in the order of arrival, if they were given.
        seed: seed of the jackknife groups.
        limit: number of samples to take; None takes all.
    """

    batches: Iterable[Any]
    count: int | None = None
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)
    ids: np.ndarray | None = None
    clusters: np.ndarray | None = None
    seed: int = 0
    limit: int | None = None
    label: Any = None

    @property
    def length(self) -> int | None:
        """Number of samples, if known."""
        return self.count

    @property
    def keys_by_position(self) -> np.ndarray | None:
        """Ids, if they were given."""
        return self.ids

    def walked(self) -> dict[str, str]:
        """Return the kind of keys; a stream is always walked in order of arrival."""
        return {"keys": INDEX if self.ids is None else IDS, "order": "arrival"}

    def windows(self) -> Iterator[Window]:
        """Yield windows of bounded size that contain whole pairs; the last pair may have three samples."""
        waiting, first = _Waiting(), 0
        for batch in self._batches():
            waiting.add(batch)
            if waiting.full and waiting.rows > 3:
                # Keep two samples back, in case a single one follows, which then joins their pair.
                inputs, labels = joined(waiting.batches)
                cut = (len(inputs) - 2) // 2 * 2
                yield self._window(inputs[:cut], None if labels is None else labels[:cut], first)
                waiting, first = _Waiting(), first + cut
                waiting.add((inputs[cut:], None if labels is None else labels[cut:]))
        if waiting.rows:
            yield self._window(*joined(waiting.batches), first)
        self._refuse_other_length(first + waiting.rows)

    def _batches(self) -> Iterator[Batch]:
        left = self.limit
        for batch in delivered(self.batches):
            inputs, labels = read(batch, self.labelling, self.label)
            yield inputs[:left], None if labels is None else labels[:left]
            if left is not None and (left := left - len(inputs)) <= 0:
                return

    def _window(self, inputs: Tensor, labels: Tensor | None, first: int) -> Window:
        ranks = np.arange(first, first + len(inputs))
        ids, clusters = self._given("ids", ranks), self._given("clusters", ranks)
        pairs = first // 2 + pair_numbers(len(ranks))
        mates = without_own_cluster(partners(len(ranks)), clusters)
        groups = arrival_groups(pairs, clusters, self.seed)
        keys = ranks if ids is None else ids
        return Window(inputs, labels, ranks, keys, pairs, mates, groups, clusters, first=first)

    def _given(self, name: str, ranks: np.ndarray) -> np.ndarray | None:
        given = getattr(self, name)
        if given is None:
            return None
        if ranks[-1] >= len(given):
            raise ValueError(
                f"{name} has {len(given)} entries, but the stream yielded more samples; give one per sample"
            )
        return given[ranks]

    def _refuse_other_length(self, samples: int) -> None:
        for name in ("ids", "clusters"):
            given = getattr(self, name)
            if self.limit is None and given is not None and len(given) != samples:
                raise ValueError(
                    f"{name} has {len(given)} entries, but the stream yielded {samples} samples; give one "
                    "per sample"
                )


class _Waiting:
    """Batches collected for the next window."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.rows = self.size = 0

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        self.batches.append(batch)
        self.rows += len(batch[0])
        self.size += nbytes_of(batch[0])

    @property
    def full(self) -> bool:
        """Whether these batches fill a window."""
        return self.rows >= WINDOW_SAMPLES or self.size >= WINDOW_BYTES


def refuse_second_walk(source: Source, why: str) -> None:
    """Raise ValueError if the data can be walked only once."""
    source = getattr(source, "whole", source)
    if isinstance(source, StreamSource) and iter(source.batches) is source.batches:
        raise ValueError(f"{why}: pass an array, a Dataset or a DataLoader, not an iterator")


VARIANCE = "the variance across samples needs at least two, and intervals need 64"


def as_source(
    data: Any,
    *,
    samples: int | None = None,
    seed: int = 0,
    ids: Any = None,
    clusters: Any = None,
    few: str = VARIANCE,
    labels: Any = None,
    structured: bool = False,
    tensors: bool | None = None,
    channels_last: bool = False,
) -> Source:
    """Return a source for the given data, or for a seeded subset of them.

    Args:
        data: see `iv.measure`.
        samples: size of the subset: the samples of lowest rank, or the first of a stream.
        seed: seed of the ranks and groups.
        ids, clusters: see `iv.measure`.
        few: reason why one sample is too few, for the error.
        labels: see `iv.measure`.
        structured: whether the data may hold structured samples instead of one tensor.
        tensors: whether images of files become tensors, because nothing converts them after the transform;
            by default, unless the data may hold structured samples.
        channels_last: whether images are (n, H, W, C); the source yields them as (n, C, H, W).

    Raises:
        ValueError: no data, fewer than two samples, or labels of a different length.
        TypeError: data that cannot be read as samples.
    """
    if isinstance(data, Source):
        source = data
    else:
        form = form_of(data, labels, tensors=not structured if tensors is None else tensors)
        source = _ordered(channels_first(form) if channels_last else form, seed, ids, clusters)
        source.note = form.note
    if not structured and source is not data and _holds_samples(source):
        raise TypeError(
            "only iv.measure and the assertions accept structured samples (mappings, text, images, graphs); "
            "give one tensor of inputs here"
        )
    if source.length is not None and source.length < 2:
        raise _too_few(source, few)
    found = source if samples is None else _subset(source, samples, seed)
    found.note = note if isinstance(note := getattr(data, "note", ""), str) and note else source.note
    return found


def _too_few(source: Source, few: str) -> ValueError:
    if not isinstance(source, ArraySource) or is_structured(source.inputs):
        return ValueError(f"got {source.length} sample{'s' * (not source.length)}: {few}")
    return ValueError(
        f"got {source.length} sample of shape {tuple(source.inputs.shape[1:])}: {few}. Samples are counted "
        "along the first axis; if it is missing, stack several inputs: torch.stack([x0, x1, ...])."
    )


def _holds_samples(source: Source) -> bool:
    if isinstance(source, ArraySource):
        return is_structured(source.inputs)
    return isinstance(source, DatasetSource) and is_structured(batched(source.items[0]))


def _ordered(form: Form, seed: int, ids: Any, clusters: Any) -> Source:
    """Return the source of a form, with the keys and the order of its samples."""
    count, about = form.length, (form.name, form.labelling)
    together = None if clusters is None else given_keys(clusters, count, name="clusters")
    named = None if ids is None else given_keys(ids, count, name="ids")
    if named is not None:
        refuse_repeated_ids(named)
    if form.batches is not None:
        return StreamSource(form.batches, count, *about, named, together, seed, label=form.field)
    if named is not None:
        known = Identities(named, IDS, together)
    else:
        known = identified(form, together) or Identities(np.arange(len(form.items)), INDEX, together)
    order = known.ranked(seed)
    if form.inputs is None:
        return DatasetSource(form.items, order, *about, form.field, form.collate)
    return ArraySource(form.inputs, form.targets, order, *about, form.collate)


def held(source: Source, seed: int) -> ArraySource:
    """Return a source that holds the samples in memory, in the order of the walk."""
    windows = list(source.windows())
    if not windows:
        raise ValueError("the data are empty: the iterable yielded no batches; pass at least two samples")
    inputs, labels = joined([(window.inputs, window.labels) for window in windows])
    order = source.order
    if order is None:
        clusters = [window.clusters for window in windows if window.clusters is not None]
        keys, kind = np.concatenate([window.keys for window in windows]), source.walked()["keys"]
        order = Identities(keys, kind, np.concatenate(clusters) if clusters else None).arrived(seed)
    contents = None if order.contents is None else order.contents[order.walk]
    order = replace(order, keys=order.keys[order.walk], walk=np.arange(len(order)), contents=contents)
    return ArraySource(inputs, labels, order, source.name, source.labelling)


def _subset(source: Source, samples: int, seed: int) -> Source:
    """Take the samples of lowest rank or, from a stream, the first ones, which are then held in memory."""
    if source.length is not None and samples > source.length:
        raise ValueError(f"samples={samples}, but there are only {source.length} samples; lower samples=")
    if isinstance(source, ArraySource | DatasetSource):
        return replace(source, order=source.order.first(samples))
    assert isinstance(source, StreamSource)
    found = held(replace(source, limit=samples), seed)
    if found.length < samples:
        raise ValueError(f"samples={samples}, but there are only {found.length} samples; lower samples=")
    return found
