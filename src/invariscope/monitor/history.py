"""What a monitor has seen: a table over epochs, the times, and the whole results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invariscope.results.result import COLUMNS, Result
from invariscope.results.rows import frame_of

if TYPE_CHECKING:
    import pandas as pd

EPOCH_COLUMNS = ["epoch", *COLUMNS]
TIME_COLUMNS = ["epoch", "measured", "training_seconds", "measuring_seconds"]
PLAIN_COLUMNS = ("measure", "layer", "call", "stratum", "value", "ci_low", "ci_high")


@dataclass(frozen=True)
class History:
    """Measurements over the epochs of one training.

    Args:
        rows: the rows of every result, each with its `epoch`.
        time_rows: one mapping per call: epoch, whether it was measured, and the seconds before and during.
        results: the whole result of every measured epoch.
        settings: what was measured, for whoever goes on with it.
    """

    rows: tuple[dict[str, Any], ...] = ()
    time_rows: tuple[dict[str, Any], ...] = ()
    results: Mapping[int, Result] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """One row per epoch × measure × layer × stratum; after `epoch`, the columns of `Result.table`."""
        return frame_of(self.rows, EPOCH_COLUMNS)

    @property
    def times(self) -> pd.DataFrame:
        """One row per call.

        `training_seconds` is all that went by since the previous call, tests and logging included, NaN for
        the first call; `measuring_seconds` is what the call itself took.
        """
        return frame_of(self.time_rows, TIME_COLUMNS)

    @property
    def overhead(self) -> float:
        """Measuring as a share of training: 0.03 means that an epoch takes 3 % longer on average.

        Over all calls but those whose training time is not known: the one before training, which also pays
        for what happens once, and the first of a resumed run. NaN before an epoch has passed.
        """
        known = [row for row in self.time_rows if math.isfinite(row["training_seconds"])]
        trained = sum(row["training_seconds"] for row in known)
        return sum(row["measuring_seconds"] for row in known) / trained if trained else math.nan

    def plain_rows(self, epoch: int) -> list[dict[str, Any]]:
        """The rows of one epoch as JSON can hold them: value and interval, None where there is none."""
        return [_plain(row) for row in self.rows if row["epoch"] == epoch]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {"epoch": row["epoch"]} | {name: row.get(name) for name in PLAIN_COLUMNS}
    return {name: None if _undefined(value) else value for name, value in found.items()}


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
