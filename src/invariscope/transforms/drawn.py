"""Any function that draws random numbers, such as an augmentation, as the elements of a transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.random_state import seeded
from invariscope.transforms._callables import generators_of, result_of
from invariscope.transforms._checks import count, need_tensor
from invariscope.transforms._drawn import _Drawn
from invariscope.transforms.base import Motion, Transform


@dataclass(frozen=True)
class Drawn(_Drawn):
    r"""Draws of a function that uses random numbers: for any library's augmentations.

    .. math:: t_{ij} x_i = f(x_i; \omega_{ij}), \quad \omega_{ij} \text{ from (seed, sample, draw)}

    For each sample and draw, the function is called on a batch of that one sample, while the global generators
    of torch, NumPy and Python start from a seed of their own; afterwards they are where they were. So numbers
    do not depend on batch size, order, or process. Generators that the function holds (as an attribute, a
    bound argument, or a variable around it, and attributes of these) are seeded and put back too. One that
    draws from anything else, or remembers earlier calls, is refused.

    There is no inverse, and no action on feature maps.

    Misleads: one call per sample and draw is slower than one per batch. The draws stand for the function's
    distribution; whether some of them change nothing is up to the function.

    Args:
        function: from a batch, a tensor (1, ...), to a tensor of floating-point values, in one shape for all
            samples and draws.
        draws: elements of each sample.
        label: what to call the draws; the function's own name by default.
    Raises:
        TypeError: nothing to call, or a result that is no tensor of floating-point values; an inverse, or
            feature maps.
        ValueError: no draw, results of different shapes, or randomness that cannot be seeded.

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
                f"Drawn wraps a function that draws; {type(self.function).__name__} is a transform already."
            )
        if not callable(self.function):
            raise TypeError(
                f"Drawn wraps a function from a batch to a batch; got {type(self.function).__name__}."
            )
        count("draws", self.draws)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Three random changes of brightness."""
        return (cls(_brightened, 3, label="brightness"),)

    @property
    def labels(self) -> tuple[str, ...]:
        """The draws, such as "RandomErasing 1", or "draw 1" for a function without a name."""
        own = getattr(self.function, "__name__", type(self.function).__name__)
        name = self.label or ("draw" if own in ("<lambda>", "partial") else own)
        return tuple(f"{name} {k + 1}" for k in range(self.draws))

    @property
    def drawn(self) -> int:
        """How many draws each sample gets."""
        return self.draws

    @property
    def invertible(self) -> bool:
        """False."""
        return False

    def check(self, x: Any) -> None:
        """Raises a TypeError for what is no tensor with samples on its first axis."""
        need_tensor("Drawn", x)

    def inverse(self) -> Transform:
        """Refuses: what a function did cannot be undone."""
        raise TypeError(
            "Drawn has no known inverse. Keep the untransformed samples instead, or list functions with fixed "
            "parameters and what undoes them: Elements([...], inverses=[...])."
        )

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        if motion.on_maps or motion.inverse:
            raise TypeError(
                "Drawn moves inputs: what the function means for a feature map is not known, and it cannot be "
                "undone. Give functions with fixed parameters and declare it: Elements([...], actions=[...])."
            )
        seeds = (motion.draws.uniform() * 2.0**53).astype(np.int64)
        out: Tensor | None = None
        for sample, column in np.ndindex(*values.shape[:2]):
            piece = self._piece(values[sample, column], int(seeds[sample, column]), out)
            if out is None:
                out = piece.new_empty(*values.shape[:2], *piece.shape[1:])
            out[sample, column] = piece[0]
        assert out is not None
        return out

    def _piece(self, sample: Tensor, seed: int, earlier: Tensor | None) -> Tensor:
        found = self._called(sample, seed, earlier)
        if not self._repeatable and not sample.is_meta:
            if not torch.equal(found.nan_to_num(), self._called(sample, seed, None).nan_to_num()):
                raise ValueError(
                    f"{self.labels[0]!r}: two calls from the same state of all known generators gave different "
                    "results. Drawn seeds the global generators of torch, NumPy and Python, and those that the "
                    "function holds; let it draw from these, and keep nothing between calls."
                )
            self._repeatable.append(True)
        return found

    def _called(self, sample: Tensor, seed: int, earlier: Tensor | None) -> Tensor:
        batch = sample[None].clone()
        with seeded(generators_of(self.function, batch), seed):
            found = result_of(self.function, batch, self.labels[0], earlier)
        if not found.is_floating_point():
            raise TypeError(
                f"{self.labels[0]!r} must return floating-point values; it returned "
                f"{str(found.dtype).removeprefix('torch.')}. Convert them: lambda x: f(x).float()."
            )
        return found

    @cached_property
    def _repeatable(self) -> list[bool]:
        """Not empty once a repeated call was seen to repeat its result."""
        return []


def _brightened(x: Tensor) -> Tensor:
    return x * (0.9 + 0.2 * torch.rand(1)).to(x)
