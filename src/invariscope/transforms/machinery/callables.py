"""Checks of callables used as elements: results must be valid, deterministic and independent of the batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invariscope.common.default_device import as_the_caller
from invariscope.common.random_state import RandomGenerator, callable_generators, global_generators, put_back
from invariscope.common.samples import kind_of, sample_digest

PROBED = 3
"""Number of samples on which a callable is tried."""

_STATES = 16
# Repeated calls agree bit for bit, except for parallel sums on a GPU; batch sizes may change the rounding.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 5e-2


def generators_of(function: Callable[..., Any], batch: Tensor) -> tuple[RandomGenerator, ...]:
    """Return the global generators, including the one of the batch's device, and those of the callable."""
    return (*global_generators(str(batch.device)), *callable_generators(function))


def result_of(
    function: Callable[[Any], Any],
    batch: Tensor,
    label: str,
    earlier: Tensor | None = None,
    *,
    role: str = "element",
) -> Tensor:
    """Call the element on a batch; raise unless it returns a tensor with one result per sample.

    Args:
        earlier: (sample, element, ...) results of other elements, whose shape and dtype it must match.
        role: role of the function in messages, such as "the action of element".
    Raises:
        ValueError: it fails (its own message is included), or returns a different number of samples.
        TypeError: it does not return a dense tensor.
    """
    try:
        with as_the_caller():
            found = function(batch)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        came = f"{tuple(batch.shape)} of {str(batch.dtype).removeprefix('torch.')}"
        raise ValueError(
            f"{role} {label!r} failed on a batch of shape {came} with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor):
        raise TypeError(f"{role} {label!r} must return a tensor; it returned {type(found).__name__}.")
    if found.is_nested or found.layout is not torch.strided:
        raise TypeError(f"{role} {label!r} must return a dense tensor; pad it, or call .to_dense().")
    if found.device.type != batch.device.type:
        raise TypeError(
            f"{role} {label!r} must return a tensor on the device of its batch, {batch.device}; it returned "
            f"one on {found.device}."
        )
    if found.ndim == 0 or len(found) != len(batch):
        raise ValueError(
            f"{role} {label!r} must return one result per sample; for {len(batch)} samples it returned "
            f"shape {tuple(found.shape)}."
        )
    if earlier is not None and (found.shape[1:], found.dtype) != (earlier.shape[2:], earlier.dtype):
        raise ValueError(
            f"all elements must return the same shape and dtype; element {label!r} returned "
            f"{tuple(found.shape[1:])} of {found.dtype} per sample, an earlier one "
            f"{tuple(earlier.shape[2:])} of {earlier.dtype}."
        )
    return found


def refuse_unsteady(
    function: Callable[[Any], Any], batch: Tensor, label: str, *, role: str = "element"
) -> None:
    """Raise unless each sample's result is the same in every call, alone and together with other samples.

    Global generators, and those that the callable holds, are restored. A callable that draws from them is
    tried from several states, so that rare differences are found.

    Args:
        function: maps a batch to a tensor whose first axis holds the same samples.
        batch: (sample, ...) up to three different samples.
        label: name of the element.
        role: as in `result_of`.
    Raises:
        ValueError: it draws random numbers, or its results depend on the batch.
    """
    generators = generators_of(function, batch)

    def called(samples: Tensor, seed: int) -> tuple[Tensor, bool]:
        """Return the result with seeded generators, and whether any of them was used."""
        for generator in generators:
            generator.start(seed)
        before = [generator.read() for generator in generators]
        found = result_of(function, samples.detach().clone(), label, role=role)
        return found, any(g.moved_from(state) for g, state in zip(generators, before, strict=True))

    with put_back(generators):
        first, draws = called(batch, 0)
        for seed in range(1, _STATES if draws else 2):
            if differ(first, called(batch, seed)[0], exactly=draws):
                raise ValueError(
                    f"element {label!r} draws random numbers: two calls on the same samples gave different "
                    f"results, so values would depend on the batch size. {_WRAP}"
                )
        if len(batch) > 1:
            _refuse_neighbours(batch, first, lambda: called(batch[-1:], 0)[0], label)


def _refuse_neighbours(batch: Tensor, first: Tensor, last_alone: Callable[[], Tensor], label: str) -> None:
    try:
        alone = last_alone()
    except Exception as error:
        raise ValueError(
            f"element {label!r} fails on a single sample, but not on {len(batch)} samples together: {error}. "
            f"{APART}"
        ) from error
    if differ(first[-1:], alone, exactly=False):
        raise ValueError(
            f"element {label!r} depends on the batch: a sample gave a different result alone than in a batch "
            f"of {len(batch)} samples, so values would depend on the batch size. {APART}"
        )


APART = (
    "An element must treat each sample independently; apply the function to one sample at a time: "
    "lambda x: torch.cat([f(sample[None]) for sample in x])."
)


_WRAP = (
    "Wrap the function in iv.Drawn(f, draws=8), whose draws depend only on the seed and the sample, or list "
    "functions with fixed parameters."
)


def differ(a: Any, b: Any, *, exactly: bool) -> bool:
    """Return whether two results differ by more than rounding or, if `exactly`, at all."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    if torch.equal(a, b):
        return False
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    wide, other = a.detach().nan_to_num().double(), b.detach().nan_to_num().double()
    largest = float((wide - other).abs().max())
    if exactly or not a.is_floating_point():
        return largest > 0
    return largest > _TOLERANCE.get(a.dtype, _COARSE) * float(wide.square().mean().sqrt())


def moved_by(
    function: Callable[[Any], Any],
    sample: Any,
    label: str,
    *,
    role: str = "element",
    tried: set[str] | None = None,
) -> Any:
    """Call the element on a copy of a single sample; raise unless it returns one.

    Args:
        sample: a sample of any type.
        label: name of the element.
        role: as in `result_of`.
        tried: labels of elements that are known to be deterministic; others are called repeatedly and, if
            results agree, added. None skips this check.
    Raises:
        ValueError: it fails (its own message is included), or returns different results for the same sample.
        TypeError: it returns None.
    """

    def called() -> Any:
        try:
            with as_the_caller():
                return function(copy.deepcopy(sample))
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ValueError(
                f"{role} {label!r} failed on a sample ({kind_of(sample)}) with {type(error).__name__}: "
                f"{error}"
            ) from error

    found = called()
    if found is None:
        raise TypeError(f"{role} {label!r} must return the transformed sample; it returned None.")
    if tried is not None and label not in tried:
        generators = (*global_generators("cpu"), *callable_generators(function))
        with put_back(generators):
            again = [called() for _ in range(_STATES)]
        for other in again:
            refuse_another_result(found, other, label, _CHANCE)
        tried.add(label)
    return found


def refuse_another_result(found: Any, again: Any, label: str, why: str) -> None:
    """Raise ValueError if two results for the same sample differ."""
    if sample_digest(found) != sample_digest(again):
        raise ValueError(f"{label!r}: {why}")


_CHANCE = (
    "two calls on the same sample gave different results. Elements must be deterministic: wrap functions "
    "that draw random numbers in Drawn."
)
