"""Permutations of points, tokens, or the members of a set, given or drawn."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from invariscope.common.checks import MOST_DRAWS, bounded, integer, set_integers, shown
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.affine import first_true
from invariscope.transforms.machinery.along_axis import Permuting
from invariscope.transforms.machinery.traits import traits_of_draws

_MOST_ENTRIES = 10_000_000  # of all listed permutations together
_MOST = 6  # 720 elements; one more entry would make 5,040


@dataclass(frozen=True)
class Permutations(Permuting):
    r"""Permute the entries along one axis: points of a cloud, tokens, members of a set.

    .. math:: (t_j x)_{p_j(i)} = x_i

    The elements are exact, and there is a group table if the list is closed under composition.
    `Permutations.cyclic(size)` shifts a sequence cyclically, and `Permutations.all(size)` lists all
    permutations.

    The action on a layer permutes the same axis. Layers without that axis, or with a different number of
    entries along it, have no action.

    Caveats: networks for text or point clouds that also take positions as input should not be invariant to
    the order of the remaining inputs.

    Args:
        places: one permutation per element: entry i goes to place p(i).
        axis: axis of the data, with samples on axis 0; by default the points of (n, points, features).
    Raises:
        TypeError: `places` does not hold lists of integers, or the data have a different number of entries.
        ValueError: an element is not a permutation of 0, 1, 2, ...

    >>> import torch
    >>> Permutations([[0, 1, 2], [1, 2, 0]]).orbit(torch.tensor([[10, 20, 30]]))[0]
    tensor([[10, 20, 30],
            [30, 10, 20]])
    """

    places: Sequence[Sequence[int]]
    _: KW_ONLY
    axis: int = 1

    def __post_init__(self) -> None:
        self._keep(places=_permutations(self.places))

    @classmethod
    def cyclic(cls, size: int, *, step: int = 1, axis: int = 1) -> Permutations:
        """Return the cyclic shifts of a sequence by multiples of `step`."""
        if integer("size", size) % integer("step", step):
            raise ValueError(f"step must divide size for the shifts to form a group; got {step} and {size}.")
        if (entries := size * (size // step)) > _MOST_ENTRIES:
            raise ValueError(
                f"size={size} and step={step} give permutations with {entries:,} entries in all; "
                f"at most {_MOST_ENTRIES:,} are possible. Raise step."
            )
        places = [np.roll(np.arange(size), -shift).tolist() for shift in range(0, size, step)]
        return cls(places, axis=axis)

    @classmethod
    def all(cls, size: int, *, axis: int = 1) -> Permutations:
        """Return all permutations of up to 6 entries; for more, use `RandomPermutations`."""
        if integer("size", size) > _MOST:
            raise ValueError(
                f"size must be at most {_MOST} to list all permutations; got {size}. Draw some instead: "
                f"RandomPermutations()."
            )
        return cls(list(itertools.permutations(range(size))), axis=axis)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return cyclic shifts of 28 entries by quarters, and a reversal alone, which is not a group."""
        return cls.cyclic(28, step=7, axis=2), cls([range(27, -1, -1)], axis=3)

    @property
    def entries(self) -> int:
        """Number of entries that are permuted."""
        return len(self.places[0])

    def table(self) -> np.ndarray | None:
        """Return the group table; None unless the list holds each product of its elements exactly once."""
        rows, known = np.array(self.places), {places: k for k, places in enumerate(self.places)}
        if len(known) < len(rows):
            return None
        found = [[known.get(tuple(second[first].tolist()), -1) for first in rows] for second in rows]
        return None if any(-1 in row for row in found) else np.array(found)

    def _traits(self) -> Traits:
        places = np.array(self.places)
        moved = (places != np.arange(self.entries)).sum(axis=1)
        m = len(places)
        return Traits(
            tuple(f"#{k}: {_shown(one)}" for k, one in enumerate(self.places)),
            {"element": tuple(map(float, range(m))), "moved": tuple(map(float, moved))},
            identity=first_true(moved == 0),
            exact=(True,) * m,
            acts_on=self.acts_on,
            added_by=("places",),
        )

    def places_of(self, size: int, motion: Motion) -> np.ndarray:
        """Return the new place of each entry, as listed.

        Raises:
            TypeError: a different number of entries.
        """
        if size != self.entries:
            raise TypeError(f"these permutations act on {self.entries} entries; got {size}")
        return np.array(self.places)[motion.elements]


@dataclass(frozen=True, init=False)
class RandomPermutations(Permuting):
    r"""Permute the entries along one axis by uniformly random permutations, drawn per sample.

    .. math:: (t_{ij} x)_{p_{ij}(k)} = x_k, \quad p_{ij} \text{ uniform on } S_n

    Here n is the number of entries of the sample. Draws depend only on (seed, sample key, element) and n.
    Entries change places but not values, so any effect comes from the network. The action on a layer permutes
    the same axis with the same draws.

    Caveats: nearly all permutations of many entries are far from the identity. Sensitivity to them says
    nothing about exchanging two neighbours; for this, list the exchanges with `Permutations`.

    Args:
        draws: number of draws per sample.
        size: required number of entries; None accepts any number.
        axis: axis of the data, with samples on axis 0; by default the points of (n, points, features).
    Raises:
        ValueError: `size` or `draws` is less than 1.
        TypeError: the data have a different number of entries.

    >>> import torch
    >>> orbit = RandomPermutations(2).orbit(torch.arange(4.0).expand(3, 4))
    >>> orbit.sort(dim=2).values[2, 1]
    tensor([0., 1., 2., 3.])
    """

    draws: int
    size: int | None
    axis: int

    def __init__(
        self, *counts: int, draws: int | None = None, size: int | None = None, axis: int = 1
    ) -> None:
        if len(counts) > 2 or (counts and draws is not None and size is not None):
            raise TypeError("RandomPermutations takes one count, the draws: RandomPermutations(8, size=100)")
        if len(counts) == 2 or (counts and draws is not None):  # the old signature: size first
            size, draws = counts[0], counts[1] if len(counts) == 2 else draws
            warnings.warn(
                "RandomPermutations(size, draws) is deprecated: use "
                f"RandomPermutations({draws}, size={size}), or leave out size= for any number of entries",
                DeprecationWarning,
                stacklevel=2,
            )
        draws = draws if draws is not None else counts[0] if counts else 8
        self._keep(draws=draws, size=size, axis=axis)
        set_integers(self, draws=1, most=MOST_DRAWS)
        set_integers(self, size=1, besides=(None,))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return three random orders of the 28 columns of an image."""
        return (cls(3, size=28, axis=3),)

    @property
    def entries(self) -> int | None:
        """Number of entries that are permuted; None for any number."""
        return self.size

    def table(self) -> None:
        """Return None: random draws do not form a group."""

    def _traits(self) -> Traits:
        found = traits_of_draws("order", self.draws, invertible=True, acts_on=self.acts_on)
        return replace(found, exact=(True,) * self.draws)

    def places_of(self, size: int, motion: Motion) -> np.ndarray:
        """Return random places, obtained by sorting random numbers."""
        return np.argsort(motion.draws.normal(size), axis=-1)


def _permutations(places: Any) -> tuple[tuple[int, ...], ...]:
    listed = bounded("places", places) if isinstance(places, Iterable) else places
    try:
        found = tuple(tuple(int(place) for place in one) for one in listed)
    except (TypeError, ValueError):
        raise TypeError(
            f"places must be a list of permutations, one per element; got {shown(places)}."
        ) from None
    if not found or not found[0]:
        raise ValueError("places is empty: a transform needs at least one element with at least one entry.")
    for k, one in enumerate(found):
        if sorted(one) != list(range(len(found[0]))):
            raise ValueError(
                f"places[{k}] must hold each of 0 to {len(found[0]) - 1} once; got {_shown(one)}."
            )
    return found


def _shown(places: Sequence[int]) -> str:
    return " ".join(map(str, places[:6])) + (" …" if len(places) > 6 else "")
