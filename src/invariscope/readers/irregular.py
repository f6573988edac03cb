"""Explain why a layer has no common units for samples of different sizes, and suggest a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from invariscope.common.samples import leaves
from invariscope.common.wording import listed
from invariscope.readers.base import OK, LayerInfo
from invariscope.readers.torch.axes import BatchAxis


class Irregular(str):
    """The reason for skipping a layer whose shape differs between samples."""


def irregular(one: Tensor, other: Tensor, axis: BatchAxis, fed: tuple[Any, Any], batch: int) -> Irregular:
    """Return the reason for skipping a layer whose shape differs between samples.

    Args:
        one, other: the layer's tensors for copies of one sample and of another one.
        axis: batch axis of the tensors.
        fed: the batches that were passed to the model in both forward passes.
        batch: number of copies.
    """
    shapes = (
        f"its shape depends on the sample: {tuple(one.shape)} and {tuple(other.shape)} for {batch} inputs"
    )
    if len(one.shape) != len(other.shape):
        return Irregular(shapes)
    place, *more = (k for k, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b)
    if more:
        return Irregular(
            f"{shapes}. Several axes grow with the sample, as in attention weights, so that pooling one of "
            "them leaves no common units: pad samples to one size in preprocess=, or select other layers"
        )
    if place == axis.axis:
        name = _field(fed, (one.shape[place],), (other.shape[place],))
        advice = f"iv.Pool('mean', index={name!r}) or iv.Rows(index={name!r})"
    else:
        name = _field(fed, (batch, one.shape[place]), (batch, other.shape[place]))
        advice = f"iv.Pool('mean', mask={name!r})"
    if name is None:
        return Irregular(f"{shapes}. Pad samples to the same size in preprocess=, or select other layers")
    return Irregular(f"{shapes}. Pool its rows: pool={{...: {advice}}}")


def _field(fed: tuple[Any, Any], one: tuple[int, ...], other: tuple[int, ...]) -> Any:
    """Return the name of an integer or boolean field with these shapes, preferring masks and indices."""
    found = []
    second = {path: tuple(leaf.shape) for path, leaf in leaves(fed[1]) if isinstance(leaf, Tensor)}
    for path, leaf in leaves(fed[0]):
        whole = isinstance(leaf, Tensor) and not leaf.is_floating_point() and len(path) == 1
        if whole and tuple(leaf.shape) == one and second.get(path) == other:
            found.append(path[0])
    named = [name for name in found if any(word in str(name) for word in ("mask", "batch", "index"))]
    return next(iter([*named, *found]), None)


def padding_notes(layers: Iterable[LayerInfo], fed: Any, batch: int) -> Iterator[str]:
    """Yield a note for each mask that marks units of layers as padding.

    Args:
        layers: the inspected layers.
        fed: the batch that was passed to the model in a trial forward pass.
        batch: number of samples in it.
    """
    read = [one for one in layers if one.status == OK and len(one.shape) > 1]
    for path, mask in leaves(fed):
        if len(path) != 1 or not isinstance(mask, Tensor) or not _marks_padding(str(path[0]), mask, batch):
            continue
        padded = dict.fromkeys(repr(one.layer) for one in read if _has_rows(one.shape, mask.shape[1]))
        if padded:
            yield (
                f"units of {listed(padded)} include padding, which {path[0]!r} marks; pool their rows: "
                f"pool={{...: iv.Pool('mean', mask={path[0]!r})}}"
            )


def _has_rows(shape: tuple[int, ...], padded: int) -> bool:
    """Return whether there is one row of units per token; not so for attention weights (token × token)."""
    return shape[0] == padded and shape.count(padded) == 1


def _marks_padding(name: str, mask: Tensor, batch: int) -> bool:
    """Return whether a field is a mask with zeros for padding; masks with ones for padding do not count."""
    fits = mask.ndim == 2 and len(mask) == batch and not mask.is_floating_point()
    return "mask" in name and "padding" not in name and fits and not bool(mask.all())
