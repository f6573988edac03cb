"""What every transform can do, and the register of the families."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, sample_keys
from invariscope.common.registry import Registry, refuse_unknown_options, snake_case
from invariscope.common.samples import is_structured
from invariscope.transforms.machinery.pixels import as_values
from invariscope.transforms.machinery.traits import Motion, Traits

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


__all__ = ["TRANSFORMS", "Motion", "Traits", "Transform", "no_inverse"]


class Transform(ABC):
    """A finite, ordered, labelled list of elements, each of which moves an input.

    Families are frozen dataclasses: equal arguments make equal transforms. A family defines the six abstract
    methods below. If it is public, it is listed under its snake_case name by being defined, and its
    `examples()` are what the shared test suite, the documentation and the command line work on.
    """

    def __init_subclass__(cls, *, listed: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if listed and not cls.__name__.startswith("_"):
            TRANSFORMS.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse misspelt options before the dataclass does, which could not say what was meant."""
        refuse_unknown_options(cls, options)
        return super().__new__(cls)

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a few instances that show what the family offers."""

    @abstractmethod
    def _traits(self) -> Traits:
        """Return what is known of the elements; read as `traits`."""

    @abstractmethod
    def check(self, x: Any) -> None:
        """Raise TypeError, saying what came, for data that this transform cannot move."""

    @abstractmethod
    def inverse(self) -> Transform:
        """Return the transform whose element j undoes element j of this one; TypeError if none is known."""

    @abstractmethod
    def table(self) -> np.ndarray | None:
        """Return the group table (m, m): entry [j, k] is "k, then j"; None if this is no finite group."""

    @abstractmethod
    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Return values (sample, column, ...) with the motion's elements applied.

        Raises:
            TypeError: an inverse, or an action on feature maps, that is not known.
        """

    @cached_property
    def traits(self) -> Traits:
        """What is known of the elements."""
        return self._traits()

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name per element, such as "22.5°"."""
        return self.traits.labels

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """By name, one value per element; units stand in the names, such as `angle_deg`."""
        return self.traits.parameters

    @property
    def identity(self) -> int | None:
        """Index of the element that changes nothing; None if there is none."""
        return self.traits.identity

    @property
    def exact(self) -> tuple[bool, ...]:
        """Which elements move whole pixels of square images, bit for bit, without interpolation."""
        return self.traits.exact or (False,) * len(self)

    @property
    def per_sample(self) -> bool:
        """Whether an element differs between samples, as with jitter."""
        return self.traits.per_sample

    @property
    def invertible(self) -> bool:
        """Whether every element has a known inverse."""
        return self.traits.invertible

    def __len__(self) -> int:
        """Return how many elements there are."""
        return len(self.traits.labels)

    def orbit(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Apply all elements to each sample.

        Args:
            x: the batch, on any device; or a one-dimensional array of objects, of which each is a sample.
            indices: (sample,) positions in the data, for transforms whose coefficients are given by
                position; by default 0, 1, 2, ...
            keys: (sample,) integers that identify the samples, for families that draw per sample; by
                default the indices. Draws depend on (seed, key, element) and on nothing else.
            seed: of the draws.
        Returns:
            The orbits; elements may come first in memory, so that `orbit(x).transpose(0, 1)` costs nothing.
            Of an array of objects (sample, element) such an array.
        Raises:
            TypeError: the data cannot be moved by this transform.
        """
        motion = self.motion_of(len(x), indices, keys, seed)
        if is_structured(x):
            return self._of_samples(x, motion)
        self.check(x)
        columns = x.unsqueeze(1).expand(len(x), len(self), *x.shape[1:])
        return self.apply(columns, motion)

    def moved_sample(self, sample: Any, motion: Motion) -> list[Any]:
        """Return a single sample, such as an image or a text, under each element of a motion.

        Args:
            sample: a tensor, an array or an image; families that move other samples replace this method.
            motion: of this sample alone.
        Raises:
            TypeError: a sample of a kind that this transform does not move.
        """
        values, restore = as_values(sample, type(self).__name__)
        self.check(values[None])
        columns = values[None, None].expand(1, len(motion.elements), *values.shape)
        return [restore(moved) for moved in self.apply(columns, motion)[0]]

    def _of_samples(self, samples: np.ndarray, motion: Motion) -> Any:
        """Return (sample, element) moved samples, one sample at a time."""
        found = np.empty((len(samples), len(self)), object)
        for place, sample in enumerate(samples):
            own = replace(motion, draws=motion.draws.take(np.array([place])))
            for element, moved in enumerate(self.moved_sample(sample, own)):
                found[place, element] = moved
        return found

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
        return self.apply(moved, self.motion_of(len(x), indices, keys, seed, inverse=True))

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
        return self.apply(x.unsqueeze(1), Motion(chosen, draws)).squeeze(1)

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
        motion = self.motion_of(len(maps), indices, keys, seed, **options)
        return self.apply(maps, motion)

    def describe(self) -> dict[str, Any]:
        """Family, options, labels and parameters in plain values that JSON can hold."""
        assert is_dataclass(self)
        return {
            "family": snake_case(type(self).__name__),
            "options": {name: _plain(getattr(self, name)) for name in _public_fields(self)},
            "labels": list(self.labels),
            "parameters": {name: list(values) for name, values in self.parameters.items()},
        }

    def motion_of(
        self, samples: int, indices: Any = None, keys: Any = None, seed: int = 0, **options: Any
    ) -> Motion:
        """Return the application of all elements, one per column, to so many samples.

        Args:
            indices, keys, seed: as `orbit` takes them.
            options: as `Motion` takes them.
        """
        places = sample_keys(indices, samples)
        who = places if keys is None else sample_keys(keys, samples, name="keys")
        draws = Draws(seed=seed, keys=who, slots=len(self), indices=places)
        return Motion(np.arange(len(self)), draws, **options)

    def _keep(self, **values: Any) -> None:
        """Store checked values, in the `__post_init__` of frozen families."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


TRANSFORMS: Registry[Transform] = Registry("transform", "invariscope.transforms")


def no_inverse(transform: Transform, advice: str = "Callables need theirs declared") -> TypeError:
    """Return the error for a transform that cannot be undone."""
    return TypeError(
        f"{type(transform).__name__} has no known inverse. {advice}: Elements([...], inverses=[...])."
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
    home = getattr(named, "__module__", None)  # methods of built-in types have none
    return f"{home}.{named.__qualname__}" if home else str(named.__qualname__)
