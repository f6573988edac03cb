"""All combinations of the elements of several transforms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invariscope.transforms.base import Transform, as_transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.chain import Step, _Chain, merged, numbered, picked, steps_of


@dataclass(frozen=True, init=False)
class Grid(_Chain):
    r"""Every element of one part with every element of the others: the product of transforms.

    .. math:: t_{(j, k)} = b_k \circ a_j, \quad \text{at index } j \cdot |b| + k

    for `Grid(a, b)`: a is applied first, the last part's element runs fastest. Neighbouring affine parts with
    the same interpolation and padding are multiplied first and sampled once: no second blur, and nothing is
    lost at a border in between. Where the products are a finite group, such as D4 from `Grid(Flip(),
    QuarterTurns())`, the table says so; also where the parts are groups that move different axes, such as the
    order and the direction of points (count both axes from the same end). Draws of jittered parts are made
    for each combination.

    Misleads: the number of elements multiplies, and with it every cost.

    Args:
        parts: transforms, callables on batches, or lists of callables.
    Raises:
        ValueError: no part.

    >>> from invariscope.transforms import Flip, QuarterTurns, Rotation, Translation
    >>> Grid(Rotation([0, 90]), Translation([(0, 0), (1, 0)])).labels
    ('0°, 0 px', '0°, +1 px', '90°, 0 px', '90°, +1 px')
    >>> Grid(Flip(), QuarterTurns()).table() is not None
    True
    """

    parts: tuple[Transform, ...]

    def __init__(self, *parts: Any) -> None:
        if not parts:
            raise ValueError("Grid needs at least one part; got none. Write Grid(a, b), not Grid([a, b]).")
        object.__setattr__(self, "parts", tuple(as_transform(part) for part in parts))

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """The symmetries of the square, and rotated shifts."""
        from invariscope.transforms.flip import Flip
        from invariscope.transforms.quarter_turns import QuarterTurns
        from invariscope.transforms.rotation import Rotation
        from invariscope.transforms.translation import Translation

        return cls(Flip(), QuarterTurns()), cls(
            Rotation([0, 20], jitter_deg=2), Translation([(0, 0), (1, 2)])
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' labels, such as "90°, +1 px"."""
        return tuple(", ".join(labels) for labels in itertools.product(*(part.labels for part in self.parts)))

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The parts' parameters; a name that comes again ends in `_part2`, `_part3`, ..."""
        return merged(
            {name: picked(values, used) for name, values in part.parameters.items()}
            for part, used in zip(self.parts, self._used(), strict=True)
        )

    def inverse(self) -> Transform:
        """The combinations undone, in the same order of elements."""
        return Inverse(self)

    def _used(self) -> list[tuple[int, ...]]:
        return list(zip(*itertools.product(*(range(len(part)) for part in self.parts)), strict=True))

    @property
    def _factors(self) -> tuple[Transform, ...]:
        return self.parts

    def _build(self) -> tuple[Step, ...]:
        pairs = zip(self.parts, self._used(), strict=True)
        return numbered(step for part, used in pairs for step in steps_of(part, used))
