"""Matrices by which a transform's elements act on the channels of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from invariscope.actions.group import Group
from invariscope.block import ActingElements, Block
from invariscope.common.registry import unknown

NAMED = ("regular", "vector")


@dataclass(frozen=True)
class MatrixStack:
    """A hashable stack of (m, d, d) matrices, one per element."""

    shape: tuple[int, ...]
    digest: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, matrices: Any) -> MatrixStack:
        """Return a stack from anything that NumPy can convert to an array, or from a tensor."""
        found = np.ascontiguousarray(_array(matrices), dtype=np.float64)
        if found.ndim != 3 or found.shape[1] != found.shape[2] or not found.size:
            raise ValueError(
                f"a representation must have a square matrix per element, (m, d, d); got shape {found.shape}"
            )
        if not np.isfinite(found).all():
            raise ValueError("the matrices of a representation must be finite; some entries are not")
        return cls(found.shape, blake2b(found.tobytes(), digest_size=8).hexdigest(), found.tobytes())

    @property
    def array(self) -> np.ndarray:
        """The (m, d, d) matrices in float64."""
        return np.frombuffer(self.data).reshape(self.shape)


def as_representation(given: Any, elements: Any = None) -> Any:
    """Convert a user's representation to a form that `matrices_of` accepts.

    Args:
        given: "regular", "vector", matrices (m, d, d), an object with `representation(g)` or
            `D_from_matrix(R)`, or a function of a group element.
        elements: arguments for `representation`, in the order of the transform's elements; by default
            the elements that the object's own group lists.
    Raises:
        ValueError: an unknown name, or matrices of the wrong shape.
        TypeError: `given` is none of these.
    """
    if isinstance(given, str):
        if given not in NAMED:
            raise unknown("representation", given, NAMED)
        return given
    if isinstance(given, MatrixStack) or hasattr(given, "D_from_matrix"):
        return given
    of_element = getattr(given, "representation", given)
    if callable(of_element):
        return MatrixStack.of([_array(_of(of_element, g)) for g in _elements(given, elements)])
    return MatrixStack.of(given)


def _of(function: Any, argument: Any) -> Any:
    """Call the user's representation, and name it in the message if it fails."""
    try:
        return function(argument)
    except Exception as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        shown = f"an array of shape {tuple(argument.shape)}" if hasattr(argument, "shape") else repr(argument)
        raise ValueError(
            f"the representation {name} failed on {shown:.80} with {type(error).__name__}: {error}"
        ) from error


def _elements(given: Any, elements: Any) -> Any:
    if elements is not None:
        return elements
    for name in ("fibergroup", "group"):
        found = getattr(getattr(given, name, None), "elements", None)
        if found is not None:
            return found
    raise TypeError(
        f"{type(given).__name__} does not list the elements of its group: pass elements=[...], one per "
        "element of the transform, in its order"
    )


def _array(matrices: Any) -> np.ndarray:
    if isinstance(matrices, torch.Tensor):
        matrices = matrices.detach().cpu().numpy()
    try:
        found = np.asarray(matrices, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError):
        found = np.array(0.0)
    if found.ndim == 0:
        raise TypeError(
            "a representation must be a name ('regular', 'vector'), matrices (m, d, d), or an object with "
            f"representation(g) or D_from_matrix(R); got {type(matrices).__name__}"
        )
    return found


def matrices_of(representation: Any, block: Block) -> np.ndarray:
    """Return the (sample or 1, element, d, d) matrices of a block's elements, checked against their group.

    Raises:
        ValueError: the matrices do not represent the group, there is not one per element, or the
            representation is not defined for these elements.
    """
    acting = block.acting
    if acting is None:
        raise ValueError("the elements of the block are unknown, so their action is unknown too")
    if acting.in_place_of is not None:
        size = matrices_of(representation, replace(block, acting=acting.in_place_of)).shape[-1]
        return np.broadcast_to(np.eye(size), (1, len(acting.labels), size, size))
    if isinstance(representation, MatrixStack):
        return _stacked(representation, acting)
    if representation == "regular":
        if acting.group is None:
            raise ValueError(
                "the regular representation needs a finite group, but the elements do not form one: "
                "use a transform whose elements do, such as QuarterTurns() or Rotation.circle(8)"
            )
        return _regular(acting.group)[None]
    vectors = acting.linear(block.indices, block.keys)
    if vectors is None:
        raise ValueError(
            "the transform does not define how its elements act on vectors: use a transform of images or of "
            "point clouds, or pass the matrices of the representation"
        )
    return vectors if representation == "vector" else _by_matrix(representation, vectors)


def _stacked(stack: MatrixStack, acting: ActingElements) -> np.ndarray:
    if stack.shape[0] != len(acting.labels):
        raise ValueError(
            f"a representation must have one matrix per element: got {stack.shape[0]} for a transform of "
            f"{len(acting.labels)} elements"
        )
    if acting.group is not None:
        _check(stack, acting.group)
    return stack.array[None]


@lru_cache(maxsize=16)
def _check(stack: MatrixStack, group: Group) -> None:
    group.refuse_no_representation(stack.array)


@lru_cache(maxsize=4)
def _regular(group: Group) -> np.ndarray:
    return group.regular()


def _by_matrix(representation: Any, vectors: np.ndarray) -> np.ndarray:
    """Return D(R) for rotations (sample, element, 3, 3)."""
    if vectors.shape[-1] != 3:
        raise ValueError(
            f"D_from_matrix takes rotations in 3D, but the transform's elements act on {vectors.shape[-1]} "
            "coordinates. RandomOrthogonal and Orthogonal rotate points (n, points, 3)"
        )
    _check_products(representation)
    return _applied(representation, vectors)


def _applied(representation: Any, vectors: np.ndarray) -> np.ndarray:
    rotations = torch.from_numpy(np.ascontiguousarray(vectors.reshape(-1, 3, 3)))
    with _double_by_default():
        found = _array(_of(representation.D_from_matrix, rotations))
    if found.ndim != 3 or len(found) != len(rotations):
        raise ValueError(
            f"D_from_matrix must return one matrix per rotation; for {len(rotations)} rotations it returned "
            f"shape {tuple(found.shape)}"
        )
    return found.reshape(*vectors.shape[:2], *found.shape[-2:])


@contextmanager
def _double_by_default() -> Iterator[None]:
    """Set the default dtype to float64, since e3nn rounds its constants to it whatever the input dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@lru_cache(maxsize=16)
def _check_products(representation: Any) -> None:
    """Check D for two rotations about different axes and their product, which shows a wrong order or sign."""
    first = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    second = np.array([[1.0, 0.0, 0.0], [0.0, 0.28, -0.96], [0.0, 0.96, 0.28]])
    one, two, both = _applied(representation, np.stack([first, second, first @ second])[None])[0]
    gap = float(np.abs(one @ two - both).max())
    if not gap <= 1e-4:
        raise ValueError(
            f"{type(representation).__name__} is not a representation: D of a rotation by 36.87° about z "
            f"times D of one by 73.74° about x is not D of their product (off by {gap:.2g})"
        )
