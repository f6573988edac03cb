"""Convert arrays of any library to dense tensors that the engine supports."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.wording import listed

# Dtypes for which torch lacks most operations, with signed dtypes to convert them to.
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
_NUMBERS = "biufc"


def is_array(values: Any) -> bool:
    """Return whether values are a tensor, an array (NumPy, JAX, TensorFlow) or a table (pandas, polars)."""
    return isinstance(values, Tensor | np.ndarray) or is_table(values) or _is_foreign(values)


def is_table(values: Any) -> bool:
    """Return whether values can convert themselves to an array, like a DataFrame or a Series."""
    return hasattr(values, "to_numpy") and hasattr(values, "shape") and not isinstance(values, type)


def _is_foreign(values: Any) -> bool:
    """Return whether values are an array of JAX or TensorFlow."""
    return not isinstance(values, type) and all(hasattr(values, n) for n in ("__array__", "dtype", "shape"))


def as_tensor(values: Any, what: str) -> Tensor:
    """Return the values as a tensor, which shares their memory if possible.

    Args:
        values: a tensor, an array, or a DataFrame whose rows are samples.
        what: name of the values for messages, such as "inputs".
    Raises:
        TypeError: not an array, or not numeric.
        ValueError: a sparse, nested, quantized or meta tensor; masked or missing values.
    """
    if is_table(values) and not isinstance(values, np.ndarray):
        values = _of_table(values, what)
    if not isinstance(values, Tensor | np.ndarray) and _is_foreign(values):
        values = np.asarray(values)
    if isinstance(values, np.ndarray) and values.dtype.name == "bfloat16":  # not one of NumPy's own dtypes
        values = torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    if isinstance(values, np.ndarray):
        values = torch.as_tensor(_native(values, what))
    if not isinstance(values, Tensor):
        hint = ", a sparse matrix: pass its toarray()" if hasattr(values, "toarray") else ""
        kind = f"{type(values).__name__}{hint}"
        raise TypeError(f"{what} must be tensors or arrays, got {kind}; convert them first")
    refuse_not_dense(values, what)
    return _widened(values.resolve_conj().resolve_neg(), what)


def refuse_not_dense(values: Tensor, what: str) -> None:
    """Raise ValueError for a sparse, nested, quantized or meta tensor."""
    if values.is_nested:
        raise ValueError(f"{what} are a nested tensor; pad them to one shape: torch.nested.to_padded_tensor")
    if values.layout is not torch.strided:
        layout = str(values.layout).removeprefix("torch.")
        raise ValueError(f"{what} are a sparse tensor ({layout}); pass {what}.to_dense()")
    if values.is_meta:
        raise ValueError(f"{what} are on the meta device and have no values; pass tensors with values")
    if values.is_quantized:
        raise ValueError(f"{what} are quantized ({values.dtype}); pass {what}.dequantize()")


def _widened(values: Tensor, what: str) -> Tensor:
    if values.dtype not in _WIDER:
        return values
    found = values.to(_WIDER[values.dtype])
    if values.dtype == torch.uint64 and found.numel() and int(found.min()) < 0:
        raise ValueError(f"{what} hold integers beyond int64; convert them to floating point")
    return found


def _native(values: np.ndarray, what: str) -> np.ndarray:
    """Return the array with a byte order, strides and dtype that torch supports."""
    if isinstance(values, np.ma.MaskedArray):
        if missing := int(np.ma.getmaskarray(values).sum()):
            raise ValueError(f"{what} are masked at {missing} of {values.size} values; fill them first")
        values = values.data
    if values.dtype.kind not in _NUMBERS:
        raise TypeError(f"{what} must be numeric; got an array of {values.dtype}; convert them first")
    if values.dtype.itemsize > 8 * (1 + (values.dtype.kind == "c")):  # torch has no wider dtype
        return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    if not values.dtype.isnative or min(values.strides, default=0) < 0:
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if values.flags.writeable:
        return values
    return _unlocked(values) if isinstance(values, np.memmap) else values.copy()


def _unlocked(values: np.ndarray) -> np.ndarray:
    """Return a view of a memory-mapped file that torch accepts without a warning; never write to it."""

    class Unlocked:
        __array_interface__ = values.__array_interface__ | {"data": (values.ctypes.data, False)}
        kept = values

    return np.asarray(Unlocked())


def _of_table(table: Any, what: str) -> np.ndarray:
    array = np.asarray(table.to_numpy())
    if array.dtype.kind in _NUMBERS:
        return array
    names, kinds = getattr(table, "columns", [""]), getattr(table, "dtypes", None)
    columns = zip(map(str, names), np.atleast_1d(np.array(kinds, object)), strict=False)
    wrong = [f"{name!r} ({kind})" for name, kind in columns if getattr(kind, "kind", "O") not in _NUMBERS]
    if wrong:
        raise TypeError(
            f"{what} must be numeric; got non-numeric columns: {listed(wrong, limit=3)}. Encode them, or "
            "leave them out"
        )
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} have missing values; fill them, or leave those rows out") from error
