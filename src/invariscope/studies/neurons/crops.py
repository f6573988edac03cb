"""Patches of the size of a receptive field, and the responses of neurons to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invariscope.anatomy.receptive_field import ReceptiveField, receptive_field

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Field:
    """Receptive field of the neurons of a layer, and the crop that contains it.

    A crop starts on the grid of the strides, so it may include a margin before the window.

    Args:
        receptive: receptive field of the layer.
        image: (H, W) of the images.
        reach: pixels around a window that deformations also read.
    """

    receptive: ReceptiveField
    image: tuple[int, int]
    reach: int = 0

    @property
    def interior(self) -> tuple[range, ...]:
        """Rows and columns of neurons with windows inside the image, away from its edges if possible."""
        wider = replace(self.receptive, size=tuple(size + 2 * self.reach for size in self.receptive.size))
        whole, free = (one.interior(self.image) for one in (self.receptive, wider))
        return tuple(inner or outer for inner, outer in zip(free, whole, strict=True))

    @property
    def neuron(self) -> tuple[int, int]:
        """Row and column, in the response to a crop, of the neuron whose window it contains."""
        rows, columns = self.receptive.interior(self.image)
        return rows.start, columns.start

    @property
    def margin(self) -> tuple[int, int]:
        """Rows and columns of a crop before the window."""
        start, jump = self.receptive.first_start, self.receptive.jump
        down, right = (s + k * j for s, k, j in zip(start, self.neuron, jump, strict=True))
        return down, right

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) of a crop."""
        height, width = (m + size for m, size in zip(self.margin, self.receptive.size, strict=True))
        return height, width

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the window's centre, in pixels of the crop."""
        down, right = (m + (size - 1) / 2 for m, size in zip(self.margin, self.receptive.size, strict=True))
        return right, down

    def corners(self, places: Int[np.ndarray, "row 2"]) -> Int[np.ndarray, "row 2"]:
        """Return the first pixel (row, column) of the crops for neurons at these rows and columns."""
        return (places - np.array(self.neuron)) * np.array(self.receptive.jump)


def field_of(
    model: nn.Module, layer: str, input_shape: Sequence[int], *, reach: Callable[[Sequence[int]], int]
) -> Field:
    """Return the field of a layer on images of this shape; `reach` is a function of the window's size.

    Raises:
        ValueError: the inputs are not images, or the layer has no receptive field within the image.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"neuron_stability needs images (n, C, H, W); one input has shape {tuple(input_shape)}"
        )
    image = (int(input_shape[1]), int(input_shape[2]))
    receptive = receptive_field(model, layer, input_shape)
    field = Field(receptive, image, reach(receptive.size))
    if min(map(len, field.interior)) == 0:
        size = " × ".join(map(str, field.receptive.size))
        raise ValueError(
            f"the receptive field of layer {layer!r} has {size} pixels and does not fit in images of "
            f"{image[0]} × {image[1]}; use an earlier layer or larger images"
        )
    return field


@dataclass(frozen=True)
class Patches:
    """Crops of images, one per row.

    Args:
        images: (row,) index of the image that contains each crop.
        corners: (row, 2) first pixel of each crop, (row, column).
    """

    images: np.ndarray
    corners: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: np.ndarray | slice) -> Patches:
        return Patches(self.images[rows], self.corners[rows])


def cut(
    images: Float[Tensor, "sample C H W"], patches: Patches, crop: tuple[int, int]
) -> Float[Tensor, "row C height width"]:
    """Return the patches as they are in the images."""
    rows = torch.from_numpy(patches.images)[:, None, None]
    corners = torch.from_numpy(patches.corners)
    y = (corners[:, :1] + torch.arange(crop[0]))[:, :, None]
    x = (corners[:, 1:] + torch.arange(crop[1]))[:, None, :]
    return images[rows, :, y, x].permute(0, 3, 1, 2)


def cut_moved(
    images: Float[Tensor, "sample C H W"], patches: Patches, fields: Float[Tensor, "row 2 height width"]
) -> Float[Tensor, "row C height width"]:
    """Return the patches with τ applied, read bilinearly from the whole image, whose edges are repeated."""
    height, width = images.shape[-2:]
    y, x = (torch.arange(n, dtype=torch.float64) for n in fields.shape[-2:])
    corners = torch.from_numpy(patches.corners).double()
    right = corners[:, 1, None, None] + x - fields[:, 0]
    down = corners[:, 0, None, None] + y[:, None] - fields[:, 1]
    grid = torch.stack([_unit(right, width), _unit(down, height)], dim=-1).to(images)
    rows = images[torch.from_numpy(patches.images)]
    return F.grid_sample(rows, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _unit(at: Tensor, pixels: int) -> Tensor:
    return 2 * at / max(pixels - 1, 1) - 1


def centre_responses(run: Run, crops: Tensor, field: Field) -> Float[Tensor, "row channel"]:
    """Return the responses, in every feature map, of the neuron whose window each crop contains."""
    row, column = field.neuron
    return run(crops)[:, :, row, column]
