"""Networks with random weights, from the modules' own initialisers or from a user's function."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.common.random_state import global_generators, put_back
from invariscope.common.wording import listed
from invariscope.readers.torch.copies import check_initialised, copied, home, only_dtype, uncompiled
from invariscope.variants.derived_weights import (
    derived_names,
    effective_weights,
    expose,
    is_part,
    load_plain,
)

REMEDY = (
    "Pass baseline=make (--baseline file.py:make), a function without arguments that returns the same "
    "architecture with new weights at each call, or give the modules a reset_parameters() method."
)
_WHY = "a random baseline (unless you pass a function that builds it, baseline=make)"
_STATISTICS = ("running_mean", "running_var")
_FROZEN = (*_STATISTICS, "weight", "bias")

Make = Callable[[], nn.Module]


def random_network(model: nn.Module, make: Make | str | None, *, seed: int) -> nn.Module:
    """Return a randomly initialised network like the model: from the user's function, or a copy.

    Raises:
        TypeError: as in `from_function`.
        ValueError: all effective weights equal the model's own; or as in `from_function` and `randomized`.
    """

    def drawn(seed: int) -> nn.Module:
        return from_function(model, make, seed=seed) if callable(make) else randomized(model, seed=seed)

    fresh = drawn(seed)
    # The model's own weights may have been drawn with this seed: try another seed before raising.
    if same_weights(model, fresh) and same_weights(model, drawn(seed + 1)):
        raise ValueError(
            f"the random baseline has the model's own weights: {type(model).__name__} draws nothing at "
            f"random. {REMEDY}"
        )
    return fresh


def randomized(model: nn.Module, *, seed: int) -> nn.Module:
    """Return a copy with new random weights; the original is not changed.

    Initialisers are called for inner modules first: `reset_parameters()` or `_reset_parameters()` of each
    module, then `_init_weights(module)` of the model that contains it (transformers), then `init_weights()`
    (timm). Weights that are computed from others (parametrizations, spectral norm, weight norm, pruning) are
    drawn like plain weights and then recomputed; pruning masks are kept. All weights are first filled with
    NaN, which reveals those that no initialiser sets. Buffers other than running statistics are assumed to be
    constants.

    Raises:
        ValueError: no initialiser sets a weight, an initialiser fails, or the model cannot be copied.
    """
    model = uncompiled(model)
    check_initialised(model)
    fresh = copied(model, _WHY)
    wrapped = any(derived_names(module) for module in fresh.modules())
    plain = copied(model, _WHY) if wrapped else fresh
    with torch.no_grad(), _seeded(model, seed):
        if wrapped:
            expose(plain)
        _mark(plain)
        _initialise(plain)
        missed = _marked(plain, model)
        if wrapped and not missed:
            missed = _derive_weights(fresh, plain, model)
    if missed:
        raise ValueError(
            f"cannot draw random weights for {type(model).__name__}: its modules have no initialiser for "
            f"{listed(map(repr, missed))}. {REMEDY}"
        )
    return fresh


def from_function(model: nn.Module, make: Make, *, seed: int) -> nn.Module:
    """Return the network that the user's function builds after seeding, on the model's device and dtype.

    Raises:
        TypeError: the function does not return a module.
        ValueError: the function fails, or returns a different architecture or the model's own weights.
    """
    name, model = make_name(make), uncompiled(model)
    with _seeded(model, seed):
        try:
            fresh = make()
        except Exception as error:
            raise ValueError(f"baseline={name} failed with {type(error).__name__}: {error}") from error
    if not isinstance(fresh, nn.Module):
        raise TypeError(f"baseline={name} must return a torch.nn.Module; got {type(fresh).__name__}")
    fresh = uncompiled(fresh)
    check_initialised(fresh)
    _refuse_other_architecture(model, fresh, name)
    shared = {id(p) for p in model.parameters()} & {id(p) for p in fresh.parameters()}
    if shared:
        raise ValueError(
            f"baseline={name} returned the model's own weights; build a new network at each call"
        )
    return fresh.to(device=home(model), dtype=only_dtype(model))


def make_name(make: Any) -> str:
    """Return the name of the user's function."""
    return str(getattr(make, "__name__", "") or type(make).__name__)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks of one architecture have equal effective weights."""
    found = dict(effective_weights(uncompiled(other)))
    return all(
        name in found and _equal(value, found[name]) for name, value in effective_weights(uncompiled(one))
    )


def weights_digest(model: nn.Module) -> str:
    """Return a digest of the effective weights."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in effective_weights(uncompiled(model)):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b.to(a.device))


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed the global generators, and restore them on exit."""
    generators = global_generators(str(home(model) or "cpu"))
    with put_back(generators):
        for generator in generators:
            generator.start(seed)
        yield


def _mark(model: nn.Module) -> None:
    """Overwrite every weight and running statistic with NaN."""
    for _, tensor in _learned(model):
        if _can_be_marked(tensor):
            tensor.fill_(torch.nan)
        vars(tensor).pop("_is_hf_initialized", None)  # transformers skips tensors with this attribute
    for module in model.modules():
        vars(module).pop("_is_hf_initialized", None)


def _learned(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield weights, running statistics, and the weights that frozen normalisation layers keep in buffers."""
    yield from model.named_parameters()
    for path, module in model.named_modules():
        buffers = dict(module.named_buffers(recurse=False))
        if any(name in buffers for name in _STATISTICS):
            prefix = f"{path}." if path else ""
            yield from ((prefix + name, buffers[name]) for name in _FROZEN if name in buffers)


def _marked(drawn: nn.Module, model: nn.Module) -> list[str]:
    """Return the names of weights that are still NaN or, if their dtype has no NaN, unchanged."""
    own = dict(model.named_parameters())
    return [
        name for name, tensor in _learned(drawn) if tensor.numel() and _is_unchanged(tensor, own.get(name))
    ]


def _is_unchanged(tensor: Tensor, own: Tensor | None) -> bool:
    if _can_be_marked(tensor):
        return bool(tensor.isnan().any())
    return own is None or _equal(tensor, own)


def _can_be_marked(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _initialise(model: nn.Module) -> None:
    """Call the initialisers in the order of constructors: inner modules first."""
    modules = list(_inner_first(model, "", set()))
    for name, module in modules:
        for initialiser in ("reset_parameters", "_reset_parameters"):
            if _call(module, initialiser, name):
                break
    owners = dict(_owners(model, None))
    for name, module in modules:
        owner = owners.get(module)
        if owner is not None:
            _call(owner, "_init_weights", name, module)
        _call(module, "_init_weights", name)
        if not _of_transformers(module):  # their init_weights() would repeat _init_weights for all modules
            _call(module, "init_weights", name)


def _inner_first(module: nn.Module, path: str, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    for name, child in module.named_children():
        yield from _inner_first(child, f"{path}.{name}" if path else name, seen)
    yield path, module


def _owners(module: nn.Module, owner: nn.Module | None) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield each module with the innermost module around it whose `_init_weights` takes a module."""
    owner = module if _takes(module, "_init_weights", module) else owner
    if owner is not None:
        yield module, owner
    for child in module.children():
        yield from _owners(child, owner)


def _of_transformers(module: nn.Module) -> bool:
    return any(base.__name__ == "PreTrainedModel" for base in type(module).__mro__)


def _takes(module: nn.Module, name: str, *arguments: Any) -> bool:
    function = getattr(module, name, None)
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _call(module: nn.Module, name: str, path: str, *arguments: Any) -> bool:
    """Call an initialiser if the module has one that accepts these arguments; return whether it has."""
    if not _takes(module, name, *arguments):
        return False
    try:
        getattr(module, name)(*arguments)
    except Exception as error:
        where = f"module {path!r}" if path else "the model"
        raise ValueError(
            f"{name}() failed for {where} with {type(error).__name__}: {error}. {REMEDY}"
        ) from error
    return True


def _derive_weights(fresh: nn.Module, plain: nn.Module, model: nn.Module) -> list[str]:
    """Recompute weights from the drawn ones; return the names of those that were not set."""
    _mark(fresh)
    for path, module in fresh.named_modules():
        if is_part(path):
            _call(module, "reset_parameters", path)
    try:
        load_plain(fresh, plain)
    except Exception as error:
        raise ValueError(f"computed weights cannot be set: {error}. {REMEDY}") from error
    return _marked(fresh, model)


def _refuse_other_architecture(model: nn.Module, fresh: nn.Module, make: str) -> None:
    own = {name: tuple(value.shape) for name, value in effective_weights(model)}
    other = {name: tuple(value.shape) for name, value in effective_weights(fresh)}
    for name in (*own, *other):
        if own.get(name) != other.get(name):
            shapes = [str(found.get(name, "missing")) for found in (own, other)]
            raise ValueError(
                f"baseline={make} returned a different architecture: {name!r} is {shapes[0]} in the model "
                f"and {shapes[1]} in the new network"
            )
