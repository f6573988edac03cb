"""Composition of transforms, element by element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from invariscope.transforms.base import Transform
from invariscope.transforms.elements import Elements
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.chain import Combination
from invariscope.transforms.machinery.given import as_transform
from invariscope.transforms.rotation import Rotation
from invariscope.transforms.translation import Translation


@dataclass(frozen=True)
class Compose(Combination):
    r"""Apply element j of each part in turn, the first part first.

    .. math:: t_j = t^{(K)}_j \circ \dots \circ t^{(1)}_j, \quad
        t_j^{-1} = (t^{(1)}_j)^{-1} \circ \dots \circ (t^{(K)}_j)^{-1}

    All parts must have the same number of elements, except that a part with a single element is combined
    with every element of the others. Use `Grid` for all combinations. Adjacent affine parts with the same
    interpolation and padding are multiplied and applied in a single interpolation, so content is not blurred
    twice or lost at a border in between. Jittered parts are drawn independently.

    Caveats: some libraries compose in the opposite order, or do not reverse the order when inverting.

    Args:
        parts: transforms, callables on batches, or lists of callables.
    Raises:
        ValueError: no parts, or parts whose numbers of elements do not match.

    >>> from invariscope.transforms import Flip, Rotation, Translation
    >>> Compose([Translation([(2, 0)]), Rotation([0, 90])]).labels
    ('+2 px, then 0°', '+2 px, then 90°')
    >>> Compose([Rotation([10, 20]), Rotation([-10, -20])]).identity
    0
    """

    joint: ClassVar[str] = ", then "

    parts: Sequence[Any]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Iterable) or isinstance(self.parts, str | type):
            got = type(self.parts).__name__
            raise TypeError(f"Compose takes its parts as a list, Compose([first, second]); got {got}.")
        parts = tuple(as_transform(part) for part in self.parts)
        if not parts:
            raise ValueError("Compose needs at least one part; got none.")
        lengths = [len(part) for part in parts]
        if not set(lengths) <= {1, max(lengths)}:
            raise ValueError(
                f"Compose pairs elements one by one, but its parts have {lengths} elements. Give each part "
                "the same number of elements, or a single one, or use Grid for all combinations."
            )
        self._keep(parts=parts)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a shift followed by a rotation, and a callable followed by jittered rotations."""
        shifted = cls([Translation([(1, -2)]), Rotation([0, 90, 30])])
        dim = Elements([_dimmed], inverses=[_brightened])
        return shifted, cls([dim, Rotation([0, 20], jitter_deg=3), Rotation([5, 5], jitter_deg=3)])

    def inverse(self) -> Transform:
        """Return the inverses of the parts in reverse order."""
        return Inverse(self)

    def _parts_in_use(self) -> list[tuple[Transform, Sequence[int]]]:
        m = max(len(part) for part in self.parts)
        return [(part, range(m) if len(part) == m else [0] * m) for part in self.parts]


def _dimmed(x: Any) -> Any:
    return 0.5 * x


def _brightened(x: Any) -> Any:
    return 2 * x
