"""Observe functional operations, and decide which of them are layers and how they are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Operations that keep every value in its place if they keep the sizes, unlike roll, for example.
_KEPT = """relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardtanh hardsigmoid sigmoid tanh
    softplus softsign prelu rrelu threshold logsigmoid dropout dropout1d dropout2d dropout3d
    alpha_dropout feature_alpha_dropout feature_dropout batch_norm instance_norm group_norm layer_norm
    rms_norm local_response_norm normalize add sub mul div pow neg abs square sqrt rsqrt exp log log1p
    clamp clamp_min clamp_max maximum minimum where lerp addcmul addcdiv sin cos cat softmax
    log_softmax channel_shuffle contiguous clone detach to type type_as float double half bfloat16 cpu
    cuda requires_grad"""
POINTWISE = frozenset(_KEPT.split())


_SYNONYMS = {
    "subtract": "sub",
    "rsub": "sub",
    "multiply": "mul",
    "true_divide": "div",
    "truediv": "div",
    "divide": "div",
    "negative": "neg",
    "absolute": "abs",
    "floordiv": "floor_divide",
    "concat": "cat",
    "concatenate": "cat",
    "special_expit": "sigmoid",
    "clip": "clamp",
}
# `x - y` is reported as "sub", but `1 - x` as "__rsub__", and in-place operators may appear as "__isub__".
_OPERATOR = re.compile(r"__[ir]?(add|sub|mul|truediv|div|floordiv|mod|pow|matmul|neg|abs)__")

_VIEWS = """view view_as reshape reshape_as flatten unflatten ravel transpose permute t swapaxes swapdims
    movedim moveaxis squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors narrow select split
    split_with_sizes chunk tensor_split hsplit vsplit dsplit unsafe_split unsafe_chunk unbind unfold diagonal
    as_strided detach alias view_as_real view_as_complex real imag adjoint atleast_1d atleast_2d atleast_3d
    pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle"""
_INDEXING = """getitem index_select gather take take_along_dim masked_select index slice select_copy
    slice_copy narrow_copy roll flip fliplr flipud rot90 repeat repeat_interleave tile pad constant_pad_nd
    meshgrid im2col pack_padded_sequence pad_packed_sequence"""
_COPIES = """clone contiguous to type type_as float double half bfloat16 cpu cuda copy set resize resize_as
    lift lift_fresh requires_grad pin_memory retain_grad as_subclass to_dense data"""
_CONSTANTS = """zeros ones full empty zeros_like ones_like full_like empty_like rand_like randn_like
    randint_like new_zeros new_ones new_full new_empty new_tensor rand randn randint randperm arange linspace
    logspace eye tensor as_tensor asarray from_numpy scalar_tensor empty_strided new_empty_strided fill
    zero"""
_DRAWN_IN_PLACE = """normal_ uniform_ bernoulli_ exponential_ geometric_ cauchy_ log_normal_ random_"""

NOT_READ = frozenset(f"{_VIEWS} {_INDEXING} {_COPIES} {_CONSTANTS} {_DRAWN_IN_PLACE}".split())


@cache
def operation_name(raw: str) -> str | None:
    """Return an operation's name as a layer; None for views, indexing, copies and constants.

    >>> [operation_name(name) for name in ("add_", "__rsub__", "conv2d.default", "reshape", "__get__")]
    ['add', 'sub', 'conv2d', None, None]
    """
    raw = raw.split(".")[0]
    operator = _OPERATOR.fullmatch(raw)
    if raw.startswith("__") and operator is None:
        return None
    name = operator.group(1) if operator else raw.strip("_")
    name = {"div": "div", "mod": "remainder"}.get(name, name) if operator else name
    return None if {raw, name} & NOT_READ else _SYNONYMS.get(name, name)


@cache
def followed_name(raw: str) -> str:
    """Return an operation's name, even if the operation is not a layer.

    >>> [followed_name(name) for name in ("relu_", "__rsub__", "pad", "contiguous")]
    ['relu', 'sub', 'pad', 'contiguous']
    """
    return operation_name(raw) or raw.strip("_")


def tensors_among(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among an operation's arguments or results, including those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (entry for entry in value if isinstance(entry, Tensor))


class OperationMode(TorchFunctionMode):
    """Function mode that calls `report(name, result)` for each operation that may be a layer.

    The mode is inactive inside `report`, which may therefore compute freely.
    """

    def __init__(self, report: Callable[[str, Any], None]) -> None:
        super().__init__()
        self.report = report

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and report it."""
        result = func(*args, **kwargs) if kwargs else func(*args)
        if result is not None:
            name = operation_name(getattr(func, "__name__", "__unnamed__"))
            if name is not None:
                self.report(name, result)
        return result


def unobserved() -> AbstractContextManager[None]:
    """Return a context for computations in hooks, which do not count as operations of the model."""
    return torch._C.DisableTorchFunction()  # type: ignore[return-value]
