"""Finite groups, given by their multiplication tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invariscope.common.checks import float_array

_TOLERANCE = 1e-4  # for a representation's entries, which may have been computed in float32


@dataclass(frozen=True, eq=False)
class Group:
    """A finite group: its elements 0, 1, 2, ... and their products.

    Args:
        table: (m, m) integers; entry [j, k] is the product jk, the element "k, then j".
        labels: one name per element; by default their numbers.
    Raises:
        ValueError: the table is not a group's multiplication table.

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
                f"a group's table must hold m × m integers; got {table.dtype} of shape {table.shape}"
            )
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "labels", tuple(self.labels) or tuple(map(str, range(len(table)))))
        self._check_table()

    @classmethod
    def of(cls, transform: Any) -> Group:
        """Return the group formed by a transform's elements.

        Raises:
            TypeError: not a transform.
            ValueError: the elements do not form a finite group.
        """
        if not callable(getattr(transform, "table", None)):
            raise TypeError(
                "Group.of takes a transform, such as QuarterTurns(), or Grid(...) of several; got "
                f"{type(transform).__name__}. For any other group pass its table: Group(table)"
            )
        table = transform.table()
        if table is None:
            raise ValueError(
                f"the {len(transform)} elements of {type(transform).__name__} do not form a finite group: "
                "some of their products are missing or unknown. Include all elements, as QuarterTurns(), "
                "Rotation.circle(8) or Permutations.cyclic(5) do"
            )
        return cls(table, transform.labels)

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.table)

    @cached_property
    def identity(self) -> int:
        """The element that changes nothing."""
        return int((self.table == np.arange(len(self))).all(axis=1).argmax())

    @cached_property
    def inverses(self) -> np.ndarray:
        """(m,) the inverse of each element."""
        return (self.table == self.identity).argmax(axis=1)

    def regular(self) -> np.ndarray:
        """Return the (m, m, m) regular representation: element j maps the unit vector of k to that of jk."""
        return np.eye(len(self))[self.table].swapaxes(1, 2)

    def refuse_no_representation(self, matrices: np.ndarray) -> None:
        """Raise ValueError unless the matrices represent the group, naming the first pair that fails.

        Singular matrices may multiply like the group, but then the matrix of the identity is not the identity
        matrix.

        Args:
            matrices: (m, d, d), one per element.
        """
        limit = _TOLERANCE * max(1.0, float(np.abs(matrices).max()))
        off = float(np.abs(matrices[self.identity] - np.eye(matrices.shape[-1])).max())
        if not off <= limit:
            raise ValueError(
                f"the matrices do not represent this group: the matrix of its identity element "
                f"{self.labels[self.identity]!r} is not the identity matrix (off by {off:.2g}). Pass one "
                f"matrix per element, in the order {list(self.labels[:8])}"
            )
        for j, row in enumerate(self.table):
            gaps = np.abs(matrices[j] @ matrices - matrices[row]).max(axis=(1, 2))
            if not (gaps <= limit).all():
                k = int((~(gaps <= limit)).argmax())
                raise ValueError(
                    f"the matrices do not represent this group: the product of the matrices of "
                    f"{self.labels[j]!r} and {self.labels[k]!r} is not the matrix of {self.labels[row[k]]!r} "
                    f"(off by {gaps[k]:.2g}). Pass one matrix per element, in the order "
                    f"{list(self.labels[:8])}"
                )

    def kernel(self, matrices: np.ndarray) -> tuple[int, ...]:
        """Return the elements that a representation maps to the identity matrix: a normal subgroup.

        Args:
            matrices: (m, d, d), one per element.
        Raises:
            ValueError: not a representation of this group; the message names the first pair that fails.

        >>> turns = Group(np.add.outer(np.arange(4), np.arange(4)) % 4)
        >>> turns.kernel(np.array([[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]]))
        (0, 2)
        """
        found = float_array("a representation", matrices, "matrices (m, d, d)")
        if found.ndim != 3 or len(found) != len(self) or found.shape[1] != found.shape[2]:
            raise ValueError(
                f"a representation of this group has {len(self)} square matrices (m, d, d), one per element; "
                f"got shape {found.shape}"
            )
        self.refuse_no_representation(found)
        still = np.abs(found - np.eye(found.shape[1])).max(axis=(1, 2)) <= _TOLERANCE
        return tuple(np.flatnonzero(still).tolist())

    def cosets(self, subgroup: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return the left cosets gK of a subgroup K, starting with K itself.

        Raises:
            ValueError: not a subgroup.
        """
        members = sorted(set(subgroup))
        closed = members and np.isin(self.table[np.ix_(members, members)], members).all()
        if not closed:
            raise ValueError(f"{members} is not a subgroup: some products of its elements are missing")
        found = {tuple(sorted(row.tolist())) for row in self.table[:, members]}
        return tuple(sorted(found, key=lambda coset: (self.identity not in coset, coset)))

    def _check_table(self) -> None:
        elements, one = np.arange(len(self)), self.identity
        if not all(
            (np.sort(self.table, axis) == np.expand_dims(elements, 1 - axis)).all() for axis in (0, 1)
        ):
            raise ValueError("not a group: each element must occur once in every row and column of the table")
        if not (self.table[[one]] == elements).all() or not (self.table[:, one] == elements).all():
            raise ValueError("not a group: the table has no identity element")
        for a, row in enumerate(self.table):
            wrong = self.table[row] != row[self.table]
            if wrong.any():
                b, c = np.argwhere(wrong)[0].tolist()
                raise ValueError(f"not a group: the products ({a}·{b})·{c} and {a}·({b}·{c}) differ")
