"""Apply a transform to named fields of structured samples, to each according to its role."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.common.samples import field, with_fields
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.along_axis import Permuting, turned
from invariscope.transforms.machinery.given import as_transform
from invariscope.transforms.machinery.linear import Linear

VALUE, VECTOR, ROW, INDEX = "value", "vector", "row", "index"
ROLES = (VALUE, VECTOR, ROW, INDEX)


@dataclass(frozen=True, init=False)
class On(Linear):
    r"""A transform applied to named fields of structured samples: mappings, tuples, graphs, molecules.

    .. math:: t_j x = (\rho_1(t_j)\, x_1, \; \rho_2(t_j)\, x_2, \; \ldots)

    The same element acts on all named fields of a sample, with the same draw if elements are drawn per
    sample. Other fields do not change.

    Roles:

    - `"value"`: the field is transformed like a sample of its own, such as an image or a signal. PIL images
      and arrays of bytes are converted to values from 0 to 1, and back afterwards.
    - `"vector"`: the element's matrix acts on the last axis: positions, velocities, the rows of a unit cell.
    - `"row"`: rows are permuted: node features, tokens.
    - `"index"`: entries are row numbers, and are updated when rows are permuted: the edges of a graph.
    - an object with `D_from_matrix(R)`, such as the irreps of e3nn: the last axis is multiplied by that
      matrix.
    - a function `(field, element) -> field`, where `element` is the index of the element. The function
      receives a copy of the field.

    On feature maps of layers, the action is that of the transform itself.

    Caveats: roles are never inferred. An equivariant model looks broken if a field that should be transformed
    is not named, for example if the unit cell stays fixed while the positions rotate.

    Args:
        transform: the transform of the fields, in any form that `iv.measure` accepts.
        fields: names of fields with the role "value", or a mapping {name or index: role}.
        roles: {field name: role}, as keywords.
    Raises:
        TypeError: a role that is not one of these, or that the transform does not support.
        ValueError: no field, or an unknown role. During a measurement: a field that the samples lack.

    >>> import numpy as np
    >>> from invariscope.common.samples import as_samples
    >>> from invariscope.transforms import Orthogonal
    >>> turns = On(Orthogonal.turns(4), positions="vector")
    >>> water = as_samples([{"positions": np.array([[1.0, 0.0, 0.0]]), "kind": "H"}])
    >>> turns.orbit(water)[0, 1]
    {'positions': array([[0., 1., 0.]]), 'kind': 'H'}
    """

    structured: ClassVar[bool] = True

    transform: Transform
    roles: tuple[tuple[Any, Any], ...]
    _undoes: bool

    def __init__(self, transform: Any, *fields: Any, **roles: Any) -> None:
        found: dict[Any, Any] = {}
        for entry in fields:
            found |= dict(entry) if isinstance(entry, Mapping) else {entry: VALUE}
        found |= roles
        inner = as_transform(transform)
        if not found:
            raise ValueError("On needs at least one field, such as iv.On(transform, 'pixel_values')")
        for name, role in found.items():
            _refuse_role(name, role, inner)
        self._keep(transform=inner, roles=tuple(found.items()), _undoes=False)

    def __new__(cls, *args: Any, **roles: Any) -> On:
        """Accept any keyword, since users choose the names of fields."""
        return object.__new__(cls)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return rotations of the vectors in a field, and permuted rows with renumbered indices."""
        from invariscope.transforms.orthogonal import Orthogonal
        from invariscope.transforms.permutations import RandomPermutations

        return (
            cls(Orthogonal.turns(4), positions="vector"),
            cls(RandomPermutations(3), x="row", edge_index="index"),
        )

    @property
    def fields(self) -> tuple[Any, ...]:
        """Names of the fields that are transformed."""
        return tuple(name for name, _ in self.roles)

    def check(self, x: Any) -> None:
        """Raise TypeError for a tensor, which has no fields."""
        if isinstance(x, Tensor):
            raise TypeError(
                f"On transforms the fields {self.fields!r}, but the data are one tensor of shape "
                f"{tuple(x.shape)}: give samples with fields, or use the transform without On. In a tuple of "
                "two arrays, the second holds the targets; give several inputs as mappings, "
                "[{'a': x, 'b': y}, ...]"
            )

    def inverse(self) -> Transform:
        """Return the inverse elements on the same fields; raise TypeError if they are not known."""
        functions = [repr(name) for name, role in self.roles if _is_function(role)]
        if functions:
            raise TypeError(f"On has no known inverse: the role of {', '.join(functions)} is a function")
        if not self.transform.invertible:
            raise no_inverse(self.transform)
        found = On(self.transform, dict(self.roles))
        found._keep(_undoes=not self._undoes)
        return found

    def table(self) -> np.ndarray | None:
        """Return the group table of the transform."""
        return self.transform.table()

    def _traits(self) -> Traits:
        found = replace(self.transform.traits, slider=None, acts_on=None)
        if any(_is_function(role) for _, role in self.roles):
            found = replace(found, invertible=False)
        return (
            replace(found, labels=tuple(f"inverse of {own}" for own in found.labels))
            if self._undoes
            else found
        )

    def _own(self, motion: Motion) -> Motion:
        """Return the motion of the inner transform."""
        return replace(motion, inverse=motion.inverse != self._undoes)

    def linear_parts(self, motion: Motion) -> np.ndarray | None:
        """Return the matrices that act on vectors; None if there are none."""
        inner = self.transform
        return inner.linear_parts(self._own(motion)) if isinstance(inner, Linear) else None

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the transform to feature maps; raise TypeError for inputs, which need fields."""
        if not motion.on_maps:
            self.check(values)
        return self.transform.apply(values, self._own(motion))

    def moved_sample(self, sample: Any, motion: Motion) -> list[Any]:
        """Return the sample with transformed fields, once per element."""
        rows, motion = self._rows(sample), self._own(motion)
        moved: dict[Any, list[Any]] = {}
        for name, role in self.roles:
            values = field(sample, name)
            try:
                moved[name] = _moved(self.transform, values, role, motion, rows)
            except TypeError as error:
                raise TypeError(f"field {name!r}: {error}") from error
            except ValueError as error:
                raise ValueError(f"field {name!r}: {error}") from error
        count = len(motion.elements)
        return [with_fields(sample, {name: found[j] for name, found in moved.items()}) for j in range(count)]

    def _rows(self, sample: Any) -> int | None:
        """Return the number of rows in the fields with the role "row"; None if there are none."""
        counts = {name: len(field(sample, name)) for name, role in self.roles if role == ROW}
        if len(set(counts.values())) > 1:
            raise ValueError(f"fields with the role 'row' must have equal lengths; got {counts}")
        return next(iter(counts.values()), None)


def _refuse_role(name: Any, role: Any, transform: Transform) -> None:
    """Raise unless the transform supports this role for a field."""
    if isinstance(role, str) and role not in ROLES:
        raise unknown("role", role, ROLES, hint=f"It was given for the field {name!r}.")
    known = isinstance(role, str) or callable(role) or hasattr(role, "D_from_matrix")
    if not known:
        raise TypeError(
            f"the role of field {name!r} must be one of {', '.join(map(repr, ROLES))}, an object with "
            f"D_from_matrix, or a function (field, element) -> field; got {type(role).__name__}"
        )
    family = type(transform).__name__
    if role in (ROW, INDEX) and not isinstance(transform, Permuting):
        raise TypeError(
            f"{family} has no role {role!r}, since it does not permute rows: use iv.Permutations or "
            "iv.RandomPermutations"
        )
    turns = role == VECTOR or hasattr(role, "D_from_matrix")
    if turns and (isinstance(transform, Permuting) or not isinstance(transform, Linear)):
        raise TypeError(f"{family} does not act on vectors: use iv.RandomOrthogonal or a rotation")


def _moved(transform: Transform, values: Any, role: Any, motion: Motion, rows: int | None) -> list[Any]:
    """Return one sample's field under each element of a motion."""
    if role == VALUE:
        return transform.moved_sample(values, motion)
    if _is_function(role):
        return [_by_function(role, values, int(element)) for element in motion.elements]
    array, restore = _as_array(values)
    if role == VECTOR:
        return [restore(v) for v in _turned(array, _matrices(transform, motion))]
    if role == ROW:
        return [restore(array[_tensor(np.argsort(p))]) for p in _places(transform, len(array), motion)]
    if role == INDEX:
        return [restore(v) for v in _renumbered(array, transform, motion, rows)]
    matrices = torch.from_numpy(np.ascontiguousarray(_matrices(transform, motion)))
    return [restore(v) for v in _turned(array, _by_irreps(role, matrices))]


def _by_function(role: Callable[[Any, int], Any], values: Any, element: int) -> Any:
    """Apply a user's function to a copy of a field, so that it may work in place.

    Raises:
        ValueError: the function fails.
    """
    try:
        return role(copy.deepcopy(values), element)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"its role, a function (field, element) -> field, failed for element {element} with "
            f"{type(error).__name__}: {error}"
        ) from error


def _as_array(values: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Return a field as a tensor, and a function that converts a tensor back to the field's type."""
    if isinstance(values, Tensor):
        return values, lambda moved: moved
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"it must be an array of numbers for this role; got {type(values).__name__}")
    found = torch.from_numpy(np.array(array))
    if isinstance(values, np.ndarray):
        return found, lambda moved: moved.numpy()
    return found, lambda moved: moved.tolist() if isinstance(values, list) else moved.numpy()


def _is_function(role: Any) -> bool:
    return callable(role) and not hasattr(role, "D_from_matrix")


def _matrices(transform: Transform, motion: Motion) -> np.ndarray:
    """Return the (element, d, d) matrices of one sample."""
    found = transform.linear_parts(motion) if isinstance(transform, Linear) else None
    if found is None:
        raise TypeError(f"{type(transform).__name__} does not act on vectors")
    return found[0] if found.ndim == 4 else found


def _turned(values: Tensor, matrices: np.ndarray | Tensor) -> Tensor:
    """Multiply the vectors along the last axis by each matrix and return (element, ...) values."""
    by = torch.as_tensor(np.ascontiguousarray(matrices) if isinstance(matrices, np.ndarray) else matrices)
    if not values.is_floating_point():
        raise TypeError(f"vectors must be floating-point values; got {values.dtype}")
    if not values.ndim or values.shape[-1] % by.shape[-1]:
        raise TypeError(
            f"the last axis must hold vectors of {by.shape[-1]} entries; got shape {tuple(values.shape)}"
        )
    columns = values[None, None].expand(1, len(by), *values.shape)
    return turned(columns, by.to(values.device), columns.ndim - 1)[0]


def _places(transform: Transform, rows: int, motion: Motion) -> np.ndarray:
    """Return the (element, row) new place of each row, inverted if the motion is inverse."""
    assert isinstance(transform, Permuting)
    found = transform.places_of(rows, motion)
    found = found[0] if found.ndim == 3 else found
    return np.argsort(found, axis=-1) if motion.inverse else found


def _renumbered(values: Tensor, transform: Transform, motion: Motion, rows: int | None) -> list[Tensor]:
    if rows is None:
        raise TypeError("indices refer to the rows of another field: give that field the role 'row'")
    if values.is_floating_point() or values.is_complex():
        raise TypeError(f"indices must be integers; got {values.dtype}")
    if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < rows:
        raise ValueError(
            f"indices run from {int(values.min())} to {int(values.max())}, but there are {rows} rows"
        )
    return [_tensor(p)[values.long()].to(values.dtype) for p in _places(transform, rows, motion)]


def _tensor(places: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(places))


def _by_irreps(representation: Any, rotations: Tensor) -> Tensor:
    """Return the (element, d, d) matrices of a representation, computed in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn rounds its constants to the default dtype
    try:
        return torch.as_tensor(representation.D_from_matrix(rotations.double()))
    finally:
        torch.set_default_dtype(before)
