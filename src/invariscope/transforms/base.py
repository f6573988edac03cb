"""The base class of all transforms, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, sample_keys
from invariscope.common.registry import Registry, refuse_unknown_options, snake_case
from invariscope.common.samples import as_samples, is_structured
from invariscope.transforms.machinery.pixels import as_values
from invariscope.transforms.machinery.traits import Motion, Traits

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


__all__ = ["TRANSFORMS", "Motion", "Traits", "Transform", "no_inverse"]


class Transform(ABC):
    """A finite, ordered, labelled list of elements that act on inputs.

    Families are frozen dataclasses, so transforms with equal arguments are equal. A family defines the six
    abstract methods below. Defining a public family registers it under its snake_case name; the shared test
    suite, the documentation and the command line use its `examples()`.
    """

    structured: ClassVar[bool] = False
    """Whether it moves the fields of structured samples, and no tensor."""

    def __init_subclass__(cls, *, listed: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if listed and not cls.__name__.startswith("_"):
            TRANSFORMS.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Reject misspelt options, with suggestions that a dataclass would not give."""
        refuse_unknown_options(cls, options)
        return super().__new__(cls)

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a few instances that show what the family offers."""

    @abstractmethod
    def _traits(self) -> Traits:
        """Return the traits of the elements; callers read `traits`."""

    @abstractmethod
    def check(self, x: Any) -> None:
        """Raise TypeError, describing `x`, for data that this transform cannot act on."""

    @abstractmethod
    def inverse(self) -> Transform:
        """Return the transform whose element j undoes element j of this one; TypeError if none is known."""

    @abstractmethod
    def table(self) -> np.ndarray | None:
        """Return the group table (m, m): entry [j, k] is "k, then j". None unless this is a finite group."""

    @abstractmethod
    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Return values (sample, column, ...) with the motion's elements applied.

        Raises:
            TypeError: the inverse, or the action on feature maps, is not known.
        """

    @cached_property
    def traits(self) -> Traits:
        """Labels, parameters and other properties of the elements."""
        return self._traits()

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name per element, such as "22.5°"."""
        return self.traits.labels

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """One value per element, by parameter name; names include units, such as `angle_deg`."""
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
        """Whether an element differs between samples, as it does with jitter."""
        return self.traits.per_sample

    @property
    def invertible(self) -> bool:
        """Whether every element has a known inverse."""
        return self.traits.invertible

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.traits.labels)

    def orbit(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Apply all elements to each sample.

        Args:
            x: the batch, on any device; or a list, or one-dimensional array of objects, of samples.
            indices: (sample,) positions in the data, for transforms whose coefficients are given by
                position; 0, 1, 2, ... by default.
            keys: (sample,) integers that identify the samples, for families that draw per sample; the
                indices by default. Draws depend only on (seed, key, element).
            seed: seed of the draws.
        Returns:
            The orbits. Elements may come first in memory, so `orbit(x).transpose(0, 1)` can be contiguous.
            For samples in a list or an array of objects, such an array (sample, element).
        Raises:
            TypeError: the transform cannot act on these data.
        """
        if isinstance(x, list):
            samples: Any = as_samples(x)
            return self.orbit(samples, indices=indices, keys=keys, seed=seed)
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
        """Apply each element and then its inverse, to show the cost of interpolation and padding.

        Arguments and shape are those of `orbit`. The result equals x if the elements are exact and no
        content leaves the image.
        """
        if not self.invertible:
            raise no_inverse(self)
        moved = self.orbit(x, indices=indices, keys=keys, seed=seed)
        return self.apply(moved, self.motion_of(len(x), indices, keys, seed, inverse=True))

    def random(
        self, x: Shaped[Tensor, "sample ..."], *, generator: torch.Generator
    ) -> Shaped[Tensor, "sample ..."]:
        """Apply one random element to each sample, for data augmentation.

        Args:
            x: the batch, on any device.
            generator: the only source of randomness.
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
        """Apply element j, or its inverse, to `maps[:, j]`, as an equivariant layer would.

        Args:
            maps: responses; (sample, element, C, H, W) for families that move pixels.
            inverse: undo the elements instead.
            input_size: (H, W) of the input; the action is scaled by the ratio of the map's size to it.
                Required by transforms that shift by pixels.
            indices, keys: as given to `orbit`, for families that draw per sample.
            seed: as given to `orbit`.
        Raises:
            TypeError: no action is declared, or the maps lack the axes for it.
            ValueError: a wrong number of elements, or the input size is missing.
        """
        if maps.ndim < 2 or maps.shape[1] != len(self):
            raise ValueError(
                f"axis 1 of maps must hold the elements: expected (n, {len(self)}, ...), got shape "
                f"{tuple(maps.shape)}."
            )
        motion = self.motion_of(
            len(maps), indices, keys, seed, inverse=inverse, on_maps=True, input_size=input_size
        )
        return self.apply(maps, motion)

    def describe(self) -> dict[str, Any]:
        """Return family, options, labels and parameters as plain values for JSON."""
        assert is_dataclass(self)
        return {
            "family": snake_case(type(self).__name__),
            "options": {
                option.name: _plain(getattr(self, option.name))
                for option in fields(self)
                if not option.name.startswith("_")
            },
            "labels": list(self.labels),
            "parameters": {name: list(values) for name, values in self.parameters.items()},
        }

    def motion_of(
        self, samples: int, indices: Any = None, keys: Any = None, seed: int = 0, **options: Any
    ) -> Motion:
        """Return the application of all elements, one per column, to this many samples.

        Args:
            indices, keys, seed: as in `orbit`.
            options: as in `Motion`.
        """
        places = sample_keys(indices, samples)
        who = places if keys is None else sample_keys(keys, samples, name="keys")
        draws = Draws(seed=seed, keys=who, slots=len(self), indices=places)
        return Motion(np.arange(len(self)), draws, **options)

    def _keep(self, **values: Any) -> None:
        """Store checked values, for the `__post_init__` of frozen families."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


TRANSFORMS: Registry[Transform] = Registry("transform", "invariscope.transforms")


def no_inverse(transform: Transform, advice: str = "Callables need theirs declared") -> TypeError:
    """Return the error for a transform that cannot be undone."""
    return TypeError(
        f"{type(transform).__name__} has no known inverse. {advice}: Elements([...], inverses=[...])."
    )


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
