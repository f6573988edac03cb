"""Data read from a file into memory: arrays and texts, with their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

INPUT_NAMES, LABEL_NAMES = ("x", "images", "inputs"), ("y", "labels", "targets")
_IMAGE_AXES = 3  # (sample, row, column)
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, eq=False)
class FileData:
    """Arrays read from a file.

    Args:
        name: name of the file.
        images: (sample, ...) inputs.
        labels: (sample,) labels, or None.
        classes: names of the classes, if the labels are integers and their names are known.
        note: remark on what was read.
        channels_last: whether the inputs are images of bytes (sample, row, column, channel).
    """

    name: str
    images: Tensor
    labels: Tensor | np.ndarray | None
    classes: tuple[str, ...] = ()
    note: str = ""
    channels_last: bool = False

    @classmethod
    def of(cls, name: str, inputs: Any, labels: Any = None, classes: tuple[str, ...] = ()) -> FileData:
        """Return inputs and labels; bytes of images are scaled to values from 0 to 1.

        Raises:
            ValueError: the inputs are not numbers.
        """
        values = _floating(inputs)
        scaled, note = _unit_values(values)
        last = bool(note) and values.ndim == _IMAGE_AXES + 1 and values.shape[-1] in _CHANNELS
        last = last and values.shape[1] not in _CHANNELS
        return cls(name, scaled, labels, classes, note, last)


class Texts(list[str]):
    """Texts in memory, with the name of their file and the names of their classes."""

    def __init__(self, texts: Iterable[str], name: str, classes: tuple[str, ...] = ()) -> None:
        super().__init__(texts)
        self.name, self.classes = name, classes


def _floating(values: Any) -> Tensor:
    """Convert numbers to a tensor; float64, NumPy's default, becomes float32."""
    import torch

    from invariscope.data.arrays import as_tensor

    if isinstance(values, np.ndarray) and values.dtype.kind not in "fiub":
        raise ValueError(f"the inputs must be numbers, got an array of {values.dtype}")
    tensor = as_tensor(values, "inputs")
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _unit_values(values: Tensor) -> tuple[Tensor, str]:
    """Return images of bytes with values from 0 to 1, and a note; other values unchanged."""
    import torch

    if values.dtype != torch.uint8 or values.ndim < _IMAGE_AXES or not values.numel():
        return values, ""
    if int(values.max()) <= 1:
        return values.float(), "the inputs are bytes of 0 and 1 (uint8), and were converted to floats"
    return values.float() / 255, "the inputs are bytes (uint8), and were divided by 255"
