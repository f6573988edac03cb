"""What every transform can do, and the register of the families."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, sample_keys
from invariscope.common.registry import Registry, refuse_unknown_options, snake_case

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


@dataclass(frozen=True, eq=False)
class Motion:
    """One application of a transform: which element moves which column of the values, and how.

    Args:
        elements: indices, (column,) for the same in all samples or (sample, column).
        draws: the per-sample random numbers, one a column.
        inverse: apply the inverse elements.
        on_maps: the values are feature maps, not inputs.
        input_size: (H, W) of the inputs that led to the feature maps, where it matters.
    """

    elements: np.ndarray
    draws: Draws
    inverse: bool = False
    on_maps: bool = False
    input_size: tuple[int, int] | None = None


class Transform(ABC):
    """A finite, ordered, labelled list of elements, each of which moves an input.

    Families are frozen dataclasses: equal arguments make equal transforms. A concrete public subclass in this
    package is listed under its snake_case name by being defined, and provides `examples()` for the shared
    test suite, the documentation and the command line.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            TRANSFORMS.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuses misspelt options before the dataclass does, which could not say what was meant."""
        refuse_unknown_options(cls, options)
        return super().__new__(cls)

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Transform, ...]:
        """A few instances that show what the family offers."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """A short name for each element, such as "22.5°"."""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """One value an element for each parameter; units stand in the names, such as `angle_deg`."""

    @property
    @abstractmethod
    def identity(self) -> int | None:
        """Index of the element that changes nothing, None where there is none."""

    @property
    @abstractmethod
    def exact(self) -> tuple[bool, ...]:
        """Which elements move whole pixels of square images, bit for bit, without interpolation."""

    @property
    @abstractmethod
    def per_sample(self) -> bool:
        """Whether an element means something else for each sample, as with jitter."""

    @property
    @abstractmethod
    def invertible(self) -> bool:
        """Whether every element has a known inverse."""

    @abstractmethod
    def check(self, x: Any) -> None:
        """Raises a TypeError that says what came, for data that this transform cannot move."""

    @abstractmethod
    def inverse(self) -> Transform:
        """The transform whose element j undoes element j of this one; TypeError where none is known."""

    @abstractmethod
    def table(self) -> np.ndarray | None:
        """Group table (m, m): entry [j, k] is the element "k, then j"; None where this is no finite group."""

    @abstractmethod
    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Values (sample, column, ...) with the motion's elements applied; refuses undeclared actions."""

    def __len__(self) -> int:
        """How many elements there are."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return len(self.labels)

    def orbit(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Apply all elements to each sample.

        Args:
            x: the batch, on any device.
            indices: (sample,) positions in the data, for transforms whose coefficients are given by
                position; by default 0, 1, 2, ...
            keys: (sample,) integers that identify the samples, for families that draw per sample; by
                default the indices. Draws depend on (seed, key, element) and on nothing else.
            seed: of the draws.
        Returns:
            The orbits; elements may come first in memory, so that `orbit(x).transpose(0, 1)` costs nothing.
        Raises:
            TypeError: the data cannot be moved by this transform.
        """
        self.check(x)
        columns = x.unsqueeze(1).expand(len(x), len(self), *x.shape[1:])
        return self._apply(columns, self._motion(len(x), indices, keys, seed))

    def round_trip(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Each element and then its inverse, applied to each sample: what interpolation and padding cost.

        Takes what `orbit` takes and returns the same shape; equal to x wherever the elements are exact and
        nothing left the image.
        """
        if not self.invertible:
            raise no_inverse(self)
        moved = self.orbit(x, indices=indices, keys=keys, seed=seed)
        return self._apply(moved, self._motion(len(x), indices, keys, seed, inverse=True))

    def random(
        self, x: Shaped[Tensor, "sample ..."], *, generator: torch.Generator
    ) -> Shaped[Tensor, "sample ..."]:
        """One element for each sample, drawn independently: for data augmentation.

        Args:
            x: the batch, on any device.
            generator: the only source of chance.
        """
        self.check(x)
        place = generator.device
        chosen = torch.randint(len(self), (len(x), 1), generator=generator, device=place).cpu().numpy()
        seed = int(torch.randint(2**62, (), generator=generator, device=place))
        draws = Draws(seed=seed, keys=np.arange(len(x)))
        return self._apply(x.unsqueeze(1), Motion(chosen, draws)).squeeze(1)

    def act(
        self,
        maps: Float[Tensor, "sample element ..."],
        *,
        inverse: bool = False,
        input_size: tuple[int, int] | None = None,
        indices: Any = None,
        keys: Any = None,
        seed: int = 0,
    ) -> Float[Tensor, "sample element ..."]:
        """Element j, or its inverse, applied to `maps[:, j]`: what the transform should do to a feature map.

        Args:
            maps: responses, for families that move pixels (sample, element, C, H, W).
            inverse: undo the elements instead.
            input_size: (H, W) of the input, where the maps are smaller or larger: the action is scaled by the
                ratio of the sizes. Transforms that shift by pixels ask for it.
            indices, keys: as given to `orbit`, for families that draw per sample.
            seed: as given to `orbit`.
        Raises:
            TypeError: no action is declared, or the maps have no axes for it.
            ValueError: another number of elements, or an input size is needed.
        """
        if maps.ndim < 2 or maps.shape[1] != len(self):
            raise ValueError(
                f"maps have an element on axis 1: expected (n, {len(self)}, ...), got {tuple(maps.shape)}."
            )
        options: dict[str, Any] = {"inverse": inverse, "on_maps": True, "input_size": input_size}
        motion = self._motion(len(maps), indices, keys, seed, **options)
        return self._apply(maps, motion)

    def describe(self) -> dict[str, Any]:
        """Family, options, labels and parameters in plain values that JSON can hold."""
        assert is_dataclass(self)
        return {
            "family": snake_case(type(self).__name__),
            "options": {name: _plain(getattr(self, name)) for name in _public_fields(self)},
            "labels": list(self.labels),
            "parameters": {name: list(values) for name, values in self.parameters.items()},
        }

    def _motion(self, samples: int, indices: Any, keys: Any, seed: int, **options: Any) -> Motion:
        places = sample_keys(indices, samples)
        who = places if keys is None else sample_keys(keys, samples, name="keys")
        draws = Draws(seed=seed, keys=who, slots=len(self), indices=places)
        return Motion(np.arange(len(self)), draws, **options)


TRANSFORMS: Registry[Transform] = Registry("transform", "invariscope.transforms")


def as_transform(obj: Any) -> Transform:
    """A transform from whatever a user may write for one.

    Args:
        obj: a Transform (returned as it is), a callable on batches or a list of them (their `Elements`), or
            the registry name of a family that needs no arguments.
    Raises:
        TypeError: nothing of the kind.
        ValueError: an unknown name (with the closest ones), or a family that needs arguments.

    >>> as_transform("quarter_turns").labels
    ('0°', '90°', '180°', '270°')
    >>> len(as_transform([lambda x: x, lambda x: -x]))
    2
    """
    if isinstance(obj, Transform):
        return obj
    if isinstance(obj, str):
        if "(" in obj:
            raise ValueError(f"a transform with arguments is given as an object: iv.{obj}, not as text")
        return _with_defaults(TRANSFORMS.get(obj))
    if isinstance(obj, type) and issubclass(obj, Transform):
        raise TypeError(
            f"{obj.__name__} is a family: give one of its transforms, such as {obj.__name__}(...)."
        )
    if callable(obj) or isinstance(obj, list | tuple):
        from invariscope.transforms.elements import Elements

        return Elements(
            cast("list[Callable[[Tensor], Tensor]]", obj if isinstance(obj, list | tuple) else [obj])
        )
    raise TypeError(
        f"a transform is a Transform, a callable on batches, a list of callables, or a name; "
        f"got {type(obj).__name__}."
    )


def _with_defaults(family: type[Transform]) -> Transform:
    arguments = inspect.signature(family).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind is not a.VAR_KEYWORD]
    if needed:
        raise ValueError(
            f"{family.__name__} has no default elements: it needs {', '.join(needed)}. "
            f"Build it in Python, {family.__name__}(...), and give the object instead of its name."
        )
    return family()


def no_inverse(transform: Transform) -> TypeError:
    """The refusal of a transform that cannot be undone."""
    return TypeError(
        f"{type(transform).__name__} has no known inverse. Callables need theirs declared: "
        "Elements([...], inverses=[...])."
    )


def _public_fields(transform: Any) -> list[str]:
    return [option.name for option in fields(transform) if not option.name.startswith("_")]


def _plain(value: Any) -> Any:
    if isinstance(value, Transform):
        return value.describe()
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
