"""Checks of labels: class numbers that refer to the model's outputs, or numbers to be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from invariscope.block import Block

NEEDED = "labels must be one integer per sample"


def class_numbers(labels: Tensor) -> Tensor:
    """Return the labels if they are class numbers.

    Raises:
        ValueError: floating or negative labels, or missing ones (NaN).
    """
    if labels.is_floating_point():
        raise ValueError(f"{NEEDED}; {_about_floats(labels)}")
    negative = int((labels < 0).sum())
    if negative:
        raise ValueError(
            f"{NEEDED}, counted from 0; {negative} of {len(labels)} are negative (the lowest is "
            f"{int(labels.min())}). Leave unlabelled samples out, for example inputs[labels >= 0]; "
            "if negative numbers stand for classes, use words as labels"
        )
    return labels


def _about_floats(labels: Tensor) -> str:
    kind, missing = str(labels.dtype).removeprefix("torch."), int(labels.isnan().sum())
    if missing:
        return f"{missing} of {len(labels)} are missing (NaN); leave those samples out"
    if bool((labels == labels.round()).all()):
        return f"got whole numbers as {kind}: use labels.long(), or labels.astype(int) in NumPy"
    return (
        f"got {kind}. Give classes as integers or words; numbers to predict are accepted only by "
        "Twirl(targets='values') without by_class"
    )


def labels_among(block: Block, outputs: int) -> Tensor | None:
    """Return each sample's label as the index of a model output; None without labels.

    Raises:
        ValueError: labels that cannot be matched with outputs, or refer to outputs that do not exist.
    """
    if block.unaligned:
        raise ValueError(block.unaligned)
    if block.labels is None:
        return None
    if block.names not in (None, outputs):
        raise ValueError(
            f"{block.names} class names were given for a model with {outputs} outputs; if labels are words, "
            "name every output, in order: classes=[...]"
        )
    return checked_labels(block.labels.to(block.values.device), outputs)


def checked_labels(labels: Tensor, outputs: int) -> Tensor:
    """Return class numbers that are all below the number of outputs.

    Raises:
        ValueError: labels that are not class numbers, or that have no output.
    """
    if int(class_numbers(labels).max()) >= outputs:
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, but the model has {outputs} "
            f"outputs (0 to {outputs - 1}); give class numbers that fit the model, or leave out the measures "
            "that need them, such as 'prediction'"
        )
    return labels


def predicted_numbers(labels: Tensor, *, names: int | None = None, unaligned: str = "") -> Tensor:
    """Return (sample,) float64 numbers to be predicted.

    Args:
        names, unaligned: see `Block`.
    Raises:
        ValueError: labels that are words, NaN or infinite.
    """
    if unaligned or names is not None:
        raise ValueError(
            "Twirl(targets='values') needs a number to predict for each sample; the labels are strings"
        )
    bad = int((~labels.isfinite()).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(labels)} numbers to predict are NaN or infinite; leave those samples out"
        )
    return labels.to(torch.float64)
