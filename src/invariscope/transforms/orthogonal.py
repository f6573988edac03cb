"""Rotations and mirrorings of vectors in any dimension, given or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from invariscope.common.checks import integer, set_integers
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.affine import first_true
from invariscope.transforms.machinery.along_axis import Turning
from invariscope.transforms.machinery.matrices import group_table
from invariscope.transforms.machinery.traits import traits_of_draws

_TOLERANCE = 1e-6
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Orthogonal(Turning):
    r"""Vectors multiplied by given orthogonal matrices: one an element, the same for all samples.

    .. math:: t_j x = Q_j x, \quad Q_j^{\mathsf T} Q_j = 1

    For points of a cloud (n, points, 3), or vectors along another axis of the data; several may share one.
    Where the matrices are a group, the table says so.

    Caveats: a cloud that is not centred turns about the origin, not about itself.

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
            raise ValueError(f"one name per element: {len(found)} matrices, {len(names)} names.")
        self._keep(matrices=_rows(found), names=names)

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
        """Return thirds of a turn in space, and two rotations that are not a group."""
        lone = [[[0.6, -0.8], [0.8, 0.6]], [[0.0, 1.0], [1.0, 0.0]]]
        return cls.turns(3, axis=1), cls(lone, axis=1)

    @property
    def entries(self) -> int:
        """Number of entries of a vector."""
        return len(self.matrices[0])

    def table(self) -> np.ndarray | None:
        """Return the group table, if the products of the matrices are among them."""
        return group_table(np.array(self.matrices), np.matmul, _TOLERANCE)

    def _traits(self) -> Traits:
        found = np.array(self.matrices)
        element = tuple(map(float, range(len(found))))
        return Traits(
            tuple(self.names or ()),
            {"element": element, "determinant": tuple(np.linalg.det(found).round().tolist())},
            identity=first_true(np.all(found == np.eye(self.entries), axis=(1, 2))),
            exact=tuple(np.all(np.isin(found, (-1, 0, 1)), axis=(1, 2)).tolist()),
            acts_on=self.acts_on,
        )

    def _forward(self, motion: Motion) -> np.ndarray:
        return np.array(self.matrices)[motion.elements]


@dataclass(frozen=True)
class RandomOrthogonal(Turning):
    r"""Rotations, and mirrorings if asked for, drawn uniformly for each sample: SO(2), SO(3), O(3), O(d).

    .. math:: t_{ij} x = Q_{ij} x, \quad Q_{ij} \sim \text{Haar measure of } SO(d) \text{ or } O(d)

    Q is the orthogonal factor of a matrix of Gaussian numbers, with the signs that make it unique; for
    SO(d) a Q that mirrors has its first column reversed. Draws depend on (seed, sample index, element) alone.
    The vectors are points of a cloud (n, points, 3), or lie on another axis; several may share one.

    Caveats: a handful of draws a sample says little of the worst rotation; and a cloud that is not
    centred turns about the origin, not about itself.

    Args:
        draws: rotations of each sample.
        dimension: of the vectors.
        axis: on which axis of the data their entries lie, the last one by default.
        mirrored: draw from all of O(d), half of which mirrors.
    Raises:
        ValueError: no draw, or a dimension below 2.
        TypeError: data whose axis holds no vectors of that dimension.
    Source:
        Mezzadri 2007, arXiv:math-ph/0609050: why the signs matter.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> cloud = torch.randn(4, 10, 3)
    >>> turned = RandomOrthogonal(2).orbit(cloud)
    >>> bool(torch.allclose(turned.norm(dim=-1), cloud.norm(dim=-1)[:, None], atol=1e-5))
    True
    """

    draws: int = 8
    _: KW_ONLY
    dimension: int = 3
    axis: int = -1
    mirrored: bool = False

    def __post_init__(self) -> None:
        set_integers(self, draws=1, dimension=2)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return rotations in space and, mirrored too, in the plane, of vectors along the channels."""
        return cls(3, axis=1), cls(2, dimension=2, axis=1, mirrored=True)

    @property
    def entries(self) -> int:
        """Number of entries of a vector."""
        return self.dimension

    def table(self) -> None:
        """Return None: products of draws are no draws."""

    def _traits(self) -> Traits:
        group = f"{'O' if self.mirrored else 'SO'}({self.dimension})"
        labels = [f"{group} draw {k + 1}" for k in range(self.draws)]
        return replace(traits_of_draws(labels, invertible=True), acts_on=self.acts_on)

    def _forward(self, motion: Motion) -> np.ndarray:
        size = self.dimension
        gaussian = motion.draws.normal(size * size)
        found, triangle = np.linalg.qr(gaussian.reshape(*gaussian.shape[:2], size, size))
        found = found * np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))[..., None, :]
        if not self.mirrored:
            found[..., 0] *= np.linalg.det(found).round()[..., None]
        return found


def cube() -> np.ndarray:
    """Return (24, 3, 3), the rotations that take a cube to itself, the identity first."""
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
