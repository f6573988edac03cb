"""The inverse of another transform."""

from __future__ import annotations

from dataclasses import dataclass, replace

from invariscope.transforms.base import TRANSFORMS, Traits, Transform, no_inverse
from invariscope.transforms.machinery.chain import Chain, Step, steps_of
from invariscope.transforms.machinery.given import as_transform


@dataclass(frozen=True)
class Inverse(Chain):
    r"""The inverse elements of another transform, in the same order.

    .. math:: t_j^{-1}, \quad (b \circ a)^{-1} = a^{-1} \circ b^{-1}

    A composition is undone in reverse order, and a jittered element is undone with the same draw. The method
    `inverse()` returns an instance of this class unless the family itself contains the inverse.

    Caveats: an inverse restores positions, not what interpolation blurred or what left the image.

    Args:
        of: the transform to undo.
    Raises:
        TypeError: the transform has no known inverse.

    >>> from invariscope.transforms import QuarterTurns
    >>> Inverse(QuarterTurns()).labels
    ('inverse of 0°', 'inverse of 90°', 'inverse of 180°', 'inverse of 270°')
    """

    of: Transform

    def __post_init__(self) -> None:
        self._keep(of=as_transform(self.of))
        if not self.of.invertible:
            raise no_inverse(self.of)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the inverse of a jittered rotation, and of a product."""
        grid, rotation, shift = (TRANSFORMS.get(name) for name in ("grid", "rotation", "translation"))
        jittered = rotation([0, 90, 180, 270], jitter_deg=5)
        return cls(jittered), cls(grid(rotation([0, 90]), shift([(0, 0), (2, 1)])))

    def inverse(self) -> Transform:
        """Return the original transform."""
        return self.of

    def _traits(self) -> Traits:
        labels = [f"inverse of {label}" for label in self.of.labels]
        parameters = {f"inverse_of_{name}": values for name, values in self.of.parameters.items()}
        return self.chained_traits(labels, parameters)

    def _build(self) -> tuple[Step, ...]:
        steps = steps_of(self.of, range(len(self.of)))
        return tuple(replace(step, inverse=not step.inverse) for step in reversed(steps))
