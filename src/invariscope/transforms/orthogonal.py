"""Given rotations and mirrorings of vectors: point groups, in any dimension."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from invariscope.common.checks import integer
from invariscope.transforms.base import Motion, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import first_true
from invariscope.transforms.machinery.vectors import _Vectors

_TOLERANCE = 1e-6
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Orthogonal(_Vectors):
    r"""Vectors multiplied by given orthogonal matrices: one an element, the same for all samples.

    .. math:: t_j x = Q_j x, \quad Q_j^{\mathsf T} Q_j = 1

    For points of a cloud (n, points, 3), or vectors along another axis of the data; several may share one.
    Where the matrices are a group, the table says so.

    Misleads: a cloud that is not centred turns about the origin, not about itself.

    Args:
        matrices: (element, d, d); the 24 rotations of the cube by default.
        axis: on which axis of the data the vectors' entries lie, the last one by default.
        names: a label an element.
    Raises:
        ValueError: matrices that are not orthogonal (a group of others has no end, so nothing can be drawn
            from it uniformly: give the elements of a range as an `Affine` or `Elements`); another number of
            names.
        TypeError: data whose axis holds no vectors of that dimension.

    >>> len(Orthogonal()), Orthogonal.turns(4).table() is not None
    (24, True)
    >>> import torch
    >>> Orthogonal.turns(4).orbit(torch.tensor([[[1.0, 0.0, 5.0]]]))[0, 1, 0]
    tensor([0., 1., 5.])
    """

    matrices: Any = None
    _: KW_ONLY
    axis: int = -1
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        found = cube() if self.matrices is None else _orthogonal(self.matrices)
        names = tuple(f"#{k}" for k in range(len(found))) if self.names is None else tuple(self.names)
        if len(names) != len(found):
            raise ValueError(f"names has one entry an element: {len(found)} matrices, {len(names)} names.")
        object.__setattr__(self, "matrices", _rows(found))
        object.__setattr__(self, "names", names)

    @classmethod
    def turns(cls, m: int, *, dimension: int = 3, axis: int = -1) -> Orthogonal:
        """`m` turns evenly around the circle, of the first two coordinates: a cyclic group."""
        angles = 2 * np.pi * np.arange(integer("m", m)) / m
        found = np.broadcast_to(np.eye(dimension), (m, dimension, dimension)).copy()
        found[:, 0, 0] = found[:, 1, 1] = np.cos(angles)
        found[:, 1, 0], found[:, 0, 1] = np.sin(angles), -np.sin(angles)
        found[np.abs(found) < 1e-15] = 0  # quarter turns have no rounding at all
        return cls(found, axis=axis, names=[f"{360 * k / m:g}°" for k in range(m)])

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Thirds of a turn in space, and two rotations that are no group, of vectors along the channels."""
        lone = [[[0.6, -0.8], [0.8, 0.6]], [[0.0, 1.0], [1.0, 0.0]]]
        return cls.turns(3, axis=1), cls(lone, axis=1)

    @property
    def entries(self) -> int:
        """Of a vector."""
        return len(self.matrices[0])

    @property
    def along(self) -> int:
        """The axis of the vectors' entries."""
        return self.axis

    @property
    def labels(self) -> tuple[str, ...]:
        """The names, or the positions: "#0"."""
        return tuple(self.names or ())

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The positions, `element`, and the `determinant`: −1 where an element mirrors."""
        signs = np.linalg.det(np.array(self.matrices)).round()
        return {"element": tuple(map(float, range(len(signs)))), "determinant": tuple(signs.tolist())}

    @property
    def identity(self) -> int | None:
        """Index of the element that changes nothing, None where there is none."""
        return first_true(np.all(np.array(self.matrices) == np.eye(self.entries), axis=(1, 2)))

    @property
    def exact(self) -> tuple[bool, ...]:
        """Those whose matrices only change the places and signs of entries."""
        return tuple(np.all(np.isin(np.array(self.matrices), (-1, 0, 1)), axis=(1, 2)).tolist())

    @property
    def per_sample(self) -> bool:
        """False: the same for every sample."""
        return False

    def inverse(self) -> Transform:
        """The transposed matrices."""
        return Inverse(self)

    def table(self) -> np.ndarray | None:
        """The group table, where the products of the matrices are among them."""
        found = np.array(self.matrices)
        rows = []
        for one in found:
            gaps = np.abs((one @ found)[:, None] - found[None]).max(axis=(2, 3))
            if ((gaps < _TOLERANCE).sum(axis=1) != 1).any():
                return None
            rows.append(gaps.argmin(axis=1))
        return np.array(rows)

    def _forward(self, motion: Motion) -> np.ndarray:
        return np.array(self.matrices)[motion.elements]


def cube() -> np.ndarray:
    """(24, 3, 3) the rotations that take a cube to itself, the identity first."""
    places = itertools.permutations(range(3))
    signed = [
        np.diag(s) @ np.eye(3)[list(p)] for p in places for s in itertools.product((1.0, -1.0), repeat=3)
    ]
    return np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0]) + 0.0


def _orthogonal(matrices: Any) -> np.ndarray:
    found = np.asarray(matrices, float)
    if found.ndim != 3 or found.shape[1] != found.shape[2] or not len(found):
        raise ValueError(f"matrices have the shape (element, d, d); got {found.shape}.")
    gaps = np.abs(found.swapaxes(1, 2) @ found - np.eye(found.shape[1])).max(axis=(1, 2))
    if not (gaps < _TOLERANCE).all():
        worst = int(np.nan_to_num(gaps, nan=np.inf).argmax())
        raise ValueError(
            f"matrices[{worst}] is not orthogonal: its columns are off by {gaps[worst]:.2g}. Groups of other "
            "matrices have no end; list the elements of a range: Affine([...]) or Elements([...])."
        )
    return found


def _rows(matrices: np.ndarray) -> tuple[Matrix, ...]:
    return tuple(tuple(map(tuple, matrix)) for matrix in matrices.tolist())
