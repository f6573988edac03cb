"""Actions of a transform's elements on layers; results on equivariance depend on the choice of action."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.fitted_action import refuse_label
from invariscope.actions.representations import NAMED, as_representation, matrices_of
from invariscope.block import Block, NotApplicableError
from invariscope.common.globs import matches
from invariscope.common.registry import unknown

_SAME = 1e-6  # largest deviation of a matrix's entries from the identity for elements that act trivially


class FeatureAction(abc.ABC):
    """An action of a transform's elements on a layer."""

    name: ClassVar[str]

    @property
    def called(self) -> str:
        """The name used in result rows: the label, the representation's name, or the kind of action.

        >>> FibreAction("regular").called, MatrixAction([[[1.0]]], label="sign").called
        ('regular', 'sign')
        """
        representation = getattr(self, "representation", None)
        return getattr(self, "label", "") or (
            representation if isinstance(representation, str) else self.name
        )

    @abc.abstractmethod
    def kernel(self, block: Block) -> np.ndarray | None:
        """Return a (sample or 1, element) mask of elements that act trivially.

        None means that only the identity does.
        """

    @abc.abstractmethod
    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Apply the elements, or their inverses, to (sample, element, unit...) maps.

        Raises:
            NotApplicableError: there is no action on this layer.
        """

    @abc.abstractmethod
    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return whether the action moves values to other positions in this layer, possibly out of the map.

        Args:
            layer: name of the layer.
            axes: number of axes of its units: 3 for maps (C, H, W).
        """

    def alike(self, layer: str, other: str) -> bool:
        """Return whether the elements act in the same way on layers of these names and equal shapes."""
        return True

    def moved(self, block: Block, responses: Tensor) -> Tensor:
        """Apply each element to (sample, unit...) responses and return (sample, element, unit...) t a(x)."""
        copies = responses[:, None].expand(-1, block.elements, *responses.shape[1:])
        return copies if block.restored else self.applied(block, copies, inverse=False)

    def undone(self, block: Block) -> Tensor:
        """Return the (sample, element, unit...) responses with each element's action undone, t⁻¹a(tx)."""
        return block.orbits() if block.restored else self.applied(block, block.orbits(), inverse=True)

    def applied(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Call `acted` and check its result, since a user's action may fail or change the shape.

        Raises:
            NotApplicableError: the action fails, changes the shape, or is not defined on this layer.
        """
        try:
            found = self.acted(block, maps, inverse=inverse)
        except (ValueError, TypeError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise NotApplicableError(
                f"the action {self.called!r} failed on responses of shape {tuple(maps.shape[2:])} with "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, Tensor) or found.shape != maps.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise NotApplicableError(
                f"the action {self.called!r} must return a tensor of the same shape as its input, "
                f"{tuple(maps.shape)}; it returned {got}"
            )
        return found


@dataclass(frozen=True)
class TrivialAction(FeatureAction):
    """The elements change nothing: the action on an invariant layer."""

    name: ClassVar[str] = "trivial"

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return a mask that is True for all elements."""
        return np.ones((1, block.elements), bool)

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Return the maps unchanged."""
        return maps

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class SpatialAction(FeatureAction):
    """The elements act on each feature map as they act on an image."""

    name: ClassVar[str] = "spatial"

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return None: only the identity acts trivially."""
        return None

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Apply the transform's own action, scaled to the size of the maps."""
        return block.acted(maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class RowAction(FeatureAction):
    """The rows of a response (nodes of a graph, tokens, atoms) are permuted like the rows of the input.

    Applies to layers whose rows are split by sample with `iv.Rows`, or whose first unit axis holds the rows.
    """

    name: ClassVar[str] = "row"

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return None: only the identity acts trivially."""
        return None

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Permute the rows."""
        return block.acted(maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return False: no value leaves the response."""
        return False


@dataclass(frozen=True)
class FibreAction(FeatureAction):
    r"""Positions move as in an image, and a representation mixes channels: spatial ⊗ fibre.

    .. math:: (g f)(p) = \rho(g)\, f(g^{-1} p)

    Applies to maps (C, H, W), and to flat layers (C,), which have no positions. C must be a multiple of the
    dimension d of ρ: each run of d channels is one fibre.

    Args:
        representation: "regular" (one channel per element, permuted by multiplication in the group), "vector"
            (channels are components of vectors that rotate like those of the inputs, x to the right and y
            down), matrices (m, d, d) with one per element, or an object with `representation(g)`, such as a
            field type of escnn, or with `D_from_matrix(R)`, such as e3nn's irreps.
        elements: arguments for `representation(g)`, in the order of the transform's elements; by default
            the elements that the object's own group lists, in its order.
        label: name used in result rows, so that a run can include several such actions.
    Raises:
        ValueError: an unknown name, or matrices of the wrong shape. During a measurement: matrices that do
            not represent the transform's group; the message names the first pair that fails.
        TypeError: not a representation.
    """

    name: ClassVar[str] = "fibre"
    representation: Any
    elements: InitVar[Any] = None
    label: str = field(default="", kw_only=True)

    def __post_init__(self, elements: Any) -> None:
        object.__setattr__(self, "representation", as_representation(self.representation, elements))
        refuse_label(self.label)

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return None for maps, and the kernel of the representation for flat layers."""
        return None if block.values.ndim == 4 else _kernel(matrices_of(self.representation, block))

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Move positions and mix channels."""
        matrices = matrices_of(self.representation, block)
        if block.ragged:  # rows of one sample, each with its vectors
            return _mixed(maps, matrices, -1, inverse=inverse)
        if maps.ndim not in (3, 5):
            raise NotApplicableError(
                "channels can only be mixed in maps (C, H, W) and flat layers (C,); the layer has shape "
                f"{tuple(maps.shape[2:])}"
            )
        moved = block.acted(maps, inverse=inverse) if maps.ndim == 5 else maps
        return _mixed(moved, matrices, 0, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return True for maps."""
        return axes == 3


@dataclass(frozen=True)
class MatrixAction(FeatureAction):
    r"""A representation mixes entries along one axis of a response, and positions do not move.

    .. math:: g f = \rho(g)\, f

    Applies to flat layers, and to features of points or tokens (points, features).

    Args:
        representation, elements: see `FibreAction`.
        axis: the mixed axis of one sample's response; by default the last one.
        label: see `FibreAction`.
    Raises:
        ValueError, TypeError: see `FibreAction`.
    """

    name: ClassVar[str] = "matrix"
    representation: Any
    elements: InitVar[Any] = None
    axis: int = -1
    label: str = field(default="", kw_only=True)

    def __post_init__(self, elements: Any) -> None:
        object.__setattr__(self, "representation", as_representation(self.representation, elements))
        refuse_label(self.label)

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return the kernel of the representation."""
        return _kernel(matrices_of(self.representation, block))

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Mix the entries."""
        return _mixed(maps, matrices_of(self.representation, block), self.axis, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class ActionByLayer(FeatureAction):
    """A different action in each layer, given by the first pattern that matches the layer's name.

    Args:
        actions: (name or glob, action) pairs; `*` crosses dots.
    """

    name: ClassVar[str] = "by_layer"
    actions: tuple[tuple[str, FeatureAction], ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ActionByLayer:
        """Return the action given by a mapping {name or glob: action, or its name}.

        Raises:
            ValueError: an empty mapping, a key that is not a string, or an unknown name.
            TypeError: a value that is not an action.
        """
        if not given or not all(isinstance(pattern, str) for pattern in given):
            raise ValueError(f"actions by layer must be a mapping {{name or glob: action}}; got {given!r}")
        return cls(tuple((pattern, as_feature_action(action)) for pattern, action in given.items()))

    def at(self, layer: str) -> FeatureAction:
        """Return the action on a layer.

        Raises:
            NotApplicableError: no pattern matches.
        """
        found = self._first(layer)
        if found is None:
            raise NotApplicableError(
                f"the mapping has no action for this layer: add {layer!r}, or a pattern that matches it"
            )
        return found

    def _first(self, layer: str) -> FeatureAction | None:
        return next((action for pattern, action in self.actions if matches(pattern, layer)), None)

    def alike(self, layer: str, other: str) -> bool:
        """Return whether the mapping has equal actions for both layers, or none for both."""
        return self._first(layer) == self._first(other)

    def kernel(self, block: Block) -> np.ndarray | None:
        """Return the kernel of the layer's action."""
        return self.at(block.layer).kernel(block)

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Apply the layer's action."""
        return self.at(block.layer).acted(block, maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return whether the layer's action moves positions; False for a layer without an action."""
        try:
            return self.at(layer).moves_positions(layer, axes)
        except NotApplicableError:
            return False


def as_feature_action(given: Any) -> FeatureAction:
    """Return the feature action given by an object, a name, or a mapping from layers.

    Args:
        given: an action; "trivial", "spatial", "row", "regular" or "vector"; an object with
            `D_from_matrix(R)`; or a mapping {name or glob of layers: one of these}.
    Raises:
        ValueError: an unknown name.
        TypeError: `given` is none of these.
    """
    if isinstance(given, FeatureAction):
        return given
    plain: dict[str, FeatureAction] = {
        "trivial": TrivialAction(),
        "spatial": SpatialAction(),
        "row": RowAction(),
    }
    if isinstance(given, str):
        if given not in (*plain, *NAMED):
            raise unknown("feature action", given, (*plain, *NAMED))
        return plain.get(given) or FibreAction(given)
    if isinstance(given, Mapping):
        return ActionByLayer.of(given)
    if hasattr(given, "D_from_matrix"):
        return MatrixAction(given)
    raise TypeError(
        "feature_action must be 'trivial', 'spatial', 'row', 'regular', 'vector', an object such as "
        "FibreAction(representation) or MatrixAction(matrices), or a mapping from layers to these; "
        f"got {type(given).__name__}"
    )


def _kernel(matrices: np.ndarray) -> np.ndarray:
    """Return a (sample or 1, element) mask of identity matrices."""
    return np.abs(matrices - np.eye(matrices.shape[-1])).max(axis=(2, 3)) < _SAME


def _mixed(maps: Tensor, matrices: np.ndarray, axis: int, *, inverse: bool) -> Tensor:
    """Multiply runs of d entries along a unit axis by (sample or 1, element, d, d) matrices, in float64."""
    units, size = maps.ndim - 2, matrices.shape[-1]
    if not -units <= axis < units or maps.shape[2:][axis] % size:
        raise NotApplicableError(
            f"the representation mixes {size} entries, but the size of axis {axis} of the layer, of shape "
            f"{tuple(maps.shape[2:])}, is not a multiple of {size}"
        )
    chosen = np.linalg.inv(matrices) if inverse else matrices
    by = torch.tensor(chosen, device=maps.device)
    place = 2 + axis % units
    runs = maps.double().unflatten(place, (-1, size)).movedim(place + 1, -1)
    found = runs.flatten(2, -2) @ by.transpose(-1, -2)
    return found.view(runs.shape).movedim(-1, place + 1).flatten(place, place + 1)
