"""Draws of a random function, such as an augmentation, as the elements of a transform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import MOST_DRAWS, set_integers
from invariscope.common.draws import Stream
from invariscope.common.random_state import RandomGenerator, callable_generators, global_generators, put_back
from invariscope.common.samples import is_structured
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.callables import (
    generators_of,
    moved_by,
    refuse_another_result,
    result_of,
)
from invariscope.transforms.machinery.checks import need_tensor
from invariscope.transforms.machinery.traits import traits_of_draws

_UNREPEATABLE = (
    "two calls with the same seed gave different results. Drawn seeds the global generators of torch, NumPy "
    "and Python, and those that the function holds; let the function draw only from these, and keep no state "
    "between calls."
)


@dataclass(frozen=True)
class Drawn(Transform):
    r"""Random draws of a function, such as an augmentation from another library.

    .. math:: t_{ij} x_i = f(x_i; \omega_{ij}), \quad \omega_{ij} \text{ from (seed, sample, draw)}

    The function is called once per sample and draw, on a batch that holds only this sample. If the data are a
    list of samples (texts, PIL images, mappings), it is called on the sample itself. Each call seeds the
    global generators of torch, NumPy and Python anew and restores them afterwards, so results do not depend
    on batch size, order or process. Generators that the function holds (as an attribute, a bound argument, a
    closure variable, a global variable, or an attribute of one of these) are seeded and restored too. A
    function that draws from any other generator, or keeps state between calls, raises ValueError.

    There is no inverse and no action on feature maps.

    Caveats: one call per sample and draw is slower than one per batch. The draws represent the function's
    distribution; some of them may leave the sample unchanged.

    Args:
        function: maps a batch of one sample, a tensor (1, ...), to a floating-point tensor. All samples and
            draws must return the same shape.
        draws: number of draws per sample.
        label: name of the draws; by default the name of the function.
    Raises:
        TypeError: `function` is not callable, its result is not a floating-point tensor, or `inverse` or
            `act` is called.
        ValueError: `draws` is less than 1, results differ in shape, or randomness cannot be seeded.

    >>> import torch
    >>> noisy = Drawn(lambda x: x + 0.1 * torch.randn_like(x), draws=3)
    >>> orbit = noisy.orbit(torch.zeros(4, 5))
    >>> bool(torch.equal(orbit[2:], noisy.orbit(torch.zeros(2, 5), indices=[2, 3])))
    True
    """

    function: Callable[[Any], Any]
    draws: int = 8
    _: KW_ONLY
    label: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.function, Transform):
            raise TypeError(
                f"Drawn wraps a function that draws random numbers, but {type(self.function).__name__} is "
                "already a transform: use it without Drawn."
            )
        if not callable(self.function):
            raise TypeError(
                f"Drawn wraps a function from batch to batch; got {type(self.function).__name__}, which is "
                "not callable."
            )
        set_integers(self, draws=1, most=MOST_DRAWS)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return three draws of a random brightness."""
        return (cls(_brightened, 3, label="brightness"),)

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` is a tensor with samples on its first axis, or an array of samples."""
        if not is_structured(x):
            need_tensor("Drawn", x)

    def inverse(self) -> Transform:
        """Raise TypeError: draws of a function cannot be undone."""
        raise no_inverse(
            self,
            "Keep the untransformed samples, or list functions with fixed parameters and their inverses",
        )

    def table(self) -> None:
        """Return None: random draws do not form a group."""

    def _traits(self) -> Traits:
        own = getattr(self.function, "__name__", type(self.function).__name__)
        name = self.label or ("draw" if own in ("<lambda>", "partial") else own)
        return traits_of_draws(name, self.draws)

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Call the function on each sample, with a new seed for every draw."""
        if motion.on_maps or motion.inverse:
            raise TypeError(
                "Drawn only acts on inputs: its action on feature maps and its inverse are not known. List "
                "functions with fixed parameters instead, and declare their actions: "
                "Elements([...], actions=[...])."
            )
        generators = generators_of(self.function, values)
        with put_back(generators):
            return self._stacked(values, motion.draws.under(stream=Stream.DRAWN_ELEMENT).words(), generators)

    def moved_sample(self, sample: Any, motion: Motion) -> list[Any]:
        """Call the function on a copy of the sample, with a new seed for every draw."""
        generators = (*global_generators("cpu"), *callable_generators(self.function))
        words = motion.draws.under(stream=Stream.DRAWN_ELEMENT).words()[0] >> np.uint64(11)

        def call(seed: int) -> Any:
            for generator in generators:
                generator.start(seed)
            return moved_by(self.function, sample, self.labels[0])

        with put_back(generators):
            found = [call(int(word)) for word in words]
            if not self._repeatable:
                refuse_another_result(found[0], call(int(words[0])), self.labels[0], _UNREPEATABLE)
                self._repeatable.append(True)
        return found

    def _stacked(self, values: Tensor, words: np.ndarray, generators: Sequence[RandomGenerator]) -> Tensor:
        """Return the results of all draws, each with its own seed."""
        seeds = words >> np.uint64(11)  # NumPy and Python accept seeds of 53 bits unchanged
        out: Tensor | None = None
        for sample, column in np.ndindex(*values.shape[:2]):
            call = partial(self._called, values[sample, column], int(seeds[sample, column]), generators)
            piece = call(out)
            self._refuse_unrepeatable(piece, call)
            if out is None:
                out = piece.new_empty(*values.shape[:2], *piece.shape[1:])
            out[sample, column] = piece[0]
        assert out is not None
        return out

    def _called(
        self, sample: Tensor, seed: int, generators: Sequence[RandomGenerator], earlier: Tensor | None = None
    ) -> Tensor:
        for generator in generators:
            generator.start(seed)
        found = result_of(self.function, sample[None].clone(), self.labels[0], earlier)
        if not found.is_floating_point():
            raise TypeError(
                f"{self.labels[0]!r} must return floating-point values; it returned "
                f"{str(found.dtype).removeprefix('torch.')}. Convert them: lambda x: f(x).float()."
            )
        return found

    def _refuse_unrepeatable(self, found: Tensor, call: Callable[[], Tensor]) -> None:
        """Check once that the same seed gives the same result."""
        if self._repeatable or found.is_meta:
            return
        if not torch.equal(found.nan_to_num(), call().nan_to_num()):
            raise ValueError(f"{self.labels[0]!r}: {_UNREPEATABLE}")
        self._repeatable.append(True)

    @cached_property
    def _repeatable(self) -> list[bool]:
        """Holds an entry once a repeated call has given the same result."""
        return []


def _brightened(x: Tensor) -> Tensor:
    return x * (0.9 + 0.2 * torch.rand(1)).to(x)
