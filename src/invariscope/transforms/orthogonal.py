"""Rotations and reflections of vectors in any dimension, given or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from invariscope.common.checks import MOST_DRAWS, elements, float_array, set_integers
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.affine import first_true
from invariscope.transforms.machinery.along_axis import Turning
from invariscope.transforms.machinery.checks import nested, one_per_element
from invariscope.transforms.machinery.matrices import group_table
from invariscope.transforms.machinery.traits import traits_of_draws

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Orthogonal(Turning):
    r"""Multiply vectors by given orthogonal matrices, one per element and the same for all samples.

    .. math:: t_j x = Q_j x, \quad Q_j^{\mathsf T} Q_j = 1

    The vectors are points of a cloud (n, points, 3), or lie along another axis of the data. One axis may hold
    several vectors in a row. There is a group table if the matrices form a group.

    Caveats: vectors rotate about the origin, so centre a cloud first to rotate it about its own centre.

    Args:
        matrices: (element, d, d); the 24 rotations of the cube by default.
        axis: axis of the data that holds the vectors' entries; the last one by default.
        names: one label per element.
    Raises:
        ValueError: matrices that are not orthogonal (for others, list the elements in `Affine` or
            `Elements`), or a wrong number of names.
        TypeError: the axis of the data does not hold vectors of that dimension.

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
        self._keep(matrices=nested(found), names=one_per_element("names", names, len(found)))

    @classmethod
    def turns(cls, m: int, *, dimension: int = 3, axis: int = -1) -> Orthogonal:
        """Return `m` evenly spaced rotations of the first two coordinates: a cyclic group."""
        angles = 2 * np.pi * np.arange(elements("m", m)) / m
        found = np.broadcast_to(np.eye(dimension), (m, dimension, dimension)).copy()
        found[:, 0, 0] = found[:, 1, 1] = np.cos(angles)
        found[:, 1, 0], found[:, 0, 1] = np.sin(angles), -np.sin(angles)
        found[np.abs(found) < 1e-15] = 0  # quarter turns are exact
        return cls(found, axis=axis, names=[f"{360 * k / m:g}°" for k in range(m)])

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return thirds of a turn in space, and two matrices that do not form a group."""
        lone = [[[0.6, -0.8], [0.8, 0.6]], [[0.0, 1.0], [1.0, 0.0]]]
        return cls.turns(3, axis=1), cls(lone, axis=1)

    @property
    def entries(self) -> int:
        """Dimension of the vectors."""
        return len(self.matrices[0])

    def table(self) -> np.ndarray | None:
        """Return the group table, or None if the matrices do not form a group."""
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
            added_by=("matrices",),
        )

    def _forward(self, motion: Motion) -> np.ndarray:
        return np.array(self.matrices)[motion.elements]


@dataclass(frozen=True)
class RandomOrthogonal(Turning):
    r"""Uniformly random rotations, and optionally reflections, of vectors, drawn per sample.

    .. math:: t_{ij} x = Q_{ij} x, \quad Q_{ij} \sim \text{Haar measure of } SO(d) \text{ or } O(d)

    Q is the orthogonal factor of a Gaussian matrix, with the signs that make it unique; for SO(d), the first
    column of a Q that reflects is negated. Draws depend only on (seed, sample key, element). The vectors are
    points of a cloud (n, points, 3), or lie along another axis, which may hold several vectors in a row.

    Caveats: a few draws per sample say little about the worst rotation. Vectors rotate about the origin, so
    centre a cloud first to rotate it about its own centre.

    Args:
        draws: number of draws per sample.
        dimension: dimension of the vectors.
        axis: axis of the data that holds their entries; the last one by default.
        mirrored: draw from all of O(d), half of which are reflections.
    Raises:
        ValueError: fewer than one draw, or a dimension below 2.
        TypeError: the axis of the data does not hold vectors of that dimension.
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
        set_integers(self, draws=1, dimension=2, most=MOST_DRAWS)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return rotations in space, and rotations and reflections in the plane, of channel vectors."""
        return cls(3, axis=1), cls(2, dimension=2, axis=1, mirrored=True)

    @property
    def entries(self) -> int:
        """Dimension of the vectors."""
        return self.dimension

    def table(self) -> None:
        """Return None: random draws do not form a group."""

    def _traits(self) -> Traits:
        group = f"{'O' if self.mirrored else 'SO'}({self.dimension})"
        return traits_of_draws(f"{group} draw", self.draws, invertible=True, acts_on=self.acts_on)

    def _forward(self, motion: Motion) -> np.ndarray:
        size = self.dimension
        gaussian = motion.draws.normal(size * size)
        found, triangle = np.linalg.qr(gaussian.reshape(*gaussian.shape[:2], size, size))
        found = found * np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))[..., None, :]
        if not self.mirrored:
            found[..., 0] *= np.linalg.det(found).round()[..., None]
        return found


def cube() -> np.ndarray:
    """Return the rotations of the cube, (24, 3, 3), starting with the identity."""
    places = itertools.permutations(range(3))
    signed = [
        np.diag(s) @ np.eye(3)[list(p)] for p in places for s in itertools.product((1.0, -1.0), repeat=3)
    ]
    return np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0]) + 0.0


def _orthogonal(matrices: Any) -> np.ndarray:
    found = float_array("matrices", matrices, "a list of square matrices")
    if found.ndim != 3 or found.shape[1] != found.shape[2] or not len(found):
        raise ValueError(f"matrices must have shape (element, d, d); got {found.shape}.")
    gaps = np.abs(found.swapaxes(1, 2) @ found - np.eye(found.shape[1])).max(axis=(1, 2))
    if not (gaps < _TOLERANCE).all():
        worst = int(np.nan_to_num(gaps, nan=np.inf).argmax())
        raise ValueError(
            f"matrices[{worst}] is not orthogonal: QᵀQ differs from the identity by {gaps[worst]:.2g}. "
            "Groups of other matrices have no uniform distribution, so list their elements: Affine([...]) or "
            "Elements([...])."
        )
    return found
