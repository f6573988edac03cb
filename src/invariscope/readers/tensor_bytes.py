"""The values of any tensor as bytes."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """Return dense tensors that together hold the values of any tensor."""
    found = tensor.detach()
    if hasattr(found, "full_tensor"):  # sharded across processes
        found = found.full_tensor()  # type: ignore[operator]
    if found.is_meta:
        return []
    if found.is_nested:
        return list(found.unbind())
    if found.is_quantized:
        return [found.int_repr(), found.dequantize()]
    return [found.to_dense() if found.layout is not torch.strided else found]


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the values of a dense tensor as bytes."""
    return tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
