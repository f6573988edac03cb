"""What a transform's elements should do to the responses of a layer: a choice that a verdict depends on."""

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

_SAME = 1e-6  # of a matrix's entries: what still counts as the identity


class FeatureAction(abc.ABC):
    """An action of a transform's elements on a layer."""

    name: ClassVar[str]

    @property
    def called(self) -> str:
        """What a person calls it, and rows are named after: its label, its representation, or its kind.

        >>> FibreAction("regular").called, MatrixAction([[[1.0]]], label="sign").called
        ('regular', 'sign')
        """
        representation = getattr(self, "representation", None)
        return getattr(self, "label", "") or (
            representation if isinstance(representation, str) else self.name
        )

    @abc.abstractmethod
    def kernel(self, block: Block) -> np.ndarray | None:
        """(sample or 1, element) flags of the elements that change no response; None: only the identity."""

    @abc.abstractmethod
    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """The elements, or their inverses, applied to (sample, element, unit...) maps.

        Raises:
            NotApplicableError: there is no action on this layer.
        """

    @abc.abstractmethod
    def moves_positions(self, layer: str, axes: int) -> bool:
        """Whether values change places on this layer, so that some may leave the image.

        Args:
            layer: its name.
            axes: how many axes its units have: 3 for maps (C, H, W).
        """

    def moved(self, block: Block, responses: Tensor) -> Tensor:
        """(sample, element, unit...) what the elements make of (sample, unit...) responses."""
        copies = responses[:, None].expand(-1, block.elements, *responses.shape[1:])
        return copies if block.restored else self.applied(block, copies, inverse=False)

    def undone(self, block: Block) -> Tensor:
        """(sample, element, unit...) the responses with each element's action undone."""
        return block.orbits() if block.restored else self.applied(block, block.orbits(), inverse=True)

    def applied(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Call `acted` and check it: a user's action may fail, or change the shape of the responses.

        Raises:
            NotApplicableError: it does either, or there is no action on this layer.
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
                f"the action {self.called!r} must return a tensor of the shape that it was given, "
                f"{tuple(maps.shape)}; it returned {got}"
            )
        return found


@dataclass(frozen=True)
class TrivialAction(FeatureAction):
    """Nothing changes: what an invariant layer should do."""

    name: ClassVar[str] = "trivial"

    def kernel(self, block: Block) -> np.ndarray | None:
        """All elements."""
        return np.ones((1, block.elements), bool)

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """The maps as they are."""
        return maps

    def moves_positions(self, layer: str, axes: int) -> bool:
        """No."""
        return False


@dataclass(frozen=True)
class SpatialAction(FeatureAction):
    """What the transform does to an input, done to the response: to each feature map as to an image."""

    name: ClassVar[str] = "spatial"

    def kernel(self, block: Block) -> np.ndarray | None:
        """The identity alone."""
        return None

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """The transform's own action, scaled to the size of the maps."""
        return block.acted(maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True)
class RowAction(FeatureAction):
    """Rows of a response change places as the rows of the input do: nodes of a graph, tokens, atoms.

    For layers whose rows are kept apart with `iv.Rows`, or that have their rows first.
    """

    name: ClassVar[str] = "row"

    def kernel(self, block: Block) -> np.ndarray | None:
        """The identity alone."""
        return None

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """The rows in the places to which the elements move them."""
        return block.acted(maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """No value leaves the response."""
        return False


@dataclass(frozen=True)
class FibreAction(FeatureAction):
    r"""Positions move as in an image, and channels are mixed by a representation: spatial ⊗ fibre.

    .. math:: (g f)(p) = \rho(g)\, f(g^{-1} p)

    For maps (C, H, W), and for flat layers (C,), which have no positions. C is a multiple of the dimension of
    ρ: each run of so many channels is one fibre.

    Args:
        representation: "regular": as many channels as elements, which change places as the elements do when
            multiplied; "vector": channels are entries of vectors and turn as those of the inputs (x to
            the right, y down); matrices (m, d, d), one an element; or an object with `representation(g)`,
            such as a field type of escnn, or `D_from_matrix(R)`, such as e3nn's irreps.
        elements: what is given to `representation(g)`, in the order of the transform's elements; by default
            the elements that the object's own group lists, in its order.
        label: what rows of results are named after, so that one run can hold several such actions.
    Raises:
        ValueError: an unknown name, or matrices of another shape. When measured: matrices that do not
            multiply as the transform's group does; the pair is named.
        TypeError: no representation.
    """

    name: ClassVar[str] = "fibre"
    representation: Any
    elements: InitVar[Any] = None
    label: str = field(default="", kw_only=True)

    def __post_init__(self, elements: Any) -> None:
        object.__setattr__(self, "representation", as_representation(self.representation, elements))
        refuse_label(self.label)

    def kernel(self, block: Block) -> np.ndarray | None:
        """Of maps the identity alone; of flat layers that of the representation."""
        return None if block.values.ndim == 4 else _kernel(matrices_of(self.representation, block))

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Positions moved and channels mixed."""
        matrices = matrices_of(self.representation, block)
        if block.ragged:  # rows of one sample, each with its vectors
            return _mixed(maps, matrices, -1, inverse=inverse)
        if maps.ndim not in (3, 5):
            raise NotApplicableError(
                f"channels are mixed in maps (C, H, W) and flat layers (C,), not in {tuple(maps.shape[2:])}"
            )
        moved = block.acted(maps, inverse=inverse) if maps.ndim == 5 else maps
        return _mixed(moved, matrices, 0, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """In maps."""
        return axes == 3


@dataclass(frozen=True)
class MatrixAction(FeatureAction):
    r"""Entries along one axis of a response are mixed by a representation, and no position moves.

    .. math:: g f = \rho(g)\, f

    For flat layers, and for features of points or tokens (points, features).

    Args:
        representation, elements: as of `FibreAction`.
        axis: of the response without its samples; the last one by default.
        label: as of `FibreAction`.
    Raises:
        ValueError, TypeError: as `FibreAction`.
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
        """That of the representation."""
        return _kernel(matrices_of(self.representation, block))

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """Entries mixed."""
        return _mixed(maps, matrices_of(self.representation, block), self.axis, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """No."""
        return False


@dataclass(frozen=True)
class ActionByLayer(FeatureAction):
    """An action of its own in each layer: that of the first pattern that the layer's name fits.

    Args:
        actions: (name or glob, action); `*` crosses dots.
    """

    name: ClassVar[str] = "by_layer"
    actions: tuple[tuple[str, FeatureAction], ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ActionByLayer:
        """From {name or glob: an action, or the name of one}.

        Raises:
            ValueError: nothing in it, or an unknown name.
            TypeError: a key that is no text, a value that is no action.
        """
        if not given or not all(isinstance(pattern, str) for pattern in given):
            raise ValueError(f"actions by layer are a mapping {{name or glob: action}}; got {given!r}.")
        return cls(tuple((pattern, as_feature_action(action)) for pattern, action in given.items()))

    def at(self, layer: str) -> FeatureAction:
        """The action on the layer of that name.

        Raises:
            NotApplicableError: no pattern matches.
        """
        for pattern, action in self.actions:
            if matches(pattern, layer):
                return action
        raise NotApplicableError(
            f"no action is given for it: add {layer!r}, or a pattern that matches, to the mapping"
        )

    def kernel(self, block: Block) -> np.ndarray | None:
        """That of the layer's action."""
        return self.at(block.layer).kernel(block)

    def acted(self, block: Block, maps: Tensor, *, inverse: bool) -> Tensor:
        """As the layer's action says."""
        return self.at(block.layer).acted(block, maps, inverse=inverse)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """As the layer's action does."""
        try:
            return self.at(layer).moves_positions(layer, axes)
        except NotApplicableError:
            return False


def as_feature_action(given: Any) -> FeatureAction:
    """A feature action from an object, a name ("trivial", "spatial", "regular", "vector"), or those by layer.

    Args:
        given: one of these, or a mapping {name or glob of layers: one of these}.
    Raises:
        ValueError: an unknown name.
        TypeError: nothing of the kind.
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
        "feature_action is 'trivial', 'spatial', 'row', 'regular', 'vector', an object such as "
        "FibreAction(representation) or MatrixAction(matrices), or a mapping from layers to those; "
        f"got {type(given).__name__}."
    )


def _kernel(matrices: np.ndarray) -> np.ndarray:
    """(sample or 1, element) which matrices are the identity."""
    return np.abs(matrices - np.eye(matrices.shape[-1])).max(axis=(2, 3)) < _SAME


def _mixed(maps: Tensor, matrices: np.ndarray, axis: int, *, inverse: bool) -> Tensor:
    """Entries along a unit axis, in runs of d, multiplied by (sample or 1, element, d, d), in float64."""
    units, size = maps.ndim - 2, matrices.shape[-1]
    if not -units <= axis < units or maps.shape[2:][axis] % size:
        raise NotApplicableError(
            f"the representation mixes {size} entries, and the layer's shape {tuple(maps.shape[2:])} has no "
            f"multiple of them along axis {axis}"
        )
    chosen = np.linalg.inv(matrices) if inverse else matrices
    by = torch.tensor(chosen, device=maps.device)
    place = 2 + axis % units
    runs = maps.double().unflatten(place, (-1, size)).movedim(place + 1, -1)
    found = runs.flatten(2, -2) @ by.transpose(-1, -2)
    return found.view(runs.shape).movedim(-1, place + 1).flatten(place, place + 1)
