"""Interpolation of images under affine maps."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invariscope.common.checks import refuse_other
from invariscope.transforms.machinery.matrices import invert, lands_on_pixels

if TYPE_CHECKING:
    from jaxtyping import Float

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
PADDINGS = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class Sampling:
    """Interpolation between pixels, and padding outside the image.

    Args:
        interpolation: "bilinear", "bicubic" (Keys' kernel with a = -0.75, which overshoots) or "nearest".
        padding: "zeros", "border" (the nearest edge pixel) or "reflection" (the image mirrored at the outer
            edge of its border pixels).
    """

    interpolation: str = "bilinear"
    padding: str = "zeros"

    def __post_init__(self) -> None:
        refuse_other(self, interpolation=INTERPOLATIONS, padding=PADDINGS)


def resample(
    rows: Float[Tensor, "row plane height width"], matrices: np.ndarray, sampling: Sampling, *, keep: bool
) -> Float[Tensor, "row plane height width"]:
    """Apply one affine map per row to all planes of that row.

    Rows whose map lands on the pixel grid are read at whole pixels, bit for bit; the others are interpolated
    by a single grid_sample. bfloat16 and float16 are computed in float32. Coordinates are computed once per
    row, so images that share a map should be planes of one row.

    Args:
        rows: the images; may be expanded along the rows.
        matrices: maps of content, (row, 2, 3) in pixels about the centre.
        sampling: interpolation and padding.
        keep: whether to cache the coordinates, for maps that will be used again.
    """
    work = _widened(rows)
    parts = _plan(matrices, work, keep=keep)
    done = [(part.rows, _sample(_pick(work, part.rows), part, sampling)) for part in parts]
    if len(done) == 1:
        return done[0][1].to(rows.dtype)
    out = torch.empty(work.shape, dtype=work.dtype, device=work.device)
    for chosen, values in done:
        out = out.index_copy_(0, chosen, values)
    return out.to(rows.dtype)


@dataclass(frozen=True)
class _Part:
    """Rows that are sampled by one grid_sample, either all exact or all interpolated."""

    rows: Tensor
    grid: Tensor
    exact: bool

    @property
    def nbytes(self) -> int:
        return self.grid.nbytes + self.rows.nbytes


def _sample(images: Tensor, part: _Part, sampling: Sampling) -> Tensor:
    mode = "nearest" if part.exact else sampling.interpolation
    return F.grid_sample(images, part.grid, mode=mode, padding_mode=sampling.padding, align_corners=False)


def _pick(work: Tensor, rows: Tensor) -> Tensor:
    if rows.shape[0] == work.shape[0]:
        return work
    if work.stride(0) == 0:  # the rows are the same images: do not copy
        return work[:1].expand(rows.shape[0], -1, -1, -1)
    return work[rows]


def _widened(rows: Tensor) -> Tensor:
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    if rows.dtype == dtype:
        return rows
    if rows.stride(0) == 0:
        return rows[:1].to(dtype).expand(rows.shape[0], -1, -1, -1)
    return rows.to(dtype)


def _plan(matrices: np.ndarray, work: Tensor, *, keep: bool) -> list[_Part]:
    if not keep:
        return _parts(matrices, work, precise=False)

    def lasting() -> list[_Part]:
        with torch.inference_mode(False):  # cached tensors may be needed for a gradient later
            return _parts(matrices, work, precise=True)

    return _PLANS.get((matrices.tobytes(), tuple(work.shape[-2:]), work.dtype, work.device), lasting)


def _parts(matrices: np.ndarray, work: Tensor, *, precise: bool) -> list[_Part]:
    height, width = work.shape[-2:]
    exact = lands_on_pixels(matrices, (height, width))
    back = torch.from_numpy(_normalised(invert(matrices), height, width))
    parts = []
    for flag in (False, True):
        rows = torch.from_numpy(np.nonzero(exact == flag)[0])
        if len(rows) == 0:
            continue
        chosen = back[rows] if precise else back[rows].to(work.device, work.dtype)
        grid = _grid(chosen, height, width).to(work.device, work.dtype)
        parts.append(_Part(rows.to(work.device), grid, exact=flag))
    return parts


def _normalised(matrices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Convert maps from pixels about the centre to grid_sample's coordinates, -1 to 1 between outer edges."""
    half = np.array([width / 2, height / 2])
    scaled = matrices / half[:, None]
    scaled[..., :2] *= half
    return scaled


def _grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """Return the position that each output pixel reads, (row, H, W, 2), computed separately for each row."""
    x = _centres(width, matrices)
    y = _centres(height, matrices)
    grid = matrices.new_empty(len(matrices), height, width, 2)
    for axis in (0, 1):
        along_x, along_y, shift = (matrices[:, axis, k, None] for k in range(3))
        torch.add((along_y * y + shift)[:, :, None], (along_x * x)[:, None, :], out=grid[..., axis])
    return grid


def _centres(size: int, like: Tensor) -> Tensor:
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1


@dataclass(frozen=True)
class _Recent:
    """A cache that drops the least recently used plans when it exceeds a number of bytes."""

    max_bytes: int
    _kept: OrderedDict[tuple, list[_Part]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: tuple, make: Callable[[], list[_Part]]) -> list[_Part]:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > 1 and self._total() > self.max_bytes:
                self._kept.popitem(last=False)
        return found

    def _total(self) -> int:
        return sum(part.nbytes for parts in self._kept.values() for part in parts)


_PLANS = _Recent(max_bytes=128 * 2**20)
