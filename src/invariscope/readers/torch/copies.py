"""Place a model on a device with a given dtype: as it is, or as a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from invariscope.common.samples import Inputs
from invariscope.readers.base import Precision
from invariscope.readers.feeding import Feeding, mapped
from invariscope.readers.threads import exclusive
from invariscope.readers.torch.eager import holds_compiled
from invariscope.readers.torch.modules import is_scripted

_ADVICE = "convert the model yourself, or measure it as it is"
_WITH_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU, nn.RNNBase)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_CASTS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True, eq=False)
class Placed:
    """A model ready to be measured, and the form of its inputs.

    Args:
        model: the user's model, or a copy.
        device: device of the inputs; None leaves them where they are.
        dtype: dtype of floating-point inputs; None leaves them unchanged.
        channels_last: whether images are in channels-last memory format.
        compiled: whether calls would run compiled code.
        gradients: whether forward passes need autograd.
        copied_for: the argument that made a copy necessary; "" for the user's own model.
        left_training: modules in training mode that are affected by it, although the model is in eval mode.
        feeding: turns rows of samples into a batch, and calls the model on it.
    """

    model: nn.Module
    device: torch.device | None
    dtype: torch.dtype | None
    channels_last: bool
    compiled: bool
    gradients: bool = False
    copied_for: str = ""
    left_training: tuple[str, ...] = ()
    feeding: Feeding = field(default_factory=Feeding)

    def feed(self, rows: Inputs) -> Any:
        """Return these rows as a batch in the form that this model takes."""
        return mapped(self.feeding.batch(rows), self._own)

    def run(self, batch: Any) -> Any:
        """Return the model's output for a batch."""
        return self.feeding.run(self.model, batch)

    def _own(self, x: Tensor) -> Tensor:
        """Return x with the device, dtype and memory format that this model takes."""
        dtype = self.dtype if self.dtype is not None and x.is_floating_point() else x.dtype
        x = x.detach().to(device=self.device or x.device, dtype=dtype)
        if self.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x.clone() if x.is_inference() else x


def place(model: nn.Module, *, device: str | None, precision: Precision) -> Placed:
    """Return the model itself, or a copy if the device or dtype requires one.

    Raises:
        ValueError: an unknown precision, or a model that cannot be copied.
    """
    if precision not in _CASTS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, _CASTS))}, got {precision!r}")
    compiled, model = holds_compiled(model), uncompiled(model)
    check_initialised(model)
    found = _placed(model, device=device, precision=precision, compiled=compiled)
    return replace(found, left_training=left_training(model))


def _placed(model: nn.Module, *, device: str | None, precision: Precision, compiled: bool) -> Placed:
    here, there = home(model), None if device is None else torch.device(device)
    dtype = _CASTS[precision]
    if dtype is None and (there is None or here is None or _same(here, there)):
        return Placed(model, there or here, only_dtype(model), channels_last=False, compiled=compiled)
    why = f"device={device!r}" if dtype is None else f"precision={precision!r}"
    moved = copied(model, why)
    moved = moved.to(there or here) if (there or here) is not None else moved
    if dtype is not None:
        _check_real(model, precision)
        moved = moved.to(dtype=dtype)
    if precision == "bf16":
        _make_channels_last(moved)
    bf16, given = precision == "bf16", dtype or only_dtype(model)
    return Placed(moved, there or here, given, channels_last=bf16, compiled=compiled, copied_for=why)


def home(model: nn.Module) -> torch.device | None:
    """Return the device of the first parameter or buffer; None if there is none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return None


def check_initialised(model: nn.Module) -> None:
    """Raise ValueError for weights without values: those of lazy modules, or on the meta device."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ValueError(
                f"{name!r} is on the meta device and has no values: load the weights first, for instance "
                "with model.to_empty(device='cpu') and model.load_state_dict(...)"
            )
        if is_lazy(tensor):
            raise ValueError(
                f"{name!r} is not initialised yet (a lazy module): run the model once on a batch before "
                "measuring it"
            )


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module inside a `torch.compile` wrapper, whose inner layers can be read."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def left_training(model: nn.Module) -> tuple[str, ...]:
    """Return the names of modules that are in training mode and affected by it, in a model in eval mode."""
    if model.training:
        return ()
    return tuple(name for name, module in model.named_modules() if module.training and _has_modes(module))


def _has_modes(module: nn.Module) -> bool:
    """Return whether a module may respond differently in training mode; this is known for torch's modules."""
    return isinstance(module, _WITH_MODES) or not type(module).__module__.startswith("torch.nn.")


def _same(here: torch.device, there: torch.device) -> bool:
    return here.type == there.type and there.index in (None, here.index)


def only_dtype(model: nn.Module) -> torch.dtype | None:
    """Return the one floating dtype of all parameters; None if there are several or none."""
    found = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def _check_real(model: nn.Module, precision: str) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_complex():
            raise ValueError(
                f"precision={precision!r} cannot cast the complex tensor {name!r}: use precision='float32'"
            )


def copied(model: nn.Module, why: str) -> nn.Module:
    """Return a copy of the model that shares nothing with it.

    Args:
        model: any module.
        why: the option that needs the copy, for messages.
    Raises:
        ValueError: the model holds a function that would still run the original, or cannot be copied.
    """
    own = {id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())}
    for name, module in model.named_modules():
        where, forward = repr(name) if name else "the model", vars(module).get("forward")
        if isinstance(forward, FunctionType) and forward.__closure__ and not is_scripted(module):
            raise ValueError(
                f"{why} needs a copy of the model, but the forward method of {where} was replaced by a "
                f"function that still runs the original: {_ADVICE}"
            )
        for held, function in _functions(module):
            if _reaches(function, own):
                raise ValueError(
                    f"{why} needs a copy of the model, but {held!r} of {where} is a function that would "
                    f"still use the original's modules or weights: {_ADVICE}"
                )
    try:
        # The hooks of another thread's measurement must not be copied.
        with exclusive(model), torch.no_grad():
            made = copy.deepcopy(model, _computed_tensors(model))
    except Exception as error:
        raise ValueError(
            f"{why} needs a copy of the model, but the model cannot be copied: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"{why} needs a copy of the model, but copy.deepcopy(model) returned {type(made).__name__}, "
            f"not a module: {_ADVICE}"
        )
    return made


def frozen(made: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert a copy to a dtype, put it in eval mode and freeze its weights."""
    made = made.to(dtype=dtype).eval()
    for weight in made.parameters():  # a scripted module has no requires_grad_ of its own
        weight.requires_grad_(False)
    return made


def _functions(module: nn.Module) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions that a module holds as attributes or hooks, which `deepcopy` does not copy."""
    if is_scripted(module):
        return
    hooks = ((kind, hook) for kind in _HOOKS for hook in vars(module).get(kind, {}).values())
    for name, value in (*vars(module).items(), *hooks):
        if isinstance(value, FunctionType):
            yield name.strip("_"), value


def _reaches(function: Any, own: set[int], depth: int = 3) -> bool:
    """Return whether a function holds one of these objects in its closure, defaults or wrapped functions."""
    cells = (cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell))
    wrapped = (getattr(function, name, None) for name in ("__self__", "_torchdynamo_orig_callable"))
    for held in (*cells, *wrapped, *(getattr(function, "__defaults__", None) or ())):
        if id(held) in own:
            return True
        if depth and isinstance(held, FunctionType | MethodType) and _reaches(held, own, depth - 1):
            return True
    return False


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not assigned yet
        return False


def _computed_tensors(model: nn.Module) -> dict[int, Any]:
    """Return a memo for `deepcopy`, which fails on tensors with a gradient history."""
    kept = (value for module in model.modules() for value in vars(module).values())
    return {id(v): v.detach().clone() for v in kept if isinstance(v, Tensor) and not v.is_leaf}


def _make_channels_last(model: nn.Module) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
