"""The linear action that best fits the responses, for layers without a known action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from invariscope.common.checks import set_integers


@dataclass(frozen=True)
class FittedAction:
    """Each element acts as a ridge regression of its responses on the untransformed ones.

    The regression is fitted on one half of the samples and evaluated on the other, and vice versa.

    Args:
        ridge: penalty, as a share of the units' mean variance.
        dims: largest dimension in which a layer is fitted; larger layers are projected.
        seed: seed of the halves and of the projection.
        label: name used in result rows, so that a run can include several such actions.
    Raises:
        ValueError: `ridge` is not positive, `dims` is below 1, or `label` is not an identifier.
    """

    name: ClassVar[str] = "fitted"
    ridge: float = 1e-3
    dims: int = 64
    seed: int = 0
    label: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge must be a positive share of the units' variance; got {self.ridge!r}")
        set_integers(self, dims=1)
        refuse_label(self.label)

    @property
    def called(self) -> str:
        """The name used in result rows."""
        return self.label or self.name


def refuse_label(label: str) -> None:
    """Raise ValueError for a label that cannot be part of a row name, whose parts are separated by dots."""
    if not isinstance(label, str) or (label and not label.isidentifier()):
        raise ValueError(f"label must consist of letters, digits and _, such as 'type_1'; got {label!r}")
