"""Recognise the supported forms of data: arrays, pairs, datasets, loaders, iterables of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from invariscope.common.samples import Inputs, as_samples, is_structured, joined_inputs
from invariscope.data.arrays import as_tensor, is_array
from invariscope.data.collating import with_labels
from invariscope.data.files.held import Texts
from invariscope.data.image_set import ImageSet
from invariscope.data.labels import Labelling, is_pair, one_target, refuse_listed_pair
from invariscope.data.structured import (
    Structured,
    is_sample,
    joined_labels,
    refuse_field,
    rows_of,
    split_item,
    split_listed,
    structured,
)

Batch = tuple[Inputs, Tensor | None]

_IMAGES = 4  # axes of a batch of images


@dataclass(frozen=True)
class Form:
    """Data in one of three forms: tensors in memory, the items of a dataset, or batches.

    Args:
        inputs, targets: (sample, ...) tensors in memory, and their labels.
        items: a map-style dataset.
        batches: an iterable of batches.
        count: number of samples in the batches, if known.
        field: name of the field of structured samples that holds the label, if given.
        collate: function that makes a batch from structured samples, if the data provide one.
        note: remark on the data for the result.
    """

    inputs: Inputs | None = None
    targets: Tensor | None = None
    items: Any = None
    batches: Iterable[Any] | None = None
    count: int | None = None
    name: str = "data"
    labelling: Labelling = field(default_factory=Labelling)
    field: Any = None
    collate: Callable[[Any], Any] | None = None
    note: str = ""

    @property
    def length(self) -> int | None:
        """Number of samples, if known."""
        if self.batches is not None:
            return self.count
        return len(self.items if self.inputs is None else self.inputs)


def form_of(data: Any, labels: Any = None, *, tensors: bool = False) -> Form:
    """Return the form of the given data.

    Args:
        data: see `iv.measure`.
        labels: the labels, or the name of the field that holds them.
        tensors: whether images of files are wanted as tensors.
    Raises:
        ValueError: no data, or labels of a different length.
        TypeError: data that cannot be read as samples.
    """
    _refuse_distributed_sampler(data)
    if isinstance(data, str | Path):
        data = _read(data, labels)
    labelling, name = Labelling.of(data), _name_of(data)
    if isinstance(data, ImageSet):
        return _of_images(data, labelling, tensors=tensors)
    if labels is not None and not isinstance(labels, str):
        return _labelled(data, labels)
    if _is_labelled_list(data):
        return _labelled(*data)
    if (found := structured(data)) is not None:
        return _of_structured(found, labels, labelling, name)
    refuse_field(labels, "not structured samples")
    if hasattr(data, "images") and hasattr(data, "labels"):
        found = _arrays(data.images, data.labels, labelling)
        return replace(found, name=getattr(data, "name", "data"), note=getattr(data, "note", ""))
    if is_array(data):
        return _arrays(data, None)
    if is_pair(data):
        return _arrays(*data)
    if isinstance(data, torch.utils.data.TensorDataset):
        inputs, *targets = data.tensors
        return replace(_arrays(inputs, targets[0] if targets else None), name=name)
    if isinstance(data, torch.utils.data.DataLoader):
        count = _loader_length(data)
        return Form(batches=data, count=count, name=type(data.dataset).__name__, labelling=labelling)
    if isinstance(data, torch.utils.data.IterableDataset):
        return Form(batches=(batched(item) for item in data), name=name, labelling=labelling)
    if isinstance(data, torch.utils.data.Dataset):
        return _dataset(data, labelling)
    refuse_listed_pair(data)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        return Form(batches=data, labelling=labelling)
    if isinstance(data, Sized) and hasattr(data, "__getitem__") and not isinstance(data, Iterable):
        return _dataset(data, labelling)
    raise TypeError(
        "data must be an array, a tensor or a table (sample, ...), a tuple (inputs, labels), a Dataset, a "
        f"DataLoader or an iterable of batches; got {type(data).__name__}"
    )


def _name_of(data: Any) -> str:
    return data.name if isinstance(data, Texts) else type(data).__name__


def _read(path: str | Path, labels: Any) -> Any:
    from invariscope.data.files.reading import read_data

    return read_data(path, labels=labels if isinstance(labels, str) else None)


def _of_images(data: ImageSet, labelling: Labelling, *, tensors: bool) -> Form:
    if len(data) == 0:
        raise ValueError(f"{data.name} is empty; give at least two images")
    data = data.as_tensors() if tensors else data
    return Form(items=data, name=data.name, labelling=labelling, note=data.note)


def _refuse_distributed_sampler(data: Any) -> None:
    """Raise ValueError for a loader that gives each process some samples, a few of them to two processes."""
    if isinstance(data, torch.utils.data.DataLoader) and isinstance(data.sampler, DistributedSampler):
        raise ValueError(
            "the loader's DistributedSampler repeats samples, so that all processes get the same number: "
            "pass the loader's `.dataset`, whose samples are divided among the processes without repeats"
        )


def _is_labelled_list(data: Any) -> bool:
    if not isinstance(data, tuple) or len(data) != 2 or isinstance(data[1], Mapping | str):
        return False
    samples = data[0]
    listed = isinstance(samples, list) and len(samples) > 0 and is_sample(samples[0])
    return listed or (isinstance(samples, Mapping) and len(samples) > 0)


def _is_labelled_batch(batch: Any) -> bool:
    """Return whether a stream's batch is (samples, labels), including batches collated by a loader."""
    if not isinstance(batch, tuple | list):
        return False
    if _is_labelled_list(tuple(batch)):
        return True
    words = len(batch) == 2 and isinstance(batch[0], tuple) and all(isinstance(x, str) for x in batch[0])
    return words and isinstance(batch[1], Tensor) and len(batch[1]) == len(batch[0])


def _labelled(data: Any, labels: Any) -> Form:
    """Return the form of data in memory whose labels were passed separately."""
    form = form_of(data, None)
    if form.inputs is None:
        raise ValueError(
            "labels= can be an array only for data in memory; give the name of the field that holds the "
            "labels, labels='y', or let the dataset return (input, label)"
        )
    if form.targets is not None:
        raise ValueError("the data already include labels; give labels= or labelled data, not both")
    labelling = Labelling.of(data)
    return replace(form, targets=labelling.read(labels, len(form.inputs), whole=True), labelling=labelling)


def _of_structured(found: Structured, labels: Any, labelling: Labelling, name: str) -> Form:
    about = {
        "name": name,
        "labelling": labelling,
        "field": labels,
        "collate": with_labels(found.collate, found.items, labels),
    }
    if found.samples is None:
        return Form(items=found.items, **about)
    if not len(found.samples):
        raise ValueError("the data are empty; give at least two samples")
    inputs, targets = read(found.samples, labelling, labels)
    return Form(inputs, targets, **about)


def _arrays(inputs: Any, labels: Any = None, labelling: Labelling | None = None) -> Form:
    inputs, labelling = as_tensor(inputs, "inputs"), labelling or Labelling()
    if inputs.ndim == 0:
        raise ValueError("the data are a single number; give at least two samples, (sample, ...)")
    if len(inputs) == 0:
        raise ValueError(f"the data are empty (shape {tuple(inputs.shape)}); give at least two samples")
    return Form(inputs, labelling.read(labels, len(inputs), whole=True), labelling=labelling)


def _dataset(data: Any, labelling: Labelling) -> Form:
    name = type(data).__name__
    if not isinstance(data, Sized):
        raise TypeError(f"the {name} has no length; wrap it in a DataLoader")
    if len(data) == 0:
        raise ValueError(f"the {name} is empty; give at least two samples")
    return Form(items=data, name=name, labelling=labelling)


def _loader_length(loader: Any) -> int | None:
    if isinstance(loader.dataset, torch.utils.data.IterableDataset) or loader.drop_last:
        return None
    return len(loader.sampler) if loader.batch_sampler is None or hasattr(loader.sampler, "__len__") else None


def batched(item: Any, labels: Any = None) -> Any:
    """Return an item of a dataset as a batch of one sample."""
    if is_sample(item[0] if isinstance(item, tuple | list) and item else item):
        sample, target = split_item(item, labels)
        return as_samples([sample]), None if target is None else joined_labels([target])
    if not isinstance(item, (tuple, list)):
        return as_tensor(item, "inputs")[None]
    inputs = as_tensor(next(iter(item)), "inputs")[None]
    return (inputs, one_target(item[1])) if len(item) > 1 else inputs


def read(batch: Any, labelling: Labelling, labels: Any = None) -> Batch:
    """Return the inputs of a batch, and its targets if these are labels or numbers.

    Args:
        labels: name of the field of structured samples that holds the label.
    """
    if isinstance(batch, Mapping):
        batch = as_samples(rows_of(batch))
    elif _is_labelled_batch(batch):
        samples = as_samples(rows_of(batch[0]) if isinstance(batch[0], Mapping) else batch[0])
        return samples, labelling.read(batch[1], len(samples), whole=True)
    elif isinstance(batch, list) and batch and is_sample(batch[0]):
        batch = as_samples(batch)
    if is_structured(batch):
        split = [split_listed(sample, labels) for sample in batch]
        samples, targets = as_samples(sample for sample, _ in split), joined_labels([y for _, y in split])
        return samples, labelling.read(targets, len(samples), whole=True)
    first, *others = batch if isinstance(batch, (tuple, list)) and len(batch) else [batch]
    inputs = first if is_structured(first) else as_tensor(first, "inputs")
    return inputs, labelling.read(others[0] if others else None, len(inputs))


def joined(batches: list[Batch]) -> Batch:
    """Join the inputs and labels of several batches.

    Raises:
        ValueError: inputs of different shapes.
    """
    shapes = sorted({tuple(x.shape[1:]) for x, _ in batches})
    if len(shapes) > 1:
        raise ValueError(
            f"batches hold inputs of different shapes, {shapes[0]} and {shapes[-1]}; resize all inputs to "
            "one shape. If these are inputs and their targets, give them as a tuple: (inputs, targets). "
            "Give samples of different sizes as mappings, [{'x': x0}, {'x': x1}, ...], and use iv.On"
        )
    labels = [y for _, y in batches if y is not None]
    return joined_inputs([x for x, _ in batches]), torch.cat(labels) if labels else None


def channels_first(form: Form) -> Form:
    """Return the form with images (n, H, W, C) converted to (n, C, H, W); call it before computing keys.

    >>> channels_first(form_of(torch.zeros(2, 5, 4, 3))).inputs.shape
    torch.Size([2, 3, 5, 4])
    """
    if is_structured(form.inputs) or isinstance(form.items, ImageSet):
        return form
    if form.inputs is not None:
        return replace(form, inputs=_first(form.inputs).contiguous())
    if form.batches is not None:
        return replace(form, batches=_Moved(form.batches))
    return replace(form, items=_MovedItems(form.items))


def _first(inputs: Tensor) -> Tensor:
    return inputs.movedim(-1, 1) if inputs.ndim >= _IMAGES else inputs


def _moved(batch: Any) -> Any:
    if isinstance(batch, tuple | list) and len(batch):
        return (_first(as_tensor(batch[0], "inputs")), *batch[1:])
    return _first(as_tensor(batch, "inputs"))


@dataclass(frozen=True)
class _Moved:
    """Batches whose images have their channels moved to the front."""

    batches: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        return self if isinstance(self.batches, Iterator) else map(_moved, self.batches)

    def __next__(self) -> Any:
        return _moved(next(self.batches))  # type: ignore[call-overload]


@dataclass(frozen=True)
class _MovedItems:
    """The items of a dataset whose images have their channels moved to the front."""

    items: Any

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Any:
        item = self.items[position]
        if not isinstance(item, tuple | list):
            return _moved(batched(item))[0]
        inputs, *rest = item
        return (_moved(batched(inputs))[0], *rest)
