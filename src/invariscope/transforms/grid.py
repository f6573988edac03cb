"""All combinations of the elements of several transforms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from invariscope.common.checks import elements
from invariscope.transforms.base import Transform
from invariscope.transforms.flip import Flip
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.chain import Combination
from invariscope.transforms.machinery.given import as_transform
from invariscope.transforms.quarter_turns import QuarterTurns
from invariscope.transforms.rotation import Rotation
from invariscope.transforms.translation import Translation


@dataclass(frozen=True, init=False)
class Grid(Combination):
    r"""The product of transforms: all combinations of their elements.

    .. math:: t_{(j, k)} = b_k \circ a_j, \quad \text{at index } j \cdot |b| + k

    for `Grid(a, b)`: a is applied first, and the last part's element varies fastest. Adjacent affine parts
    with the same interpolation and padding are multiplied and applied in a single interpolation, so content
    is not blurred twice or lost at a border in between. Jittered parts are drawn separately for each
    combination.

    There is a group table if the products form a finite group, such as D4 from `Grid(Flip(),
    QuarterTurns())`. There is also one if the parts are groups that act along different axes, such as
    permutations and rotations of points; in that case, give all axes as positive or all as negative numbers.

    Caveats: the number of elements is the product of the parts' numbers of elements, and the cost grows with
    it.

    Args:
        parts: transforms, callables on batches, or lists of callables.
    Raises:
        ValueError: no parts.

    >>> from invariscope.transforms import Flip, QuarterTurns, Rotation, Translation
    >>> Grid(Rotation([0, 90]), Translation([(0, 0), (1, 0)])).labels
    ('0°, 0 px', '0°, +1 px', '90°, 0 px', '90°, +1 px')
    >>> Grid(Flip(), QuarterTurns()).table() is not None
    True
    """

    joint: ClassVar[str] = ", "

    parts: tuple[Transform, ...]

    def __init__(self, *parts: Any) -> None:
        if not parts:
            raise ValueError("Grid needs at least one part; got none. Write Grid(a, b), not Grid([a, b]).")
        found = tuple(as_transform(part) for part in parts)
        elements("the number of combinations of the parts' elements", math.prod(map(len, found)))
        self._keep(parts=found, factors=found)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the symmetries of the square, and jittered rotations followed by shifts."""
        shifted = cls(Rotation([0, 20], jitter_deg=2), Translation([(0, 0), (1, 2)]))
        return cls(Flip(), QuarterTurns()), shifted

    def inverse(self) -> Transform:
        """Return the inverses of the combinations, in the same order."""
        return Inverse(self)

    def _parts_in_use(self) -> list[tuple[Transform, Sequence[int]]]:
        combinations = itertools.product(*(range(len(part)) for part in self.parts))
        return list(zip(self.parts, zip(*combinations, strict=True), strict=True))
