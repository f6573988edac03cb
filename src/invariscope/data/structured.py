"""Samples that are not rows of one tensor: mappings, text, images, graphs, molecules, and their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, Subset

from invariscope.common.samples import as_samples, field, is_image, with_fields, without_field
from invariscope.common.wording import listed
from invariscope.data.image_set import LabelledImage

_LABELS = ("labels", "label")


@dataclass(frozen=True, eq=False)
class Structured:
    """Structured samples, in one of three forms.

    Args:
        samples: (sample,) samples in memory.
        items: a map-style dataset of samples.
        batches: an iterable of batches of samples.
        collate: function that makes a batch from samples, if the data provide one.
    """

    samples: np.ndarray | None = None
    items: Any = None
    batches: Iterable[Any] | None = None
    collate: Callable[[Any], Any] | None = None


def structured(data: Any) -> Structured | None:
    """Return the structured samples in data; None if the data are tensors.

    Raises:
        ValueError: columns of different lengths.
    """
    if isinstance(data, Mapping):
        return Structured(as_samples(rows_of(data)))
    if isinstance(data, np.ndarray) and data.ndim == 1 and data.dtype.kind == "U":
        return Structured(as_samples(data.tolist()))
    graphs: Any = data
    if callable(getattr(data, "to_data_list", None)):  # a batch of PyTorch Geometric
        return Structured(as_samples(graphs.to_data_list()))
    if isinstance(data, torch.utils.data.DataLoader):
        return _of_loader(data)
    if _is_hugging_face(data):
        return Structured(items=data)
    if isinstance(data, torch.utils.data.IterableDataset):
        return None
    if isinstance(data, torch.utils.data.Dataset) or hasattr(data, "__getitem__"):
        return _of_sequence(data)
    return None


def _of_loader(loader: Any) -> Structured | None:
    """Return a loader's dataset and collate function, so that samples are transformed before collation."""
    data: Any = loader.dataset
    if isinstance(data, torch.utils.data.IterableDataset) or not hasattr(data, "__len__") or not len(data):
        return None
    if not is_sample(_input_of(data[0])):
        return None
    chosen = _chosen_by(loader)
    return Structured(items=data if chosen is None else Subset(data, chosen), collate=loader.collate_fn)


def _chosen_by(loader: Any) -> list[int] | None:
    """Return the sorted positions that a loader's own sampler selects; None if it selects all."""
    whole = type(loader.sampler) in (SequentialSampler, RandomSampler)
    if type(loader.batch_sampler) in (BatchSampler, type(None)):
        if whole and len(loader.sampler) == len(loader.dataset):
            return None
        walked: Any = loader.sampler
    else:
        walked = (place for batch in loader.batch_sampler for place in batch)
    with torch.random.fork_rng(devices=[]):  # samplers may draw from the global generator
        return sorted(map(int, walked))


def _of_sequence(data: Any) -> Structured | None:
    """Return a sequence of structured samples, in memory if it is a list; None for anything else."""
    if isinstance(data, str | bytes | Tensor) or not isinstance(data, Sized) or not len(data):
        return None
    sequence: Any = data
    try:
        first = sequence[0]
    except (KeyError, TypeError, IndexError):
        return None
    if isinstance(data, list) and (is_sample(first) or _are_signals(data)):
        return Structured(as_samples(data))
    if isinstance(data, list | tuple):
        return None
    return Structured(items=data) if is_sample(_input_of(first)) else None


def _are_signals(entries: list[Any]) -> bool:
    """Return whether a list holds signals, such as recordings of different lengths, rather than batches."""
    return len(entries) > 2 and all(
        isinstance(entry, Tensor | np.ndarray) and entry.ndim == 1 and "float" in str(entry.dtype)
        for entry in entries
    )


def _input_of(item: Any) -> Any:
    """Return the input of a dataset's item, which may be (input, target)."""
    return item[0] if isinstance(item, tuple | list) and len(item) else item


def is_sample(item: Any) -> bool:
    """Return whether an item is a structured sample rather than an array or a batch of arrays."""
    if isinstance(item, Tensor | np.ndarray | np.generic | bool | int | float | complex | type(None)):
        return False
    if isinstance(item, tuple):  # several inputs, such as an image and its text
        return len(item) > 0 and any(is_sample(part) for part in item)
    if isinstance(item, str | Mapping) or is_image(item):
        return True
    if isinstance(item, list | bytes) or hasattr(item, "__array__") or hasattr(item, "to_numpy"):
        return False
    return hasattr(item, "__dict__") or hasattr(item, "__slots__")


def _is_hugging_face(data: Any) -> bool:
    return hasattr(data, "column_names") and hasattr(data, "features") and hasattr(data, "__getitem__")


def rows_of(columns: Mapping[Any, Any]) -> Iterator[dict[Any, Any]]:
    """Yield samples from columns, each of which has one entry per sample.

    Raises:
        ValueError: no column, or columns of different lengths.
    """
    if not columns:
        raise ValueError("the data are an empty mapping; give {field: one entry per sample}")
    lengths = {name: len(column) for name, column in columns.items() if hasattr(column, "__len__")}
    if not lengths or len(lengths) < len(columns):
        single = [repr(name) for name in columns if name not in lengths]
        raise ValueError(
            f"every field of the data needs one entry per sample; these have no length: {listed(single)}"
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"fields of the data must have equal lengths; got {lengths}. A mapping is read as columns, with "
            "one entry per sample in each field; give single samples as a list, [{...}, {...}]"
        )
    for place in range(next(iter(lengths.values()))):
        yield {name: column[place] for name, column in columns.items()}


def split_item(item: Any, labels: Any) -> tuple[Any, Any]:
    """Return the sample and the label of a dataset's item, which may be (sample, label).

    A string paired with a mapping is its label; paired with anything else, it is a second input, such as a
    caption.
    """
    if isinstance(item, LabelledImage):
        return item.image, item.label
    mapping = isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Mapping)
    word = mapping and isinstance(item[1], str)
    if isinstance(item, tuple | list) and (word or not (isinstance(item, tuple) and is_sample(item[1:]))):
        sample, target = item[0], item[1] if len(item) > 1 else None
        return (sample, target) if target is not None else split_sample(sample, labels)
    return split_sample(item, labels)


def split_listed(item: Any, labels: Any) -> tuple[Any, Any]:
    """Return the sample and the label of a list's entry.

    A pair whose second entry can be a label is (sample, label); other tuples are samples with several inputs.
    """
    if isinstance(item, tuple) and len(item) == 2 and _is_label(item[0], item[1]):
        return split_item(item, labels)
    return split_sample(item, labels)


def _is_label(sample: Any, target: Any) -> bool:
    whole = isinstance(target, int | np.integer)
    return is_sample(sample) and (whole or (isinstance(target, str) and isinstance(sample, Mapping)))


def split_sample(sample: Any, labels: Any) -> tuple[Any, Any]:
    """Return a sample without its label, and the label.

    Args:
        labels: name of the field; None looks for "labels" or "label" in mappings.
    Raises:
        ValueError: there is no such field.
    """
    if labels is None:
        name = next((own for own in _LABELS if isinstance(sample, Mapping) and own in sample), None)
        return (sample, None) if name is None else (without_field(sample, name), sample[name])
    found = field(sample, labels)
    return without_field(sample, labels), found


def with_label(sample: Any, like: Any, labels: Any) -> Any:
    """Return an item that combines this sample with the label of another item, in the form of that item."""
    if isinstance(like, tuple | list):
        return type(like)((sample, *like[1:]))
    _, label = split_sample(like, labels)
    name = labels or next(own for own in _LABELS if own in like)
    return with_fields(sample, {name: label})


def joined_labels(labels: Sequence[Any]) -> Any:
    """Return labels of single samples as the labels of a batch; None if there are none.

    Labels that are single numbers become one array; other labels stay a list.
    """
    if all(label is None for label in labels):
        return None
    arrays = all(isinstance(label, Tensor | np.ndarray) for label in labels)
    if arrays and all(int(np.prod(label.shape)) == 1 for label in labels):
        return np.array([label.item() for label in labels])
    return list(labels)


def refuse_field(labels: Any, what: str) -> None:
    """Raise ValueError if labels name a field of data that have no fields."""
    if isinstance(labels, str):
        raise ValueError(f"labels={labels!r} names a field, but the data are {what}; give an array of labels")
