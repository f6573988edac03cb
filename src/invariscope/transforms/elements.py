"""Callables on batches as the elements of a transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import bounded
from invariscope.common.samples import is_structured
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.callables import PROBED, moved_by, refuse_unsteady, result_of
from invariscope.transforms.machinery.checks import need_tensor, numbers, one_per_element

Callables = tuple[Callable[[Any], Any], ...]

# Option that holds the callables, and their role in messages, by (on feature maps, inverse).
_USES = {
    (False, False): ("callables", "element"),
    (False, True): ("inverses", "the inverse of element"),
    (True, False): ("actions", "the action of element"),
    (True, True): ("inverse_actions", "the inverse action of element"),
}


@dataclass(frozen=True, init=False)
class Elements(Transform):
    """One callable per element, for any type of data and for transforms from any library.

    .. math:: t_j x = f_j(x)

    If the data are one tensor, each callable takes a batch, with samples on its first axis, and returns a
    tensor with the same samples on its first axis. All elements must return the same shape. If the data are a
    list of samples (texts, PIL images, mappings, molecules), each callable takes one sample and returns one.
    Callables receive copies, so they may work in place.

    `inverses` are needed to undo the elements, and `actions` to act on feature maps: neither can be derived
    from the callables.

    Before use, each callable is tried a few times on up to three samples. Callables that draw random numbers
    (most augmentation classes) are rejected, since results would depend on the batch size and not on the
    seed: wrap them in `Drawn`. Callables whose result for a sample depends on the rest of its batch (batch
    statistics, mixup) are rejected as well. `iv.measure` repeats these checks on a few samples while it runs.

    Args:
        callables: a list, or one callable.
        labels: one name per element; by default the names of the callables.
        parameters: one value per element, by parameter name, such as {"gain": [1, 2]}.
        inverses: one callable per element that undoes it.
        actions: one callable per element on feature maps (n, ...); may be the callables themselves.
        inverse_actions: the inverses of the actions.
        identity: index of the element that changes nothing, if there is one.
    Raises:
        TypeError: an entry is not callable or does not return a tensor; `inverse` or `act` is called, but
            inverses or actions are not declared.
        ValueError: an empty list, lists of different lengths, results of different shapes, or a callable that
            draws random numbers or mixes samples.

    >>> import torch
    >>> gains = Elements([lambda x: x, lambda x: 2 * x], labels=["unchanged", "doubled"], identity=0)
    >>> gains.orbit(torch.tensor([[1.0], [3.0]]))[..., 0]
    tensor([[1., 2.],
            [3., 6.]])
    """

    callables: Callables
    inverses: Callables | None
    actions: Callables | None
    inverse_actions: Callables | None
    _labels: tuple[str, ...]
    _parameters: tuple[tuple[str, tuple[float, ...]], ...]
    _identity: int | None

    def __init__(
        self,
        callables: Any,
        *,
        labels: Sequence[str] | None = None,
        parameters: Mapping[str, Sequence[float]] | None = None,
        inverses: Any = None,
        actions: Any = None,
        inverse_actions: Any = None,
        identity: int | None = None,
    ) -> None:
        found = _callables("callables", callables)
        m = len(found)
        if identity is not None and not 0 <= identity < m:
            raise ValueError(f"identity must be the index of an element, 0 to {m - 1}; got {identity}.")
        names = _names(found) if labels is None else tuple(map(str, labels))
        given = parameters or {"element": range(m)}
        self._keep(
            callables=found,
            inverses=_partners("inverses", inverses, m),
            actions=_partners("actions", actions, m),
            inverse_actions=_partners("inverse_actions", inverse_actions, m),
            _labels=one_per_element("labels", names, m),
            _parameters=tuple(
                (k, one_per_element(f"parameters[{k!r}]", numbers(k, v), m)) for k, v in given.items()
            ),
            _identity=identity,
        )

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return an invertible change of contrast, and callables without further declarations."""
        gains = cls(
            [_keep, _double],
            labels=["as it is", "doubled"],
            parameters={"gain": [1, 2]},
            inverses=[_keep, _halve],
            actions=[_keep, _double],
            inverse_actions=[_keep, _halve],
            identity=0,
        )
        return gains, cls([torch.abs, torch.neg])

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` is a tensor with samples on its first axis, or an array of samples."""
        if not is_structured(x):
            need_tensor("Elements", x)

    def inverse(self) -> Transform:
        """Return the declared inverses."""
        return Inverse(self)

    def table(self) -> None:
        """Return None: the products of callables are not known."""

    def _traits(self) -> Traits:
        return Traits(
            self._labels,
            dict(self._parameters),
            identity=self._identity,
            exact=tuple(k == self._identity for k in range(len(self._labels))),
            invertible=self.inverses is not None,
            added_by=("callables",),
        )

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Call each element once, on all samples that it applies to."""
        callables, role = self._used(motion)
        elements = np.broadcast_to(motion.elements, values.shape[:2])
        out: Tensor | None = None
        for element in np.unique(elements).tolist():
            # Advanced indexing makes a copy, so callables may work in place.
            where = tuple(
                torch.from_numpy(axis).to(values.device) for axis in np.nonzero(elements == element)
            )
            self._try(callables, element, role, values[tuple(axis[:PROBED] for axis in where)])
            piece = result_of(callables[element], values[where], self._labels[element], out, role=role)
            if out is None:
                out = piece.new_empty(values.shape[1], values.shape[0], *piece.shape[1:]).transpose(0, 1)
            out = out.index_put_(where, piece)
        assert out is not None
        return out

    def moved_sample(self, sample: Any, motion: Motion) -> list[Any]:
        """Call each element on a copy of the sample."""
        callables, role = self._used(motion)
        return [
            moved_by(callables[element], sample, self._labels[element], role=role, tried=self._tried_samples)
            for element in motion.elements.tolist()
        ]

    def _used(self, motion: Motion) -> tuple[Callables, str]:
        """Return the callables that a motion applies, and their role in messages."""
        option, role = _USES[motion.on_maps, motion.inverse]
        callables: Callables | None = getattr(self, option)
        if callables is None:
            raise TypeError(
                f"the {option.replace('_', ' ')} of these callables are not declared. Declare them: "
                f"Elements([...], {option}=[...])."
            )
        return callables, role

    @cached_property
    def _tried_samples(self) -> set[str]:
        """Labels of elements that returned the same result twice for the same sample."""
        return set()

    def _try(self, callables: Callables, element: int, role: str, batch: Tensor) -> None:
        """Check once on one sample, and once on several, that a callable treats samples independently."""
        enough = min(len(batch), 2)
        if self._samples_tried.get((role, element), 0) >= enough or batch.is_meta:
            return
        refuse_unsteady(callables[element], batch, self._labels[element], role=role)
        self._samples_tried[role, element] = enough

    @cached_property
    def _samples_tried(self) -> dict[tuple[str, int], int]:
        return {}


def _callables(name: str, given: Any) -> Callables:
    found = (
        (given,)
        if callable(given)
        else tuple(bounded(name, given))
        if isinstance(given, list | tuple)
        else None
    )
    if found is None:
        raise TypeError(
            f"{name} must be a list of callables on batches, one per element; got {type(given).__name__}."
        )
    if not found:
        raise ValueError(f"{name} is empty: a transform needs at least one element.")
    for position, function in enumerate(found):
        if isinstance(function, Transform):
            raise TypeError(
                f"{name}[{position}] is a transform with elements of its own: use Compose or Grid."
            )
        if not callable(function):
            raise TypeError(f"{name}[{position}] cannot be called on a batch: {function!r}.")
    return found


def _partners(name: str, given: Any, m: int) -> Callables | None:
    return None if given is None else one_per_element(name, _callables(name, given), m)


def _names(callables: Callables) -> tuple[str, ...]:
    own = [getattr(function, "__name__", type(function).__name__) for function in callables]
    clear = [name if name != "<lambda>" and own.count(name) == 1 else "" for name in own]
    return tuple(name or f"#{k}" for k, name in enumerate(clear))


def _keep(x: Tensor) -> Tensor:
    return x


def _double(x: Tensor) -> Tensor:
    return 2 * x


def _halve(x: Tensor) -> Tensor:
    return x / 2
