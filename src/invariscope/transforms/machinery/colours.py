"""Colours in HSV: hue, saturation and value."""

from __future__ import annotations

import torch
from torch import Tensor


def hue_turned(images: Tensor, degrees: float) -> Tensor:
    """Return RGB images (row, 3, H, W) whose hues are turned by an angle."""
    hue, chroma, value = _hue_chroma_value(images)
    return _rgb(hue + degrees / 60, chroma, value)


def with_saturation_and_value(images: Tensor, factor: float, offset: float, brighter: float) -> Tensor:
    """Return RGB images (row, 3, H, W) with s to clip(factor · s + offset) and v to clip(v + brighter)."""
    hue, chroma, value = _hue_chroma_value(images)
    saturation = torch.where(value > 0, chroma / torch.where(value > 0, value, 1), 0)
    saturation = (factor * saturation + offset).clamp(0, 1)
    value = (value + brighter).clamp(0, 1)
    return _rgb(hue, saturation * value, value)


def _hue_chroma_value(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (row, H, W) hues in sixths of a turn, 0 for greys; the range over the channels; the largest."""
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return torch.where(chroma > 0, hue, 0), chroma, value


def _rgb(hue: Tensor, chroma: Tensor, value: Tensor) -> Tensor:
    """Return (row, 3, H, W) colours of these hues, ranges over the channels, and largest values."""
    channels = []
    for offset in (5, 3, 1):
        place = torch.remainder(hue + offset, 6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=1)
