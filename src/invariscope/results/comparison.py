"""The data frame that `iv.compare` returns."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

_NEEDED = {
    *("measure", "layer", "call", "stratum", "a", "b", "value_a", "value_b", "difference", "p_holm", "note")
}


class Comparison(pd.DataFrame):
    """A data frame that notebooks display as a card; everything derived from it is an ordinary data frame.

    Attributes:
        _family: the transform's family in words.
    """

    _metadata: ClassVar[list[str]] = ["_family"]  # type: ignore[misc]
    _family: str = "transformation"

    @classmethod
    def of(cls, table: pd.DataFrame, family: str) -> Comparison:
        """Return a table of paired differences as a comparison."""
        found = cls(table)
        object.__setattr__(found, "_family", family.replace("_", " "))
        return found

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        from invariscope.report.cards import comparison_card

        if len(self) == 0 or not set(self.columns) >= _NEEDED:  # changed in place
            return super()._repr_html_()  # type: ignore[misc]
        return comparison_card(pd.DataFrame(self), self._family).html()
