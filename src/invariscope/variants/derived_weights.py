"""Weights that a module computes from other tensors, by parametrizations or by hooks of `torch.nn.utils`.

Supported are parametrizations of `torch.nn.utils.parametrize`, and hooks that compute a plain attribute
`weight` from `weight_orig` (spectral norm, pruning) or from `weight_g` and `weight_v` (weight norm).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

# Number of power iterations that torch makes when it adds a spectral norm to a weight.
_ITERATIONS = 15


def derived_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of this module's weights that are computed from others."""
    return (*_parametrized(module), *_hooked(module))


def _parametrized(module: nn.Module) -> tuple[str, ...]:
    return tuple(module.parametrizations) if is_parametrized(module) else ()  # type: ignore[arg-type]


def _hooked(module: nn.Module) -> tuple[str, ...]:
    given = dict(module.named_parameters(recurse=False))
    tensors = (name for name, value in vars(module).items() if isinstance(value, Tensor))
    return tuple(name for name in tensors if any(base in given for base in _bases(name)))


def _bases(name: str) -> tuple[str, str, str]:
    return f"{name}_orig", f"{name}_g", f"{name}_v"


def effective_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield weights as a forward pass uses them, by dotted name: computed weights, not their sources."""
    for path, module in model.named_modules():
        if is_part(path):
            continue
        prefix, computed = f"{path}." if path else "", derived_names(module)
        hidden = {base for name in computed for base in _bases(name)}
        own = (name for name, _ in module.named_parameters(recurse=False) if name not in hidden)
        with _mode(module, training=False):  # reading must not update the estimates of singular vectors
            found = {name: getattr(module, name).detach() for name in (*own, *computed)}
        yield from ((prefix + name, value) for name, value in found.items())


def is_part(path: str) -> bool:
    """Return whether a module belongs to a parametrization of another."""
    return "parametrizations" in path.split(".")


def expose(model: nn.Module) -> None:
    """Turn the computed weights of a copy that is never forwarded into plain parameters."""
    for module in list(model.modules()):
        for name in _hooked(module):
            value = vars(module).pop(name)
            for base in _bases(name):
                module._parameters.pop(base, None)
            module.register_parameter(name, nn.Parameter(value.detach().clone()))
        if names := _parametrized(module):
            values = {name: getattr(module, name).detach().clone() for name in names}
            del module.parametrizations
            # The original shares the generated class, so the class itself must not be changed.
            module.__class__ = type(module).__bases__[0]
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=value.is_floating_point()))


def load_plain(model: nn.Module, plain: nn.Module) -> None:
    """Load the weights and buffers of a copy made plain by `expose`, so that computed weights equal them.

    Parameters of the parametrizations themselves are not changed.
    """
    sources = dict(plain.named_modules())
    for path, module in model.named_modules():
        if is_part(path):
            continue
        source, computed = sources[path], derived_names(module)
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            found = getattr(source, name, None)
            if tensor is not None and isinstance(found, Tensor):
                tensor.copy_(found)
        for name in computed:
            _assign(module, name, getattr(source, name).detach())
        if computed:
            _recompute(module)


def _assign(module: nn.Module, name: str, value: Tensor) -> None:
    """Set the tensors from which a weight is computed, so that the computed weight has this value."""
    if name in _parametrized(module):
        _assign_parametrized(module, name, value)
        return
    given = module._parameters
    original, size, direction = (given.get(base) for base in _bases(name))
    if original is not None:
        original.copy_(value)
    elif size is not None and direction is not None:
        hook = next(h for h in _hooks(module) if isinstance(h, WeightNorm) and h.name == name)
        size.copy_(torch.norm_except_dim(value, 2, hook.dim))
        direction.copy_(value)


def _assign_parametrized(module: nn.Module, name: str, value: Tensor) -> None:
    parametrized: Any = module.parametrizations[name]  # type: ignore[index]
    try:
        parametrized.right_inverse(value)
    except (NotImplementedError, RuntimeError):
        original = getattr(parametrized, "original", None)
        if original is None or original.shape != value.shape:
            raise
        original.copy_(value)  # as at the registration of the parametrization


def _recompute(module: nn.Module) -> None:
    """Recompute the weights, in training mode so that estimates of singular vectors converge."""
    with _mode(module, training=True):
        for _ in range(_ITERATIONS):
            for name in _parametrized(module):
                getattr(module, name)
            for hook in _hooks(module):
                hook(module, ())


@contextmanager
def _mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Set the mode of a module and its parametrizations, but not of its children; restore it on exit."""
    parts = list(module.parametrizations.modules()) if is_parametrized(module) else []  # type: ignore
    modes = {part: part.training for part in (module, *parts)}
    try:
        for part in modes:
            part.training = training
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _hooks(module: nn.Module) -> list[Any]:
    known = (SpectralNorm, WeightNorm, BasePruningMethod)
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, known)]
