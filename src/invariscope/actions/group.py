"""Finite groups by their tables, and what an action on a layer must know of a transform's elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_TOLERANCE = 1e-4  # of a representation's entries: some are made in float32


@dataclass(frozen=True, eq=False)
class Group:
    """A finite group: its elements 0, 1, 2, ... and their products.

    Args:
        table: (m, m) whole numbers; entry [j, k] is the product jk, the element "k, then j".
        labels: a name an element; their numbers by default.
    Raises:
        ValueError: the table is that of no group.

    >>> turns = Group(np.add.outer(np.arange(4), np.arange(4)) % 4)
    >>> turns.identity, turns.inverses.tolist(), turns.cosets([0, 2])
    (0, [0, 3, 2, 1], ((0, 2), (1, 3)))
    """

    table: np.ndarray
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        table = np.asarray(self.table)
        square = table.ndim == 2 and table.shape[0] == table.shape[1] > 0
        if not square or table.dtype.kind not in "iu":
            raise ValueError(
                f"a group's table holds m × m whole numbers; got {table.dtype} of shape {table.shape}."
            )
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "labels", tuple(self.labels) or tuple(map(str, range(len(table)))))
        self._refuse_other()

    @classmethod
    def of(cls, transform: Any) -> Group:
        """The group that a transform's elements are.

        Raises:
            TypeError: no transform.
            ValueError: they are none.
        """
        if not callable(getattr(transform, "table", None)):
            raise TypeError(
                "Group.of takes a transform, such as QuarterTurns(), or Grid(...) of several; got "
                f"{type(transform).__name__}. Any other group is given by its table: Group(table)."
            )
        table = transform.table()
        if table is None:
            raise ValueError(
                f"the {len(transform)} elements of {type(transform).__name__} are no finite group: products "
                "of theirs are missing, or not known. Give all elements, as QuarterTurns(), "
                "Rotation.circle(8) or Permutations.cyclic(5) do."
            )
        return cls(table, transform.labels)

    def __len__(self) -> int:
        """How many elements there are."""
        return len(self.table)

    @cached_property
    def identity(self) -> int:
        """The element that changes nothing."""
        return int((self.table == np.arange(len(self))).all(axis=1).argmax())

    @cached_property
    def inverses(self) -> np.ndarray:
        """(m,) the element that undoes each."""
        return (self.table == self.identity).argmax(axis=1)

    def regular(self) -> np.ndarray:
        """(m, m, m) the regular representation: element j takes the unit vector of k to that of jk."""
        return np.eye(len(self))[self.table].swapaxes(1, 2)

    def refuse_no_representation(self, matrices: np.ndarray) -> None:
        """Raises a ValueError that names the first pair whose matrices do not multiply as the group does.

        Matrices that all forget the same directions multiply well, but that of the identity is not 1 then.

        Args:
            matrices: (m, d, d), one an element.
        """
        limit = _TOLERANCE * max(1.0, float(np.abs(matrices).max()))
        off = float(np.abs(matrices[self.identity] - np.eye(matrices.shape[-1])).max())
        if not off <= limit:
            raise ValueError(
                f"the matrices are no representation of this group: that of {self.labels[self.identity]!r}, "
                f"which changes nothing, is not the identity (off by {off:.2g}). Give one an element, in the "
                f"order {list(self.labels[:8])}."
            )
        for j, row in enumerate(self.table):
            gaps = np.abs(matrices[j] @ matrices - matrices[row]).max(axis=(1, 2))
            if not (gaps <= limit).all():
                k = int((~(gaps <= limit)).argmax())
                raise ValueError(
                    f"the matrices are no representation of this group: the product of those of "
                    f"{self.labels[j]!r} and {self.labels[k]!r} is not that of {self.labels[row[k]]!r} "
                    f"(off by {gaps[k]:.2g}). Give one an element, in the order {list(self.labels[:8])}."
                )

    def kernel(self, matrices: np.ndarray) -> tuple[int, ...]:
        """The elements that a representation does not tell from the identity: a normal subgroup.

        Args:
            matrices: (m, d, d), one an element.
        Raises:
            ValueError: no representation of this group; the first pair that fails is named.

        >>> turns = Group(np.add.outer(np.arange(4), np.arange(4)) % 4)
        >>> turns.kernel(np.array([[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]]))
        (0, 2)
        """
        found = np.asarray(matrices, dtype=np.float64)
        if found.ndim != 3 or len(found) != len(self) or found.shape[1] != found.shape[2]:
            raise ValueError(
                f"a representation of this group has {len(self)} square matrices (m, d, d), one an element; "
                f"got the shape {found.shape}."
            )
        self.refuse_no_representation(found)
        still = np.abs(found - np.eye(found.shape[1])).max(axis=(1, 2)) <= _TOLERANCE
        return tuple(np.flatnonzero(still).tolist())

    def cosets(self, subgroup: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The left cosets gK of a subgroup K, that of the identity first.

        Raises:
            ValueError: not a subgroup.
        """
        members = sorted(set(subgroup))
        closed = members and np.isin(self.table[np.ix_(members, members)], members).all()
        if not closed:
            raise ValueError(f"{members} is no subgroup: products of its elements are missing.")
        found = {tuple(sorted(row.tolist())) for row in self.table[:, members]}
        return tuple(sorted(found, key=lambda coset: (self.identity not in coset, coset)))

    def _refuse_other(self) -> None:
        everything = np.arange(len(self))
        lines = (*self.table, *self.table.T)
        if not all(np.array_equal(np.sort(line), everything) for line in lines):
            raise ValueError("no group: each element must stand once in every row and column of the table.")
        if not np.array_equal(self.table[self.identity], everything) or not np.array_equal(
            self.table[:, self.identity], everything
        ):
            raise ValueError("no group: no element changes nothing.")
        for a, row in enumerate(self.table):
            wrong = self.table[row] != row[self.table]
            if wrong.any():
                b, c = np.argwhere(wrong)[0].tolist()
                raise ValueError(f"no group: the products ({a}·{b})·{c} and {a}·({b}·{c}) differ.")
