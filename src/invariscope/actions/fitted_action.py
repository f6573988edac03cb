"""An action of a transform's elements that nobody declares: the linear maps that fit the responses best."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from invariscope.common.checks import set_integers


@dataclass(frozen=True)
class FittedAction:
    """Each element does what a ridge regression of its responses on the untransformed ones finds.

    Fitted on one half of the samples and judged on the other, both ways.

    Args:
        ridge: the penalty, as a share of the units' mean variance.
        dims: the largest number of directions in which a layer is seen; a larger one is projected.
        seed: of the halves and the projection.
        label: what rows of results are named after, so that one run can hold several such actions.
    Raises:
        ValueError: a ridge that is not above 0, fewer than one dimension, or a label that names no rows.
    """

    name: ClassVar[str] = "fitted"
    ridge: float = 1e-3
    dims: int = 64
    seed: int = 0
    label: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge is a share of the units' variance, above 0; got {self.ridge!r}")
        set_integers(self, dims=1)
        refuse_label(self.label)

    @property
    def called(self) -> str:
        """What rows are named after."""
        return self.label or self.name


def refuse_label(label: str) -> None:
    """Raises a ValueError for what cannot be a part of a row's name, in which dots separate."""
    if not isinstance(label, str) or (label and not label.isidentifier()):
        raise ValueError(
            f"rows are named after label, a word of letters, digits and _ such as 'type_1'; got {label!r}."
        )
