"""The elements of another transform, undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from invariscope.transforms.base import Transform, as_transform
from invariscope.transforms.machinery.chain import Step, _Chain, refuse_without_inverse, steps_of


@dataclass(frozen=True)
class Inverse(_Chain):
    r"""Element j is the inverse of element j of another transform.

    .. math:: t_j^{-1}, \quad (b \circ a)^{-1} = a^{-1} \circ b^{-1}

    A composition is undone in reverse order, and a jittered element with the very same draw. `inverse()`
    returns this wherever a family has no shorter way to write its inverse.

    Misleads: an inverse restores positions, not what interpolation blurred or what left the image.

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
        object.__setattr__(self, "of", as_transform(self.of))
        refuse_without_inverse(self.of)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """The inverse of a jittered rotation, and of a product."""
        from invariscope.transforms.grid import Grid
        from invariscope.transforms.rotation import Rotation
        from invariscope.transforms.translation import Translation

        jittered = Rotation.circle(4, jitter_deg=5)
        return cls(jittered), cls(Grid(Rotation([0, 90]), Translation([(0, 0), (2, 1)])))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of what is undone, such as "inverse of 90°"."""
        return tuple(f"inverse of {label}" for label in self.of.labels)

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The parameters of what is undone, their names saying so."""
        return {f"inverse_of_{name}": values for name, values in self.of.parameters.items()}

    def inverse(self) -> Transform:
        """The transform that this one undoes."""
        return self.of

    @property
    def _factors(self) -> tuple[Transform, ...]:
        return ()

    def _build(self) -> tuple[Step, ...]:
        steps = steps_of(self.of, range(len(self.of)))
        return tuple(replace(step, inverse=not step.inverse) for step in reversed(steps))
