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
from invariscope.transforms.machinery.traits import Inputs, Motion, Traits

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


__all__ = ["TRANSFORMS", "Motion", "Traits", "Transform", "no_inverse"]


class Transform(ABC):
    """A finite, ordered, labelled list of elements that act on inputs.

    Subclasses, called families, are frozen dataclasses, so transforms with equal arguments are equal. A
    family implements the six abstract methods below. Defining a public family registers it under its
    snake_case name; the shared test suite, the documentation and the command line use its `examples()`.
    """

    structured: ClassVar[bool] = False
    """Whether the transform acts on fields of structured samples rather than on tensors."""

    inputs: ClassVar[Inputs] = Inputs()
    """Data on which the shared tests try the examples."""

    acts_on_maps: ClassVar[bool] = True
    """Whether an action on feature maps may be declared."""

    def __init_subclass__(cls, *, listed: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if listed and not cls.__name__.startswith("_"):
            TRANSFORMS.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Reject unknown options and suggest the closest ones, which a dataclass would not do."""
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
        """Return the (m, m) group table, or None unless the elements form a finite group.

        Entry [j, k] is the index of the element "k, then j".
        """

    @abstractmethod
    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the motion's elements to values (sample, column, ...).

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
        """For each element, whether it moves whole pixels of square images, without interpolation."""
        return self.traits.exact or (False,) * len(self)

    @property
    def per_sample(self) -> bool:
        """Whether elements differ between samples, for example because of jitter."""
        return self.traits.per_sample

    @property
    def invertible(self) -> bool:
        """Whether every element has a known inverse."""
        return self.traits.invertible

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.traits.labels)

    def _repr_html_(self) -> str:
        from invariscope.transforms.machinery.strip import card_html

        return card_html(self)

    def orbit(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Apply all elements to each sample.

        Args:
            x: the batch, on any device; or samples in a list or in a one-dimensional array of objects.
            indices: (sample,) positions in the data, for transforms whose coefficients are given by
                position; 0, 1, 2, ... by default.
            keys: (sample,) integers that identify the samples, for families that draw per sample; the
                indices by default. Draws depend only on (seed, key, element).
            seed: seed of the draws.
        Returns:
            The orbits. The element axis may come first in memory, so `orbit(x).transpose(0, 1)` can be
            contiguous. Samples given as a list or as an array of objects return an array of objects (sample,
            element).
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
        """Apply each element of a motion to a single sample, such as an image or a text.

        Args:
            sample: a tensor, an array or an image; families that support other types override this method.
            motion: the motion of this sample alone.
        Raises:
            TypeError: the transform does not support this type of sample.
        """
        values, restore = as_values(sample, type(self).__name__)
        self.check(values[None])
        columns = values[None, None].expand(1, len(motion.elements), *values.shape)
        return [restore(moved) for moved in self.apply(columns, motion)[0]]

    def _of_samples(self, samples: np.ndarray, motion: Motion) -> Any:
        """Transform samples one at a time and return an array (sample, element) of the results."""
        found = np.empty((len(samples), len(self)), object)
        for place, sample in enumerate(samples):
            own = replace(motion, draws=motion.draws.take(np.array([place])))
            for element, moved in enumerate(self.moved_sample(sample, own)):
                found[place, element] = moved
        return found

    def round_trip(
        self, x: Shaped[Tensor, "sample ..."], *, indices: Any = None, keys: Any = None, seed: int = 0
    ) -> Shaped[Tensor, "sample element ..."]:
        """Apply each element and then its inverse, to show what interpolation and padding lose.

        Arguments and the returned shape are the same as for `orbit`. The result equals x if the elements are
        exact and no content leaves the image.
        """
        if not self.invertible:
            raise no_inverse(self)
        moved = self.orbit(x, indices=indices, keys=keys, seed=seed)
        return self.apply(moved, self.motion_of(len(x), indices, keys, seed, inverse=True))

    def random(
        self, x: Shaped[Tensor, "sample ..."], *, generator: torch.Generator | None = None
    ) -> Shaped[Tensor, "sample ..."]:
        """Apply one random element to each sample, for data augmentation.

        Args:
            x: the batch, on any device.
            generator: the only source of randomness, such as `torch.Generator().manual_seed(0)`. It has to be
                given, because the library never draws from a global generator.
        Raises:
            TypeError: no generator.
        """
        if not isinstance(generator, torch.Generator):
            given = "" if generator is None else f"; got {type(generator).__name__}"
            raise TypeError(
                f"{type(self).__name__}.random needs generator=, for example "
                f"torch.Generator().manual_seed(0), created once before the training loop{given}"
            )
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
            inverse: apply the inverse elements instead.
            input_size: (H, W) of the input. The action is scaled by the ratio of the map's size to the
                input's. Required by transforms that shift by pixels.
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
        """Return the family, options, labels and parameters as values that JSON can represent.

        Functions and objects are described by name and digest: see `readers.fingerprint.identify`.
        """
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
        """Return the motion that applies all elements, one per column, to this number of samples.

        Args:
            indices, keys, seed: as in `orbit`.
            options: as in `Motion`.
        """
        places = sample_keys(indices, samples)
        who = places if keys is None else sample_keys(keys, samples, name="keys")
        draws = Draws(seed=seed, keys=who, slots=len(self), indices=places)
        return Motion(np.arange(len(self)), draws, **options)

    def _keep(self, **values: Any) -> None:
        """Set fields of a frozen family from its `__post_init__`."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


TRANSFORMS: Registry[Transform] = Registry(
    "transform",
    "invariscope.transforms",
    also=("invariscope.transforms.photometric", "invariscope.transforms.audio"),
)


def no_inverse(transform: Transform, advice: str = "Declare the inverses of callables") -> TypeError:
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
    home = getattr(named, "__module__", None)  # methods of built-in types have no `__module__`
    name = f"{home}.{named.__qualname__}" if home else str(named.__qualname__)
    return f"{name} {_content(value)}".rstrip()


def _content(value: Any) -> str:
    """Return a digest of what a function does, or of what an object holds; "" for code of libraries."""
    from invariscope.readers.code import belongs_to_library
    from invariscope.readers.fingerprint import identify

    own = str(getattr(value, "__module__", "")).partition(".")[0] == "invariscope"
    if hasattr(value, "__qualname__") and (own or belongs_to_library(value)):
        return ""
    return identify(value, "value", by_name=("invariscope",)).digest[:12]
