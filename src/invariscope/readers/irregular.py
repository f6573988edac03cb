"""Why a layer has no common units for samples of different sizes, and what would help."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from invariscope.common.samples import leaves
from invariscope.readers.torch.axes import BatchAxis


class Irregular(str):
    """The reason for skipping a layer whose shape differs between samples."""


def irregular(one: Tensor, other: Tensor, axis: BatchAxis, fed: tuple[Any, Any], batch: int) -> Irregular:
    """Return the reason for skipping a layer whose shape differs between samples.

    Args:
        one, other: the layer's tensors for copies of one sample and of another one.
        axis: of the samples.
        fed: what the model got in both forwards.
        batch: number of copies.
    """
    shapes = (
        f"its shape depends on the sample: {tuple(one.shape)} and {tuple(other.shape)} for {batch} inputs"
    )
    if len(one.shape) != len(other.shape):
        return Irregular(shapes)
    place = next(k for k, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b)
    if place == axis.axis:
        name = _field(fed, (one.shape[place],), (other.shape[place],))
        advice = f"iv.Pool('mean', index={name!r}) or iv.Rows(index={name!r})"
    else:
        name = _field(fed, (batch, one.shape[place]), (batch, other.shape[place]))
        advice = f"iv.Pool('mean', mask={name!r})"
    if name is None:
        return Irregular(f"{shapes}. Pad samples to one size in preprocess=, or select other layers")
    return Irregular(f"{shapes}. Pool its rows: pool={{...: {advice}}}")


def _field(fed: tuple[Any, Any], one: tuple[int, ...], other: tuple[int, ...]) -> Any:
    """Return the name of a field of whole numbers that has these shapes; masks and indices come first."""
    found = []
    second = {path: tuple(leaf.shape) for path, leaf in leaves(fed[1]) if isinstance(leaf, Tensor)}
    for path, leaf in leaves(fed[0]):
        whole = isinstance(leaf, Tensor) and not leaf.is_floating_point() and len(path) == 1
        if whole and tuple(leaf.shape) == one and second.get(path) == other:
            found.append(path[0])
    named = [name for name in found if any(word in str(name) for word in ("mask", "batch", "index"))]
    return next(iter([*named, *found]), None)
