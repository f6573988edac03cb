"""Turn rows of samples into a model's batch, and call the model on it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.default_device import as_the_caller
from invariscope.common.pixels import same_channels
from invariscope.common.registry import closest
from invariscope.common.samples import Inputs, copied, is_image, is_structured, kind_of, leaves
from invariscope.common.wording import listed

TRUNCATED = (
    "the tokenizer in preprocess= truncated texts: elements that change only what was cut off have no effect"
)


@dataclass(frozen=True)
class Feeding:
    """How rows of samples become a batch, and how a model is called on it.

    Args:
        preprocess: (transformed samples) -> batch. It takes a tensor if the data are a tensor, otherwise a
            list of samples. None stacks samples of the same shape.
        call: (model, batch) -> output. None passes a mapping as keywords, a tuple or list as positional
            arguments, and anything else as the only argument.
        remarks: list to which notes on results are added, each once.
    """

    preprocess: Callable[[Any], Any] | None = None
    call: Callable[[Any, Any], Any] | None = None
    remarks: list[str] = field(default_factory=list)

    def batch(self, rows: Inputs) -> Any:
        """Return the batch made from these samples, as it is passed to the model.

        Raises:
            ValueError: `preprocess` fails or returns the wrong number of rows, or samples differ in shape.
            TypeError: samples cannot be stacked without `preprocess`, or `preprocess` returns None.
        """
        if self.preprocess is None:
            return stacked(list(rows)) if is_structured(rows) else rows
        # Rows may share fields that no transform changes, and preprocess may work in place.
        given = [copied(row) for row in rows] if is_structured(rows) else rows.clone()
        try:
            with as_the_caller():
                found = _called(self.preprocess, given)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ValueError(
                f"preprocess failed on {len(rows)} samples ({_shown(rows)}) with {type(error).__name__}: "
                f"{error}{_of_labels(error)}"
            ) from error
        if found is None:
            raise TypeError("preprocess must return the batch that the model takes; it returned None")
        _refuse_other_number(found, len(rows))
        if _truncated(found) and TRUNCATED not in self.remarks:
            self.remarks.append(TRUNCATED)
        return found

    def run(self, model: Any, batch: Any) -> Any:
        """Return the model's output for a batch."""
        if self.call is not None:
            return self.call(model, batch)
        if isinstance(batch, Mapping):
            try:
                return model(**batch)
            except TypeError as error:
                if wrong := _wrong_fields(model, batch):
                    raise TypeError(f"{error}. {wrong}") from error
                raise
        return model(*batch) if type(batch) in (tuple, list) else model(batch)


def _wrong_fields(model: Any, batch: Mapping[Any, Any]) -> str:
    """Return a sentence about fields that the model does not accept; "" if it accepts all of them."""
    try:
        parameters = inspect.signature(getattr(model, "forward", model)).parameters.values()
    except (TypeError, ValueError):  # some callables in C have no signature
        return ""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    accepted = [p.name for p in parameters if p.kind in named]
    wrong = [str(name) for name in batch if name not in accepted]
    if not wrong or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return ""
    near = closest(wrong[0], [name for name in accepted if name not in batch])
    hint = f". Closest to {wrong[0]!r}: {', '.join(map(repr, near))}" if near else ""
    takes = ", ".join(map(repr, accepted)) or "no arguments"
    return f"The model takes {takes}; the batch also has {', '.join(map(repr, wrong))}{hint}"


def _truncated(batch: Any) -> bool:
    """Return whether a fast Hugging Face tokenizer truncated a text; slow tokenizers do not report this."""
    encodings = getattr(batch, "encodings", None) if isinstance(batch, Mapping) else None
    return any(getattr(encoding, "overflowing", None) for encoding in encodings or ())


def _called(preprocess: Callable[[Any], Any], given: Any) -> Any:
    """Call `preprocess` on all samples, or on one at a time if it is a `Compose` of image transforms."""
    single = type(preprocess).__name__ == "Compose" and hasattr(preprocess, "transforms")
    return stacked([preprocess(sample) for sample in given]) if single else preprocess(given)


def _of_labels(error: Exception) -> str:
    """Return advice if `preprocess` failed because it expected labels."""
    missed = isinstance(error, KeyError | AttributeError) and "label" in str(error)
    advice = (
        ". Labels are removed from the samples before preprocess= or the collate_fn of a loader is called: "
        "pass a preprocess= that needs no labels"
    )
    return advice if missed else ""


def _shown(rows: Inputs) -> str:
    return kind_of(rows[0]) if is_structured(rows) else f"shape {tuple(rows.shape[1:])}"


def _refuse_other_number(batch: Any, rows: int) -> None:
    """Raise ValueError if all tensors of a batch share a length that is not the number of samples.

    A batch may have any length if one of its fields is an index that maps rows to samples.
    """
    if not isinstance(batch, Tensor | Mapping | tuple | list):
        return
    tensors = [tensor for tensor in tensors_of(batch) if tensor.ndim]
    indexed = any(_is_index(tensor, rows) for tensor in tensors)
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) == 1 and rows not in lengths and not indexed:
        found = lengths.pop()
        entries = ""
        if isinstance(batch, list | tuple) and len(batch) == rows:
            kind = type(batch).__name__
            entries = f". Entries of a {kind} are arguments of the model: collate the samples into one batch"
        raise ValueError(
            f"preprocess returned {found} row{'s' * (found != 1)} for {rows} samples; it must return one row "
            f"per sample{entries}"
        )


def _is_index(tensor: Tensor, rows: int) -> bool:
    """Return whether a tensor is a sorted index that assigns each row to a sample."""
    if tensor.ndim != 1 or tensor.is_floating_point() or not len(tensor):
        return False
    return int(tensor[-1]) == rows - 1 and not bool((tensor[1:] < tensor[:-1]).any())


def stacked(samples: list[Any]) -> Any:
    """Stack samples of the same shape into a batch; mappings and tuples are stacked part by part.

    Images become tensors (sample, channel, row, column) with values from 0 to 1.

    Raises:
        ValueError: parts of different shapes, or samples with different fields.
        TypeError: samples that are not arrays, such as text.
    """
    return _stacked(samples, "samples")


def _stacked(samples: list[Any], what: str) -> Any:
    first = samples[0]
    if isinstance(first, Tensor | np.ndarray):
        return _stacked_arrays([torch.as_tensor(sample) for sample in samples], what)
    if all(map(is_image, samples)):
        return _stacked_arrays(same_channels(samples), what)
    if isinstance(first, bool | int | float | np.number):
        return torch.tensor(samples)
    if isinstance(first, Mapping):
        refuse_other_fields(samples)
        return {name: _stacked([s[name] for s in samples], f"field {name!r}") for name in first}
    if isinstance(first, tuple):
        return tuple(_stacked(list(part), f"part {k}") for k, part in enumerate(zip(*samples, strict=True)))
    if isinstance(first, list) and all(isinstance(entry, int | float) for entry in first):
        return _stacked_arrays([torch.tensor(sample) for sample in samples], what)
    if type(first).__module__.startswith("torch_geometric."):
        from torch_geometric.data import Batch  # type: ignore[import-not-found]

        return Batch.from_data_list(samples)
    raise TypeError(
        f"{what} of type {kind_of(first)} cannot be stacked into a batch. Pass preprocess= (--preprocess "
        "file.py:function on the command line), a function from a list of samples to the batch that the "
        f"model takes{_example(first, whole=what == 'samples')}"
    )


def _example(sample: Any, *, whole: bool) -> str:
    """Return an example of a preprocess= for texts; "" for other samples, and for parts of them."""
    if whole and isinstance(sample, str):
        return ", such as preprocess=lambda texts: tokenizer(texts, return_tensors='pt', padding=True)"
    return ""


def _stacked_arrays(tensors: list[Tensor], what: str) -> Tensor:
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        verb = "have" if what == "samples" else "has"
        raise ValueError(
            f"{what} {verb} different shapes, {shapes[0]} and {shapes[-1]}: pad or resize them in preprocess="
        )
    return torch.stack(tensors)


def refuse_other_fields(samples: Sequence[Mapping[Any, Any]]) -> None:
    """Raise ValueError unless all samples have the same fields."""
    for place, sample in enumerate(samples):
        if sample.keys() != samples[0].keys():
            differ = sorted(map(repr, sample.keys() ^ samples[0].keys()))
            raise ValueError(
                f"samples have different fields: only some have {listed(differ)} (sample {place} of a batch "
                "is the first to differ); give all samples the same fields, or select them in preprocess="
            )


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """Yield all tensors of a batch."""
    return (leaf for _, leaf in leaves(batch) if isinstance(leaf, Tensor))


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch with `change` applied to every tensor; the original is not modified."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return _like(batch, {name: mapped(part, change) for name, part in batch.items()})
    if isinstance(batch, tuple) and hasattr(batch, "_replace"):
        return type(batch)(*(mapped(part, change) for part in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(mapped(part, change) for part in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: mapped(getattr(batch, f.name), change) for f in fields(batch)})
    graphs: Any = batch
    if callable(getattr(batch, "apply", None)) and callable(getattr(batch, "to_dict", None)):
        return copy.copy(graphs).apply(change)
    return batch


def _like(batch: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    """Return a mapping of the original type with these parts, since some models read fields as attributes."""
    if type(batch) is dict:
        return parts
    try:
        return type(batch)(parts)  # type: ignore[call-arg]
    except TypeError:
        return parts


def described_batch(batch: Any) -> str:
    """Describe a batch, for the error message of a model that fails on it.

    >>> described_batch({"ids": torch.zeros(2, 5)})
    "the fields 'ids' (2, 5)"
    """
    if isinstance(batch, Tensor):
        return f"shape {tuple(batch.shape)}"
    named = [f"{path[-1]!r} {tuple(t.shape)}" for path, t in leaves(batch) if path and isinstance(t, Tensor)]
    return f"the fields {listed(named, limit=6)}" if named else f"type {type(batch).__name__}"
